"""The options of the three commands."""

from __future__ import annotations

import os
import signal
from typing import Any

import click

from seamless_dask_cache._version import __version__

_SETTINGS = {"help_option_names": ["-h", "--help"]}

raw_option = click.option(
    "--raw", is_flag=True, help="Take .gz and .zst files as they are, not decompressed."
)
jobs_option = click.option(
    "-j", "--jobs", type=click.IntRange(1), help="Files to read at once; as many as processors."
)
progress_option = click.option(
    "--progress/--no-progress",
    default=None,
    help="Show a progress bar, or none; by default on a terminal after a second.",
)
follow_option = click.option(
    "--follow-links", is_flag=True, help="Follow symbolic links to folders, too."
)
version_option = click.version_option(__version__)


def run(program: str, arguments: list[str]) -> int:
    """Run one of the commands.

    Parameters
    ----------
    program : str
        Its name.
    arguments : list of str

    Returns
    -------
    int
        The exit code; 2 when the arguments make no sense.
    """
    _stop_in_order()
    try:
        return int(COMMANDS[program].main(arguments, program, standalone_mode=False) or 0)
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code


@click.command(context_settings=_SETTINGS)
@click.option("-c", "--check", is_flag=True, help="Read checksums from lists, and check the files.")
@click.option("--name", "named", is_flag=True, help="Print the name of a single file, too.")
@raw_option
@click.option("--quiet", is_flag=True, help="With --check: print no OK.")
@click.option("--status", is_flag=True, help="With --check: print nothing, the exit code tells.")
@click.option("--follow-links", is_flag=True, help="With --check: what the index was made with.")
@jobs_option
@progress_option
@version_option
@click.argument("names", metavar="FILE...", nargs=-1)
def checksum(check: bool, names: tuple[str, ...], **options: Any) -> int:
    """Print the checksum (SHA-256) of each FILE; - is standard input.

    One file gives the 64 hex digits alone, several give lines with names, as sha256sum has them.
    Of files that are called *.gz or *.zst the decompressed content counts, unless --raw is given.

    With --check, each FILE is a list of such lines, also one of sha256sum (give --raw if it names
    compressed files), and standard input is read when there is none. A list may also be what
    seamless-checksum-file and seamless-checksum-index wrote: X.CHECKSUM stands for the file X, for
    X.gz or X.zst, or for the files in the folder X, whichever is there. The exit code is 1 when a
    file is not what it was, or cannot be read.
    """
    return _check(names, **options) if check else _print(names, **options)


@click.command(context_settings=_SETTINGS)
@raw_option
@jobs_option
@progress_option
@version_option
@click.argument("names", metavar="FILE...", nargs=-1, required=True)
def checksum_file(names: tuple[str, ...], **options: Any) -> int:
    """Write the checksum (SHA-256) of each FILE into FILE.CHECKSUM.

    Of data.csv.gz or data.csv.zst the decompressed content counts, and is written into
    data.csv.CHECKSUM, unless --raw is given. The checksum of X.INDEX goes into X.CHECKSUM.
    """
    from seamless_dask_cache.checksum_commands.files import write_checksums

    return write_checksums(names, **options)


@click.command(context_settings=_SETTINGS)
@raw_option
@follow_option
@jobs_option
@progress_option
@version_option
@click.argument("folder", metavar="DIR")
def checksum_index(folder: str, **options: Any) -> int:
    """Write the checksums of all files in DIR into DIR.INDEX, and its own into DIR.CHECKSUM.

    DIR.INDEX is a JSON document, names to checksums; what is in folders of DIR has names such as
    a/b.csv, and empty folders have none. Of a.csv.gz or a.csv.zst the decompressed content counts,
    under the name a.csv, unless --raw is given. Symbolic links to files are followed, those to
    folders are not, and are told.

    When a file cannot be read, or changes meanwhile, nothing is written and the exit code is 1.
    """
    from seamless_dask_cache.checksum_commands.index import write_index

    return write_index(folder, **options)


COMMANDS = {
    "seamless-checksum": checksum,
    "seamless-checksum-file": checksum_file,
    "seamless-checksum-index": checksum_index,
}
"""The commands, by the names of their programs."""


def _print(
    names: tuple[str, ...], *, quiet: bool, status: bool, follow_links: bool, **options: Any
) -> int:
    if quiet or status or follow_links:
        raise click.UsageError("--quiet, --status and --follow-links go with --check only")
    if not names:
        raise click.UsageError("Missing argument 'FILE...'.")
    from seamless_dask_cache.checksum_commands.printing import print_checksums

    return print_checksums(names, **options)


def _check(names: tuple[str, ...], *, named: bool, **options: Any) -> int:
    if named:
        raise click.UsageError("--name does not go with --check")
    from seamless_dask_cache.checksum_commands.checking import Options, check_lists

    return check_lists(names or ("-",), Options(**options))


def _stop_in_order() -> None:
    """Let a request to stop, as of a service manager, remove what is half made, as Ctrl-C does."""

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    for number in [signal.SIGTERM, *([signal.SIGHUP] if os.name == "posix" else [])]:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)
