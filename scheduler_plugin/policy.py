"""What is cached, and at what price: the settings of the plugin, and what they decide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from seamless_dask_cache.errors import ConfigurationError
from seamless_dask_cache.identity import EFFECT_KINDS
from seamless_dask_cache.identity.distributions import check_policy

LONGEST_PATIENCE = 86_400.0
LONGEST_LEASE = 3600.0
SMALL_BYTES = 65_536
HASHED_BYTES_PER_SECOND = 500e6
"""Serialized and hashed; a careful figure for one core."""
STORED_BYTES_PER_SECOND = 300e6
"""Serialized, hashed and written; a careful figure until it was measured."""
EXPECTED_TYPES: dict[str, tuple[type, ...]] = {
    "min_seconds": (int, float),
    "load_seconds": (int, float),
    "load_bytes_per_second": (int, float),
    "store_share": (int, float),
    "max_bytes": (int,),
    "inline_bytes": (int,),
    "patience": (int, float),
    "lease_seconds": (int, float),
}


@dataclass(frozen=True)
class Policy:
    """The settings of the cache; every one can be given to ``enable`` or ``CachePlugin``.

    Attributes
    ----------
    min_seconds : float
        Results that no client asked for are stored only when they took at least this long.
    load_seconds, load_bytes_per_second : float
        What loading a result is taken to cost, until it was measured: a fixed part and a rate. A
        result that no client asked for is stored only when computing it took longer than that.
    store_share : float
        A result that no client asked for is stored only when storing it takes at most this part of
        the time that computing it took. What is small enough to live in the database costs no time.
    always_store, never_store : str or tuple of str
        Patterns (as of file names) of key prefixes such as ``"clean-*"``, whose results are stored
        in any case, or never; the latter are still looked up, and what is made of them is stored.
    max_bytes : int
        Results above this size are not stored.
    inline_bytes : int
        Results up to this size live in the database; larger ones in the buffer store.
    patience : float
        Seconds that a computation waits for the database at most.
    observe : bool
        Whether workers listen to Python's audit events. Without, what a task opens, writes or
        connects to under names that its code does not show is not noticed. It cannot be taken back
        in a process.
    allow_effects : frozenset of str
        Kinds of effects that do not refuse a task, such as ``{"clock"}``.
    versions : str or mapping
        How the version of an installed distribution enters identity: "exact", "minor", "ignore"; or
        these by name of the distribution, such as ``{"default": "exact", "numpy": "minor"}``.
    allow_pickle : bool
        Whether results may be stored as pickles.
    read_only : bool
        Look up, and store nothing.
    lease_seconds : float
        What one cluster computes, others wait for; this is how long they wait for a cluster that
        died. From 1 to 3,600; 0 lets every cluster compute everything itself.
    lease_patience : float, optional
        Seconds after which a cluster waits no longer for another one, though that one is alive.
    """

    min_seconds: float = 0.02
    load_seconds: float = 0.005
    load_bytes_per_second: float = 500e6
    store_share: float = 0.1
    max_bytes: int = 10_000_000_000
    always_store: tuple[str, ...] = ()
    never_store: tuple[str, ...] = ()
    inline_bytes: int = 4096
    observe: bool = True
    patience: float = 10.0
    allow_effects: frozenset[str] = frozenset()
    versions: str = "exact"
    allow_pickle: bool = True
    read_only: bool = False
    lease_seconds: float = 15.0
    lease_patience: float | None = None

    def __post_init__(self) -> None:
        for name, types in EXPECTED_TYPES.items():
            if not _is_amount(getattr(self, name), types):
                raise ConfigurationError(
                    f"{name} must be a number from 0 on, not {getattr(self, name)!r}"
                )
        if not 0 < self.patience < LONGEST_PATIENCE:
            raise ConfigurationError(
                f"patience must be more than 0 s and less than a day, not {self.patience!r}"
            )
        self._check_leases()
        for name in ("allow_pickle", "observe", "read_only"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(
                    f"{name} must be True or False, not {getattr(self, name)!r}"
                )
        for name in ("always_store", "never_store"):
            object.__setattr__(self, name, _patterns(name, getattr(self, name)))
        # As text it can be hashed and sent, whatever the user wrote.
        object.__setattr__(self, "versions", check_policy(self.versions))

    def _check_leases(self) -> None:
        seconds, patience = self.lease_seconds, self.lease_patience
        if seconds and not 1 <= seconds <= LONGEST_LEASE:
            raise ConfigurationError(
                f"lease_seconds must be 0, or from 1 to {LONGEST_LEASE:g}, not {seconds!r}"
            )
        if patience is not None and not _is_amount(patience, (int, float)):
            raise ConfigurationError(
                f"lease_patience must be None or a number from 0 on, not {patience!r}"
            )

    def updated(self, **changes: Any) -> Policy:
        """Return a policy with some settings changed.

        Raises
        ------
        ConfigurationError
            For a name that is no setting, or a value that makes no sense.
        """
        known = {field.name for field in fields(self)}
        for name in changes:
            if name not in known:
                raise ConfigurationError(
                    f"unknown setting {name!r}; expected one of {', '.join(sorted(known))}"
                )
        if "allow_effects" in changes:
            changes["allow_effects"] = _names(changes["allow_effects"])
        return replace(self, **changes)

    def worth_storing(
        self,
        seconds: float,
        nbytes: int,
        loading: float | None = None,
        storing: float | None = None,
    ) -> bool:
        """Decide whether a result is stored that no client asked for.

        Parameters
        ----------
        seconds : float
            How long computing it took, and what it was made of, as far as that is not stored.
        nbytes : int
            Its size in memory.
        loading : float, optional
            Seconds that loading such results was seen to take; by default as the settings say.
        storing : float, optional
            Seconds that storing it will take; by default as if at 300 MB/s.
        """
        if loading is None:
            loading = self.load_seconds + nbytes / max(self.load_bytes_per_second, 1.0)
        if nbytes <= self.inline_bytes:
            storing = 0.0
        elif storing is None:
            storing = nbytes / STORED_BYTES_PER_SECOND
        gain = seconds >= self.min_seconds and seconds > loading
        return gain and storing <= self.store_share * seconds

    def worth_naming(self, seconds: float, nbytes: int) -> bool:
        """Decide whether the checksum of a result is worked out though it is not stored.

        Other tasks are then found by the content of their inputs. It is done where it costs next to
        nothing: for small results, and a twentieth of the time that the task took for others.
        """
        return nbytes <= SMALL_BYTES or nbytes / HASHED_BYTES_PER_SECOND < seconds / 20


def _is_amount(value: Any, types: tuple[type, ...]) -> bool:
    return type(value) in types and float(value) >= 0


def _patterns(name: str, value: Any) -> tuple[str, ...]:
    patterns = (value,) if isinstance(value, str) else value
    if isinstance(patterns, (list, tuple, set, frozenset)) and all(
        isinstance(pattern, str) for pattern in patterns
    ):
        return tuple(patterns)
    raise ConfigurationError(f"{name} must be patterns of key prefixes, not {value!r}")


def _names(value: str | Iterable[str] | None) -> frozenset[str]:
    if value is None:
        return frozenset()
    try:
        names = frozenset([value]) if isinstance(value, str) else frozenset(value)
    except TypeError:
        names = frozenset([repr(value)])
    if unknown := names - EFFECT_KINDS:
        raise ConfigurationError(
            f"allow_effects must name kinds of effects ({', '.join(sorted(EFFECT_KINDS))}), "
            f"not {', '.join(sorted(map(str, unknown)))}"
        )
    return names
