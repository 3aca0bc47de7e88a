"""What a computation reads and does while it runs, seen through Python's audit events.

Code is judged before it runs (:mod:`seamless_dask_cache.identity.effects`); this package sees what
no name in the code shows: a file opened under a name that was put together at run time, a write
behind a method, a connection that a library makes. Files opened for reading are noted with the
state that they had, and a stored result counts later only while they are still in it. Writing,
networking and starting processes are effects.

Not effects: what happens while a module is imported (once per process, with the cache or without),
logging, reading source lines for a warning or a traceback, temporary files that are gone in the
end, byte-code caches. Not seen: files that compiled code opens by itself.
"""

from .hook import apart, watch
from .seen import MISSING, Observation, current, state_now, unchanged, uncovered

__all__ = [
    "MISSING",
    "Observation",
    "apart",
    "current",
    "state_now",
    "unchanged",
    "uncovered",
    "watch",
]
