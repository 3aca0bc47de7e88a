"""What each audit event says of the computation that it belongs to.

The events and their arguments stand in Python's documentation (library reference, "Audit events
table"). A handler takes the observation and the arguments of the event.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from seamless_dask_cache.identity.distributions import owner_of
from seamless_dask_cache.identity.effects import (
    DYNAMIC_CODE,
    ENVIRONMENT,
    NETWORK,
    PROCESS,
    PROCESS_STATE,
    SECRETS,
    WRITE,
)

from .seen import (
    WORKING_FOLDER,
    Observation,
    in_code_of_the_user,
    in_rmtree,
    on_behalf_of_a_bystander,
    state_now,
)

MAX_READS = 10_000
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_UNNAMED = getattr(os, "O_TMPFILE", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)
_MADE_UP = ("/proc/", "/sys/")
_DICE = {"/dev/random", "/dev/urandom"}
_INSTALLED = ("/usr/share/zoneinfo/", f"{os.path.dirname(os.__file__)}/")
_OF_DISTRIBUTIONS = ("/site-packages/", "/dist-packages/", "/__pycache__/")
_OF_THE_MACHINE = {
    "/etc/localtime",
    "/etc/timezone",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/lsb-release",
}


def _opened(seen: Observation, path: Any, mode: Any, flags: int) -> None:
    name = _absolute(path)
    if name is None or (_UNNAMED and flags & _UNNAMED == _UNNAMED):
        return
    if name in _DICE:
        seen.did(SECRETS, f"it read {name}")
    elif flags & _WRITING:
        # tempfile opens a folder in a mode for writing; the file itself follows.
        if not os.path.isdir(name):
            _wrote(seen, path, f"it opened {name} for writing")
    elif mode is None and not os.path.isabs(path) and not in_rmtree():
        seen.unstable = "it opened a name relative to it is not known which folder"
    elif not flags & _FOLDER:
        _read(seen, path, name)


def _read(seen: Observation, path: Any, name: str) -> None:
    if name in seen.reads or _is_temporary(seen, name):
        return
    if _is_installed(name):
        if name.startswith(_MADE_UP) and in_code_of_the_user():
            seen.did(PROCESS_STATE, f"it read {name}")
        return
    if on_behalf_of_a_bystander() or in_rmtree():
        return
    if len(seen.reads) >= MAX_READS:
        seen.unstable = f"it read more than {MAX_READS:,} files"
        return
    seen.note(name, state_now(name))
    folder = os.getcwd()
    # An absolute name below it may have been made of a relative one.
    if not os.path.isabs(path) or name.startswith(f"{folder}/"):
        seen.note(WORKING_FOLDER, folder)


def _listed(seen: Observation, path: Any = None, *_: Any) -> None:
    path = "." if path is None else path
    name = _absolute(path)
    if name is not None:
        _read(seen, path, f"{name.rstrip('/')}/")
    elif not in_rmtree():
        seen.unstable = "it listed a folder by a file descriptor"


def _globbed(seen: Observation, pattern: Any, *_: Any) -> None:
    """Note what a pattern asks for beyond the folders that it lists."""
    text = os.fsdecode(pattern)
    prefix, magic = _without_magic(text)
    if not magic:
        _read(seen, text, os.path.abspath(text))
    elif "/" in magic:
        _read(seen, text, os.path.abspath(prefix or "."))


def _globbed_below(seen: Observation, folder: Any, pattern: Any, *_: Any) -> None:
    _globbed(seen, os.path.join(os.fspath(folder), os.fspath(pattern)))


def _without_magic(pattern: str) -> tuple[str, str]:
    """Split a pattern into the folder that it begins with and the rest, from the first ``*`` on."""
    parts = pattern.split("/")
    fixed = list(takewhile(lambda part: not glob.has_magic(part), parts))
    prefix = "/".join(fixed) or ("/" if pattern.startswith("/") else "")
    return prefix, "/".join(parts[len(fixed) :])


def _wrote(seen: Observation, path: Any, text: str) -> None:
    name = _absolute(path)
    if name is None or _is_no_file(name) or "/__pycache__/" in name or _is_temporary(seen, name):
        return
    if any(kind == WRITE for kind, _ in seen.effects):
        return  # one is enough, and looking at the frames takes time
    if not on_behalf_of_a_bystander():
        seen.did(WRITE, text)


def _changed(what: str) -> Callable[..., None]:
    def handle(seen: Observation, path: Any, *rest: Any) -> None:
        relative = bool(rest) and isinstance(rest[-1], int) and rest[-1] != -1
        if isinstance(path, int) or (relative and in_rmtree()):
            return  # what an open file is for was judged when it was opened
        _wrote(seen, path, f"it {what} {os.fsdecode(path)}")

    return handle


def _moved(seen: Observation, source: Any, target: Any, *_: Any) -> None:
    text = f"it moved or linked {os.fsdecode(source)} to {os.fsdecode(target)}"
    _wrote(seen, source, text)
    _wrote(seen, target, text)


def _made_temporary(seen: Observation, path: Any) -> None:
    name = _absolute(path)
    if name is not None:
        seen.temporary.add(name)


def _database(seen: Observation, path: Any) -> None:
    text = os.fsdecode(path)
    if text.startswith("file:"):
        text = text.removeprefix("file:").partition("?")[0]
    if text in ("", ":memory:"):
        return
    name = os.path.abspath(text)
    if not os.path.exists(name):
        _wrote(seen, name, f"it made the database {name}")
    for part in (name, f"{name}-wal"):
        _read(seen, text, part)


def _found_class(seen: Observation, module: Any, name: Any) -> None:
    # Code of the user that no recipe knows of: it comes with the content of a file or of bytes.
    if owner_of(str(module)) is None and not on_behalf_of_a_bystander():
        seen.did(DYNAMIC_CODE, f"it unpickled {module}.{name}")


def _effect(kind: str, what: str) -> Callable[..., None]:
    def handle(seen: Observation, *arguments: Any) -> None:
        if any(known == kind for known, _ in seen.effects) or on_behalf_of_a_bystander():
            return
        shown = next((item for item in arguments if isinstance(item, str | bytes | tuple)), "")
        seen.did(kind, f"it {what} {shown!r:.100}" if shown else f"it {what}")

    return handle


def _absolute(path: Any) -> str | None:
    """Return an absolute path; None for a file descriptor."""
    return None if isinstance(path, int) else os.path.abspath(os.fsdecode(path))


def _is_temporary(seen: Observation, name: str) -> bool:
    if not seen.temporary:
        return False
    while name not in seen.temporary:
        name, slash, _ = name.rpartition("/")
        if not slash:
            return False
    return True


def _is_installed(name: str) -> bool:
    """Tell whether a file is the machine's, or came with an installed distribution."""
    if name in _OF_THE_MACHINE or _is_no_file(name) or name.startswith(_INSTALLED):
        return True
    return any(place in name for place in _OF_DISTRIBUTIONS)


