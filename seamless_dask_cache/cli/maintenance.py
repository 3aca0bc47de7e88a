"""``seamless-dask-cache backup`` and ``check``: work on a database file, beside its server."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from seamless_dask_cache.server.checking import Finding


def make_backup(file: Path, copy: Path, *, overwrite: bool, check: bool) -> None:
    """Copy a database, and say what was copied.

    Raises
    ------
    click.ClickException
        When there is nothing to copy, or the copy cannot be made.
    """
    from seamless_dask_cache.server.maintenance import back_up

    with _explained(), _stopped_in_order(), _progress_bar() as progress:
        task = progress.add_task("copying", total=None)
        report = back_up(
            file,
            copy,
            overwrite=overwrite,
            check=check,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    rows = "an unknown number of" if report.transformations is None else report.transformations
    click.echo(
        f"copied {file} to {copy}: {report.pages:,} pages ({report.nbytes:,} bytes), "
        f"{_counted(rows, 'transformation')}, {'checked' if check else 'not checked'}, "
        f"in {report.seconds:.2f} s"
    )


def print_problems(file: Path, *, as_json: bool, limit: int) -> None:
    """Print what is wrong with a database; the exit code says whether anything is.

    Parameters
    ----------
    file : Path
    as_json : bool
        Whether to print one JSON document instead of lines.
    limit : int
        How many problems to print; others are counted.

    Raises
    ------
    click.ClickException
        When it cannot be checked.
    """
    from seamless_dask_cache.server.checking import findings

    began = time.perf_counter()
    rows: dict[str, int] = {}
    outcome = _Outcome(limit)
    with _explained():
        for finding in findings(file, rows):
            if outcome.takes(finding) and not as_json:
                click.echo(_line(finding))
    seconds = time.perf_counter() - began
    if as_json:
        click.echo(json.dumps(outcome.document(file, rows, seconds), indent=2))
    else:
        _print_summary(file, outcome, rows, seconds)
    if outcome.problems:
        click.get_current_context().exit(1)


class _Outcome:
    """What was found, but for the problems beyond the limit, which are only counted."""

    def __init__(self, limit: int):
        self.limit = limit
        self.problems = 0
        self.shown: list[Finding] = []
        self.remarks: list[Finding] = []

    def takes(self, finding: Finding) -> bool:
        """Take note of a finding; tell whether it is one to print."""
        kept = self.remarks if finding.is_remark else self.shown
        self.problems += not finding.is_remark
        if not finding.is_remark and self.problems > self.limit:
            return False
        kept.append(finding)
        return True

    @property
    def others(self) -> int:
        return self.problems - len(self.shown)

    def document(self, file: Path, rows: dict[str, int], seconds: float) -> dict[str, Any]:
        return {
            "file": str(file),
            "ok": not self.problems,
            "problems": [_fields(finding) for finding in self.shown],
            "more_problems": self.others,
            "remarks": [_fields(finding) for finding in self.remarks],
            "rows": rows,
            "seconds": seconds,
        }


def _fields(finding: Finding) -> dict[str, Any]:
    return {"table": finding.table, "key": finding.key, "text": finding.text}


def _line(finding: Finding) -> str:
    where = " ".join(part for part in (finding.table or "file", finding.key) if part)
    return f"{'remark: ' if finding.is_remark else ''}{where}: {finding.text}"


def _print_summary(file: Path, outcome: _Outcome, rows: dict[str, int], seconds: float) -> None:
    if outcome.others:
        click.echo(f"... and {_counted(outcome.others, 'other problem')}")
    found = _counted(outcome.problems or "no", "problem")
    looked_at = f"{_counted(sum(rows.values()), 'row')} in {_counted(len(rows), 'table')}"
    click.echo(f"{file}: {found} in {looked_at}; {seconds:.2f} s")


def _counted(number: int | str, what: str) -> str:
    text = f"{number:,}" if isinstance(number, int) else number
    return f"{text} {what}{'' if number == 1 else 's'}"


@contextmanager
def _explained() -> Iterator[None]:
    """Let errors of the work on a file be one line, with exit code 1."""
    from seamless_dask_cache.server.failures import MaintenanceError, StartupError

    try:
        yield
    except (MaintenanceError, StartupError) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """Let a request to stop, as of a service manager, remove what is half made, as Ctrl-C does."""

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _progress_bar() -> Progress:
    """Make a bar that is shown in a terminal only, and is gone afterwards."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    return Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
