"""The command line: ``seamless-database FILE`` or ``python -m seamless_dask_cache.server FILE``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from .failures import StartupError
from .service import run
from .settings import RANDOM_PORTS, Settings, read_token
from .status import StatusFile

_PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=_PATH)
@click.option("--port", type=int, help="Network port.")
@click.option(
    "--port-range",
    type=int,
    nargs=2,
    metavar="START END",
    help="Take a random free port between these two, both included."
    f" Without --port and --port-range: {RANDOM_PORTS[0]} {RANDOM_PORTS[1]}.",
)
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option("--writable", is_flag=True, help="Take PUT requests; FILE is created if missing.")
@click.option("--status-file", type=_PATH, help="JSON file that is told the port and the status.")
@click.option("--timeout", type=float, help="Stop after this many seconds without a request.")
@click.option("--token-file", type=_PATH, help="File with the token that requests must present.")
@click.option("--buffers", type=_PATH, help="Folder of large buffers, to tell which are there.")
def main(
    file: Path,
    port: int | None,
    port_range: tuple[int, int] | None,
    host: str,
    writable: bool,
    status_file: Path | None,
    timeout: float | None,
    token_file: Path | None,
    buffers: Path | None,
) -> None:
    """Serve the database FILE (SQLite): which transformation gave which result."""
    if port is not None and port_range:
        raise click.UsageError("--port and --port-range exclude each other")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    status: StatusFile | None = None
    try:
        status = None if status_file is None else StatusFile(status_file)
        settings = Settings(
            file=file,
            host=host,
            ports=port_range or (RANDOM_PORTS if port is None else (port, port)),
            writable=writable,
            timeout=timeout,
            token=None if token_file is None else read_token(token_file),
            buffers=buffers,
        )
        run(settings, status)
    except BaseException as error:
        if status is not None:
            status.failed()
        if isinstance(error, StartupError):
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        raise


if __name__ == "__main__":
    main(prog_name="seamless-database")
