"""The command line: ``seamless-database FILE`` or ``python -m seamless_dask_cache.server FILE``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from . import logs
from .access import Access
from .failures import StartupError
from .service import run
from .settings import MAX_BODY, MAX_UPLOAD, PATIENCE, RANDOM_PORTS, Settings, read_token
from .status import StatusFile

_PATH = click.Path(path_type=Path)

logger = logging.getLogger(__name__)


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
@click.option("--buffers", type=_PATH, help="Folder of large buffers, made when it is needed.")
@click.option("--status-file", type=_PATH, help="JSON file that is told the port and the status.")
@click.option("--timeout", type=float, help="Stop after this many seconds without a request.")
@click.option("--token-file", type=_PATH, help="File with the token for reading and writing.")
@click.option("--read-token-file", type=_PATH, help="File with a token for reading only.")
@click.option("--anonymous-reads", is_flag=True, help="Let everybody read, without a token.")
@click.option("--tls-cert", type=_PATH, help="Certificate in PEM, with its chain; with --tls-key.")
@click.option("--tls-key", type=_PATH, help="Key of the certificate in PEM.")
@click.option(
    "--max-body", type=int, default=MAX_BODY, show_default=True, help="Bytes of a request, at most."
)
@click.option(
    "--max-buffer", type=int, default=MAX_UPLOAD, show_default=True, help="Bytes of a buffer."
)
@click.option(
    "--patience",
    type=float,
    default=PATIENCE,
    show_default=True,
    help="Seconds for which a client may be silent in the midst of a request.",
)
@click.option(
    "--log-format",
    type=click.Choice(logs.FORMATS),
    default="text",
    show_default=True,
    help="Lines for people, or JSON objects.",
)
@click.option("--log-requests", is_flag=True, help="Write a line for each request.")
def main(status_file: Path | None, log_format: str, **options: Any) -> None:
    """Serve the database FILE (SQLite): which transformation gave which result."""
    if options["port"] is not None and options["port_range"]:
        raise click.UsageError("--port and --port-range exclude each other")
    if (options["tls_cert"] is None) != (options["tls_key"] is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    status: StatusFile | None = None
    try:
        status = None if status_file is None else StatusFile(status_file)
        logs.configure(log_format)
        run(_settings(**options), status)
    except BaseException as error:
        if status is not None:
            status.failed()
        if isinstance(error, StartupError):
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        raise
    if status is not None:
        status.stopped()


def _settings(
    port: int | None,
    port_range: tuple[int, int] | None,
    token_file: Path | None,
    read_token_file: Path | None,
    anonymous_reads: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    max_buffer: int,
    **others: Any,
) -> Settings:
    return Settings(
        ports=port_range or (RANDOM_PORTS if port is None else (port, port)),
        access=Access(
            write_token=None if token_file is None else read_token(token_file),
            read_token=None if read_token_file is None else read_token(read_token_file),
            anonymous_reads=anonymous_reads,
        ),
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
        max_upload=max_buffer,
        **others,
    )


if __name__ == "__main__":
    main(prog_name="seamless-database")