def _is_no_file(name: str) -> bool:
    if name.startswith("/dev/"):
        return not name.startswith("/dev/shm/")
    return name.startswith(_MADE_UP)


HANDLERS: dict[str, Callable[..., None]] = {
    "open": _opened,
    "os.listdir": _listed,
    "os.scandir": _listed,
    "glob.glob": _globbed,
    "pathlib.Path.glob": _globbed_below,
    "pathlib.Path.rglob": _globbed_below,
    "tempfile.mkstemp": _made_temporary,
    "tempfile.mkdtemp": _made_temporary,
    "os.remove": _changed("removed"),
    "os.rmdir": _changed("removed"),
    "os.mkdir": _changed("made the folder"),
    "os.truncate": _changed("truncated"),
    "os.chmod": _changed("changed the mode of"),
    "os.chown": _changed("changed the owner of"),
    "os.utime": _changed("changed the times of"),
    "os.setxattr": _changed("changed attributes of"),
    "os.removexattr": _changed("changed attributes of"),
    "shutil.rmtree": _changed("removed"),
    "os.rename": _moved,
    "os.link": _moved,
    "os.symlink": _moved,
    "sqlite3.connect": _database,
    "pickle.find_class": _found_class,
    "os.chdir": _effect(PROCESS_STATE, "changed the working directory to"),
    "os.putenv": _effect(ENVIRONMENT, "set the environment variable"),
    "os.unsetenv": _effect(ENVIRONMENT, "removed the environment variable"),
    **dict.fromkeys(
        ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"),
        _effect(NETWORK, "used the network:"),
    ),
    **dict.fromkeys(
        ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
        _effect(NETWORK, "asked for the address of"),
    ),
    **dict.fromkeys(
        ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"),
        _effect(PROCESS, "started the process"),
    ),
    **dict.fromkeys(("os.fork", "os.forkpty"), _effect(PROCESS, "started a process")),
    **dict.fromkeys(("os.kill", "os.killpg"), _effect(PROCESS, "sent a signal")),
}
"""Handlers by the name of the event."""
