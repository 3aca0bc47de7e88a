"""A network between a client and a database that misbehaves as it is told."""

from __future__ import annotations

import asyncio
import contextlib


class Proxy:
    """A TCP proxy on loopback.

    `mode` holds for what comes next: "pass"; "drop" closes every connection; "silent" takes
    requests and passes nothing on; "deaf" passes requests on and no answers; "half" passes on half
    of an answer and closes. `delay` is in seconds, for every piece of an answer.
    """

    def __init__(self, port):
        self.upstream = port
        self.mode = "pass"
        self.delay = 0.0
        self.connections = 0
        self.passed = asyncio.Event()
        self._writers = set()
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self):
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader, writer):
        self.connections += 1
        self._tasks.add(asyncio.current_task())
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if self.mode != "drop":
                await self._relay(reader, writer)
        writer.transport.abort()

    async def _relay(self, reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        self._writers.add(back)
        ways = [self._requests(reader, back), self._answers(there, writer)]
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            back.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _requests(self, reader, back):
        while content := await reader.read(65536):
            if self.mode == "drop":
                raise ConnectionResetError
            if self.mode != "silent":
                back.write(content)
                await back.drain()

    async def _answers(self, there, writer):
        while content := await there.read(65536):
            await asyncio.sleep(self.delay)
            self.passed.set()
            if self.mode == "half":
                writer.write(content[: len(content) // 2])
                await writer.drain()
            if self.mode in ("half", "drop"):
                writer.close()
                await writer.wait_closed()
                raise ConnectionResetError
            if self.mode == "pass":
                writer.write(content)
                await writer.drain()
