"""What the commands say: results, failures, and the progress bar that must not be between them."""

from __future__ import annotations

import sys

from seamless_dask_cache.checksum_commands.failures import reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from seamless_dask_cache.checksum_commands.bar import Bar


class Terminal:
    """Standard output and standard error of one command.

    Parameters
    ----------
    program : str
        Name of the command, which lines on standard error begin with.
    progress : bool, optional
        Whether to show a progress bar. By default, when standard error is a terminal and the work
        takes more than a second.

    Attributes
    ----------
    failures : int
        How many failures were told.
    note : callable
        To be told how many bytes were read; by any thread.
    """

    def __init__(self, program: str, progress: bool | None = None):
        self.program = program
        self.failures = 0
        self._bar = _bar(progress)
        self.note: Callable[[int], object] = self._bar.note if self._bar else lambda count: None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._alone(lambda: None)

    def expect(self, total: Callable[[], int | None]) -> None:
        """Say how many bytes will be read, for those who want to know; None when nobody can."""
        if self._bar:
            self._bar.total = total

    def result(self, line: bytes) -> None:
        """Write a line to standard output, at once.

        Raises
        ------
        BrokenPipeError
            When nobody reads on.
        SystemExit
            When it cannot be written; that has been told.
        """
        try:
            self._alone(lambda: _write(line))
        except BrokenPipeError:
            raise
        except OSError as error:
            self.failure("standard output", reason_of(error))
            raise SystemExit(1) from error

    def failure(self, name: str, reason: object) -> None:
        """Tell that something failed with a file, and count it."""
        self.failures += 1
        self.remark(f"{one_line(name)}: {reason}")

    def remark(self, text: str) -> None:
        """Write a line to standard error."""
        if sys.stderr is not None:
            line = f"{self.program}: {text}"
            self._alone(lambda: print(line, file=sys.stderr, flush=True))

    def _alone(self, write: Callable[[], object]) -> None:
        if self._bar:
            self._bar.make_room(write)
        else:
            write()


def one_line(name: str) -> str:
    """Return a name as it can stand in a message."""
    return name if name.isprintable() else repr(name)


def _write(line: bytes) -> None:
    if sys.stdout is None:
        raise OSError("closed")
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _bar(progress: bool | None) -> Bar | None:
    if progress is None and (sys.stderr is None or not sys.stderr.isatty()):
        return None
    if progress is False:
        return None
    from seamless_dask_cache.checksum_commands.bar import Bar

    return Bar(at_once=bool(progress))
