"""Workers that compute nothing: each answers the scheduler at once, as if a task were trivial.

``python -m benchmarks.simulated_workers ADDRESS COUNT`` connects so many to a scheduler, prints a
line when they are there, and runs until its standard input ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import os
import pickle
import sys
import time

from distributed.batched import BatchedSend
from distributed.core import Server, connect
from seamless_dask_cache.scheduler_plugin.loading import KEEP, KEPT, LOAD
from seamless_dask_cache.scheduler_plugin.restore import RestoreTask
from seamless_dask_cache.scheduler_plugin.storing import StoringTask
from seamless_dask_cache.scheduler_plugin.worker import NAME

INT = pickle.dumps(int)
NUMBERS = itertools.count()
RECORD = {
    "schema_version": 1,
    "seamless_version": "seamless-dask-cache",
    "execution_mode": "dask",
    "remote_target": None,
    "wall_time_seconds": 0.0001,
    "cpu_time_user_seconds": 0.0001,
    "cpu_time_system_seconds": 0.0,
    "memory_peak_bytes": 100_000_000,
    "gpu_memory_peak_bytes": None,
    "hostname": "simulated",
    "python_version": "3.11",
    "environment": "0" * 64,
}


def facts_of(task):
    """What a worker of the cache would tell of such a task."""
    if isinstance(task, RestoreTask):
        return {NAME: {"restored": 2, "took": 0.0001}}
    if not isinstance(task, StoringTask):
        return {}
    content = b"%d\n" % next(NUMBERS)
    facts = {"observed": True, "took": 0.0001, "seconds": 0.0001, "nbytes": len(content)}
    named = {"result": hashlib.sha256(content).hexdigest(), "content": content}
    return {NAME: facts | named | {"format": "plain", "record": dict(RECORD)}}


class SimulatedWorker(Server):
    """What the scheduler sees of a worker."""

    def __init__(self, scheduler):
        self._scheduler = scheduler
        self.aside = {}
        self.batched = BatchedSend(interval="2ms")
        ignored = ("free-keys", "remove-replicas", "acquire-replicas", "refresh-who-has")
        super().__init__(
            handlers={
                "plugin-add": self.done,
                "plugin-remove": self.done,
                LOAD: self.load,
                KEPT: self.kept,
            },
            stream_handlers={
                "compute-task": self.compute,
                KEEP: self.ignore,
                "worker-status-change": self.ignore,
                **dict.fromkeys(ignored, self.ignore),
            },
        )

    async def join(self, number):
        """Register with the scheduler, and take its messages from then on."""
        await self.listen("tcp://127.0.0.1:0")
        comm = await connect(self._scheduler)
        now = time.time()
        await comm.write(
            {
                "op": "register-worker",
                "reply": False,
                "address": self.address,
                "status": "running",
                "nthreads": 1,
                "name": f"simulated-{number}",
                "now": now,
                "resources": {},
                "memory_limit": 4 << 30,
                "local_directory": "",
                "services": {},
                "nanny": None,
                "pid": os.getpid(),
                "versions": {},
                "metrics": METRICS,
                "extra": {},
                "stimulus_id": f"worker-connect-{now}",
                "server_id": self.id,
            }
        )
        answer = await comm.read()
        if answer["status"] != "OK":
            raise RuntimeError(answer)
        self.batched.start(comm)
        self._stream = asyncio.create_task(self.handle_stream(comm))

    async def done(self, **arguments):
        return {"status": "OK"}

    def ignore(self, **message):
        pass

    def compute(self, key, run_id, run_spec=None, stimulus_id="", **rest):
        now = time.time()
        self.batched.send(
            {
                "op": "task-finished",
                "status": "OK",
                "key": key,
                "run_id": run_id,
                "nbytes": 28,
                "type": INT,
                "typename": "int",
                "metadata": facts_of(getattr(run_spec, "data", run_spec)),
                "thread": 1,
                "startstops": [{"action": "compute", "start": now, "stop": now + 0.0001}],
                "stimulus_id": stimulus_id,
            }
        )

    async def load(self, token, items):
        self.aside[token] = [(key, 28, "int") for key, _, _ in items]
        return True

    async def kept(self, token):
        return self.aside.pop(token, None)


METRICS = {
    "task_counts": {},
    "bandwidth": {"total": 100_000_000, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {},
    "managed_bytes": 0,
    "spilled_bytes": {"memory": 0, "disk": 0},
    "transfer": {"incoming_bytes": 0, "incoming_count": 0, "incoming_count_total": 0}
    | {"outgoing_bytes": 0, "outgoing_count": 0, "outgoing_count_total": 0},
    "event_loop_interval": 0.02,
    "cpu": 1.0,
    "memory": 100_000_000,
    "time": 0.0,
    "host_net_io": {"read_bps": 0.0, "write_bps": 0.0},
    "host_disk_io": {"read_bps": 0.0, "write_bps": 0.0},
    "num_fds": 10,
}


async def live(scheduler, count):
    """Run until nobody holds the other end of the standard input."""
    workers = [SimulatedWorker(scheduler) for _ in range(count)]
    for number, worker in enumerate(workers):
        await worker.join(number)
    print(f"{count} workers", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    logging.getLogger("distributed").setLevel(logging.ERROR)
    asyncio.run(live(sys.argv[1], int(sys.argv[2])))
