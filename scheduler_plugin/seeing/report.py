"""What the cache did, as one HTML file that needs nothing else."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seamless_dask_cache._version import __version__

from . import charts
from .columns import OUTCOMES, bytes_text, per_prefix, seconds_text, share_text, so_far

TEMPLATE = Path(__file__).parent / "report.html"
MAX_BARS = 15
MAX_REASONS = 30


def report_data(
    seeing: Any,
    *,
    stats: Mapping[str, Any],
    settings: Mapping[str, Any],
    database: Mapping[str, Any],
) -> dict[str, Any]:
    """Gather what a report tells, as plain data that can be sent.

    Parameters
    ----------
    seeing : Seeing
        Of the cache.
    stats : mapping
        The counters, as `Stats.as_dict` gives them.
    settings : mapping
        The settings; values may be anything, their text is shown.
    database : mapping
        What the database holds in all; empty when it does not answer.

    Returns
    -------
    dict
        ``since`` and ``until``, in seconds since 1970; ``history``, as `History.as_dict` gives it;
        ``stats``, ``settings`` and ``database``; ``versions``, by name.
    """
    return {
        "since": seeing.since,
        "until": time.time(),
        "history": seeing.history.as_dict(),
        "stats": dict(stats),
        "settings": {name: _text(value) for name, value in settings.items()},
        "database": dict(database),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what takes part in a computation, by name."""
    import platform

    import dask
    import distributed

    return {
        "seamless-dask-cache": __version__,
        "dask": dask.__version__,
        "distributed": distributed.__version__,
        "Python": platform.python_version(),
    }


def report(data: Mapping[str, Any]) -> str:
    """Return a report as HTML: no scripts, and nothing that is fetched from elsewhere.

    Parameters
    ----------
    data : mapping
        As `report_data` gives it.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "bytes": bytes_text,
        "seconds": seconds_text,
        "share": share_text,
        "moment": _moment,
        "number": _number,
        "words": lambda name: str(name).replace("_", " "),
    }
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(**data, **_charts(data))


def write_report(path: str | Path, html: str) -> Path:
    """Write a report; the file is the old one or the new one at any moment, never a part.

    Parameters
    ----------
    path : str or path
        Of the file; its folder must be there.
    html : str
        What `report` made.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    target = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(html)
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    return target


def _charts(data: Mapping[str, Any]) -> dict[str, Any]:
    history = data["history"]
    over_time = so_far(history["series"], [*OUTCOMES, "seconds_saved"])
    tasks = charts.stacked_areas(over_time["time"], [over_time[name] for name in OUTCOMES])
    saved = charts.stacked_areas(over_time["time"], [over_time["seconds_saved"]])
    bars = charts.stacked_bars(per_prefix(history["prefixes"], MAX_BARS), OUTCOMES)
    return {
        "outcomes": OUTCOMES,
        "tasks_chart": tasks,
        "saved_chart": saved,
        "bars_chart": bars,
        "refusals": list(history["refusals"].items())[:MAX_REASONS],
    }


def _umask() -> int:
    # There is no way to ask for it without setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _text(value: object) -> str:
    if isinstance(value, (set, frozenset, tuple, list)):
        return ", ".join(sorted(map(str, value))) or "none"
    return str(value)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
