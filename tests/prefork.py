"""Servers that are forked from a process that has imported all that a server needs.

Starting an interpreter that imports the server takes a third of a second of processor time, a fork
none, and the tests start servers by the hundred. A forked server has its own process, its own
command line in ``sys.argv``, environment, folder and files as if it had been started anew, and ends
as any other. That the command starts from nothing is tested where servers are what is tested.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

MODULE = "seamless_dask_cache.server"
_IMPORTED = (f"{MODULE}.__main__", "uvloop", "zlib_ng", "prometheus_client")
_MOST = 1024 * 1024


class Forked:
    """A server, with the methods of `subprocess.Popen` that tests and the library use."""

    def __init__(
        self, command, *, stdin=None, stdout=None, stderr=None, cwd=None, env=None, **more
    ):
        words = list(map(str, command))
        assert words[:3] == [sys.executable, "-m", MODULE], words
        assert set(more) <= {"start_new_session"}, more
        wanted = {"words": words[2:], "cwd": str(cwd or Path.cwd()), "new_session": bool(more)}
        wanted["env"] = dict(os.environ if env is None else env)
        with contextlib.ExitStack() as stack:
            given = enumerate((stdin, stdout, stderr))
            files = [_opened(file, number, stack) for number, file in given]
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.callback(theirs.close)
            _parent().ask(wanted, [theirs.fileno(), *files])
        self._news = ours.detach()
        weakref.finalize(self, os.close, self._news)
        self._lock = threading.Lock()
        self.pid = self._next_news()
        self.returncode: int | None = None

    def _next_news(self):
        """The process id comes first, then how it ended."""
        return int(os.read(self._news, 20))

    def _has_ended(self, timeout):
        return self.returncode is not None or select.select([self._news], [], [], timeout)[0]

    def poll(self):
        with self._lock:
            if self.returncode is None and self._has_ended(0):
                self.returncode = self._next_news()
            return self.returncode

    def wait(self, timeout=None):
        self._has_ended(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(MODULE, timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _opened(file, number, stack):
    """Give the descriptor that a child gets in the place of one of the three standard ones."""
    if file is None:
        return number
    if file == subprocess.DEVNULL:
        return stack.enter_context(open(os.devnull, "r+b")).fileno()
    return file.fileno()


class _Parent:
    """The process that servers are forked from; it ends with this one, and they do not."""

    def __init__(self):
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        atexit.register(self._end)

    def _end(self):
        self._requests.close()
        self._process.wait()

    def ask(self, wanted: dict[str, Any], descriptors: list[int]) -> None:
        with self._lock:
            socket.send_fds(self._requests, [json.dumps(wanted).encode()], descriptors)


@functools.cache
def _parent() -> _Parent:
    return _Parent()


# In that process ----------------------------------------------------------------------------------


def _main(requests: socket.socket) -> None:
    for name in _IMPORTED:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    del sys.modules[_IMPORTED[0]]  # it will be run
    gc.freeze()
    while True:
        asked, descriptors, _, _ = socket.recv_fds(requests, _MOST, 4)
        if not asked:
            return
        child = os.fork()
        if not child:
            requests.close()
            if not os.fork():  # so that nobody here has to wait for the first one
                return _supervise(json.loads(asked), *descriptors)
            os._exit(0)
        os.waitpid(child, 0)
        for descriptor in descriptors:
            os.close(descriptor)


def _supervise(wanted: dict[str, Any], news: int, *files: int) -> None:
    """Fork the server, and tell its process id and how it ended."""
    child = os.fork()
    if not child:
        os.close(news)
        return _become(wanted, *files)
    for descriptor in (0, 1, 2, *files):
        os.close(descriptor)
    os.setsid()
    os.write(news, str(child).encode())
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        os.write(news, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(wanted: dict[str, Any], *files: int) -> None:
    if wanted["new_session"]:
        os.setsid()
    for number, descriptor in enumerate(files):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    sys.argv = wanted["words"]
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file
    _main(socket.socket(fileno=int(sys.argv[1])))
