"""Configuration: ``dask.config`` under ``seamless-dask-cache``.

An argument wins over the environment (``DASK_SEAMLESS_DASK_CACHE__CACHE_DIR=...``), which wins over
YAML files, which win over the defaults in ``seamless-dask-cache.yaml`` beside this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.config
import yaml

from seamless_dask_cache.errors import ConfigurationError

if TYPE_CHECKING:
    from seamless_dask_cache.storage import BufferStore

SECTION = "seamless-dask-cache"
DEFAULTS_FILE = Path(__file__).with_name("seamless-dask-cache.yaml")

_defaults = yaml.safe_load(DEFAULTS_FILE.read_text(encoding="utf-8"))
dask.config.update_defaults(_defaults)


def get(name: str, default: Any = None) -> Any:
    """Return one setting, such as ``get("cache-dir")``; None counts as not set."""
    value = dask.config.get(f"{SECTION}.{name}", default=None)
    return default if value is None else value


def nbytes(name: str) -> int:
    """Return a setting that is a size, such as ``5 GB``, in bytes.

    Raises
    ------
    ConfigurationError
        When it is none.
    """
    from dask.utils import parse_bytes

    value = get(name)
    try:
        return int(parse_bytes(value))
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigurationError(f"{name} must be a size such as '5 GB', not {value!r}") from error


@dataclass(frozen=True)
class Settings:
    """Where the database and the buffers are, and the policy as configured.

    Attributes
    ----------
    database : str or None
        URL of a database server; None for the embedded one.
    buffers : str, path, BufferStore or None
        Where buffers live; None for a folder beside the embedded database.
    cache_dir : str, path or None
        Home of the embedded database; None for the user's cache folder.
    token : str or None
        Bearer token for `database`.
    policy : dict
        Settings of the policy that the configuration changes.
    """

    database: str | None = None
    buffers: str | Path | BufferStore | None = None
    cache_dir: str | Path | None = None
    token: str | None = None
    policy: dict[str, Any] = field(default_factory=dict)

    @property
    def versions(self) -> str:
        """How far versions of installed distributions count.

        Raises
        ------
        ConfigurationError
            When the setting makes no sense.
        """
        from seamless_dask_cache.identity.distributions import check_policy

        return check_policy(self.policy.get("versions", "exact"))

    @classmethod
    def from_arguments(
        cls,
        *,
        database: str | None = None,
        buffers: str | Path | BufferStore | None = None,
        cache_dir: str | Path | None = None,
        token: str | None = None,
    ) -> Settings:
        """Fill in from the configuration what is not given.

        Raises
        ------
        ConfigurationError
            When a value makes no sense.
        """
        database = database if database is not None else get("database")
        if database is not None and not str(database).startswith(("http://", "https://")):
            raise ConfigurationError(
                f"database must be a URL such as http://127.0.0.1:5522, not {database!r}"
            )
        return cls(
            database=database,
            buffers=buffers if buffers is not None else get("buffers"),
            cache_dir=_folder(cache_dir if cache_dir is not None else get("cache-dir")),
            token=token if token is not None else _configured_token(),
            policy={name.replace("-", "_"): value for name, value in get("policy", {}).items()},
        )


def _folder(path: str | Path | None) -> Path | None:
    if path is None:
        return None
    if not isinstance(path, str | Path) or not str(path):
        raise ConfigurationError(f"cache_dir must be a folder, not {path!r}")
    return Path(path).expanduser().absolute()


def _configured_token() -> str | None:
    file = get("token-file")
    if file is None:
        return None
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"token-file {file!r} cannot be read: {error}") from error
