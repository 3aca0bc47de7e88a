"""``seamless-checksum FILE...``: checksums to standard output."""

from __future__ import annotations

from seamless_dask_cache.checksum_commands.digests import STANDARD_INPUT, checksum_of
from seamless_dask_cache.checksum_commands.failures import FileFailure, attempt
from seamless_dask_cache.checksum_commands.terminal import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PROGRAM = "seamless-checksum"


def print_checksums(
    names: Sequence[str],
    *,
    raw: bool = False,
    named: bool = False,
    jobs: int | None = None,
    progress: bool | None = None,
) -> int:
    """Print the checksum of every file, in their order, and tell what failed.

    Parameters
    ----------
    names : sequence of str
        Paths; `STANDARD_INPUT` once at most.
    raw : bool
        Whether compressed files count as they are.
    named : bool
        Whether the name stands behind the checksum also when there is one file only.
    jobs : int, optional
        How many files are read at once; as many as processors by default.
    progress : bool, optional
        As `Terminal` has it.

    Returns
    -------
    int
        The exit code: 1 when something failed.
    """
    named = named or len(names) > 1
    with Terminal(PROGRAM, progress) as terminal:
        if names.count(STANDARD_INPUT) > 1:
            terminal.failure(STANDARD_INPUT, "standard input can be read only once")
            return 2
        terminal.expect(lambda: _total(names))
        for name, outcome in _outcomes(names, raw, jobs, terminal.note):
            if isinstance(outcome, FileFailure):
                terminal.failure(name, outcome)
            else:
                terminal.result(_line(outcome, name, named))
    return int(terminal.failures > 0)


def _outcomes(
    names: Sequence[str], raw: bool, jobs: int | None, note: Callable[[int], object]
) -> Iterable[tuple[str, str | FileFailure]]:
    def outcome(name: str) -> str | FileFailure:
        return attempt(lambda: checksum_of(name, raw=raw, note=note))

    if len(names) == 1:
        return ((name, outcome(name)) for name in names)
    from seamless_dask_cache.checksum_commands.ordered import in_order

    return in_order(outcome, names, jobs)


def _line(checksum: str, name: str, named: bool) -> bytes:
    if not named:
        return f"{checksum}\n".encode()
    from seamless_dask_cache.checksum_commands.lists import line_of

    return line_of(checksum, name)


def _total(names: Sequence[str]) -> int | None:
    from seamless_dask_cache.checksum_commands.bar import total_size

    return total_size(names)
