"""One side of the comparison in :mod:`benchmarks.hook`: a process that runs tasks when asked."""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

# Both sides import it: more modules make every garbage collection longer.
from seamless_dask_cache.observation import Observation, watch

TASKS = 50
NUMBERS = np.random.default_rng(0).random(200_000)
FRAME = pd.DataFrame({"key": np.arange(5000) % 50, "value": NUMBERS[:5000]})
RECORDS = [{"name": f"n{i}", "tags": [i, str(i)], "inner": {"x": i}} for i in range(400)]


def numpy_task(path):
    return float(np.sort(NUMBERS)[::2].sum() + np.exp(NUMBERS).mean())


def pandas_task(path):
    grouped = FRAME[FRAME.value > 0.2].assign(double=FRAME.value * 2).groupby("key")
    return grouped.double.mean().sum()


def dicts_task(path):
    found = {}
    for number in range(8):
        for record in RECORDS:
            found[record["name"], number] = len(record["tags"]) + record["inner"]["x"]
    return sum(found[name] for name in sorted(found))


def deepcopy_task(path):
    return len(copy.deepcopy(RECORDS))


def file_task(path):
    with Path(path).open() as file:
        return len(json.loads(file.read()))


def all_tasks(path):
    return [task(path) for task in (numpy_task, pandas_task, dicts_task, file_task)]


KINDS = {
    "numpy": numpy_task,
    "pandas": pandas_task,
    "dicts": dicts_task,
    "file": file_task,
    "these four": all_tasks,
    "deepcopy": deepcopy_task,
}


def watched(task, path):
    """Run a task as a worker does."""
    seen = Observation()
    found = seen.run(task, path)
    seen.settle()
    return found


def unwatched(task, path):
    return task(path)


def main(how):
    if how == "watched":
        watch()
    call = watched if how == "watched" else unwatched
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "records.json")
        path.write_text(json.dumps(RECORDS * 4))
        for line in sys.stdin:
            task = KINDS[line.strip()]
            started = time.process_time()
            for _ in range(TASKS):
                call(task, str(path))
            print((time.process_time() - started) / TASKS, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
