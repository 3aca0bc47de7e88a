"""The server's log: lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError

from .failures import StartupError


class _NotOfClients(logging.Filter):
    """Keeps what is no fault of a client.

    aiohttp writes a traceback of all that is no HTTP, with which strangers could fill a disk.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


HTTP_LOGGER = logging.getLogger("seamless_dask_cache.server.http")
"""What aiohttp writes to."""
HTTP_LOGGER.addFilter(_NotOfClients())

FORMATS = ("text", "json")

_JSON_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"


def configure(format_: str) -> None:
    """Let the root logger write to standard error.

    Parameters
    ----------
    format_ : {"text", "json"}
        In JSON, a line has ``timestamp`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, and
        the facts of which the message is made, such as ``status`` and ``seconds``.

    Raises
    ------
    StartupError
        What writes JSON is not installed.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_json_formatter() if format_ == "json" else _text_formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _text_formatter() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)s %(message)s")


def _json_formatter() -> logging.Formatter:
    try:
        from pythonjsonlogger.orjson import OrjsonFormatter
    except ImportError as error:
        raise StartupError(
            f"--log-format json needs the extra 'server' of seamless-dask-cache ({error})"
        ) from error
    return OrjsonFormatter(
        _JSON_FIELDS,
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp=True,
    )
