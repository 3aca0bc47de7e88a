"""Where the three commands begin and end."""

from __future__ import annotations

import os
import sys

from seamless_dask_cache.checksum_commands.failures import reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def checksum() -> NoReturn:
    """Run ``seamless-checksum``."""
    arguments = sys.argv[1:]
    if _are_names(arguments):
        # Without options there is nothing to parse, and importing click would take longer than
        # everything else together.
        from seamless_dask_cache.checksum_commands.printing import print_checksums

        _end("seamless-checksum", lambda: print_checksums(arguments))
    _run("seamless-checksum")


def checksum_file() -> NoReturn:
    """Run ``seamless-checksum-file``."""
    _run("seamless-checksum-file")


def checksum_index() -> NoReturn:
    """Run ``seamless-checksum-index``."""
    _run("seamless-checksum-index")


def _are_names(arguments: list[str]) -> bool:
    # On Windows, click also expands patterns.
    return (
        os.name == "posix"
        and bool(arguments)
        and all(text == "-" or not text.startswith("-") for text in arguments)
    )


def _run(program: str) -> NoReturn:
    def work() -> int:
        from seamless_dask_cache.checksum_commands.commands import run

        return run(program, sys.argv[1:])

    _end(program, work)


def _end(program: str, work: Callable[[], int]) -> NoReturn:
    """Do the work and leave, without waiting for threads that still read, perhaps for ever."""
    code = 1
    try:
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BrokenPipeError:
        pass  # whoever read the results has enough of them
    except OSError as error:
        print(f"{program}: {reason_of(error)}", file=sys.stderr, flush=True)
    os._exit(code)
