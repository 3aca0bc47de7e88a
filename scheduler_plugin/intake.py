"""The intake: messages of a client wait here, in their order, while graphs among them are judged.

A loop of ``client.submit`` sends one small graph per call. Those that arrive while others are being
judged are judged together afterwards: one pass, one question to the database. Nothing of one client
overtakes: its other messages, and its departure, wait behind its graphs.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

logger = logging.getLogger(__name__)

GRAPH = "update-graph"
DEPARTURE = "remove-client"
TURN = "turn"
CLIENT_OPERATIONS = frozenset(
    {
        GRAPH,
        "client-desires-keys",
        "client-releases-keys",
        "update-data",
        "report-key",
        "cancel-keys",
        "close-client",
        "subscribe-topic",
        "unsubscribe-topic",
        "publish_flush_batched_send",
        "queue-future-release",
        "queue_release",
        "variable-future-received-confirm",
        "variable_delete",
    }
)
"""Messages of clients whose order counts; a heartbeat has none."""
CLIENT_CALLS = frozenset({"scatter", "update_data"})
"""Remote calls of clients that change what the scheduler holds."""
ABOUT_KEYS = frozenset(
    {
        GRAPH,
        "client-desires-keys",
        "client-releases-keys",
        "update-data",
        "report-key",
        "cancel-keys",
    }
)
"""What does not count any more after a restart, when it was said before it."""

MOST_AT_ONCE = 100
MOST_WAITING = 5_000

Message = dict[str, Any]


class Waiting(NamedTuple):
    """A message that waits for its turn.

    Attributes
    ----------
    operation : str
        Name of the handler.
    message : dict
        Its arguments.
    original : callable
        The handler that would have been called at once.
    """

    operation: str
    message: Message
    original: Callable[..., Any]


class Judge(Protocol):
    """Who judges graphs, and hands them over one by one."""

    async def prepared(self, messages: list[Message]) -> list[Any]:
        """Return what is known of each graph, in the same order; None for what cannot be judged."""

    async def handed_over(self, message: Message, submission: Any) -> None:
        """Schedule one graph."""


class _Stream:
    """What waits of one stream of messages."""

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self.pump: asyncio.Task[None] | None = None
        self.room = asyncio.Event()
        self.room.set()

    @property
    def busy(self) -> bool:
        return self.pump is not None


class Intake:
    """Keep the order of every client's messages while some of them take time.

    Parameters
    ----------
    judge : Judge
        Who judges graphs.

    Notes
    -----
    Used from the scheduler's event loop only. Every client's messages are read by one asyncio task,
    which tells the streams apart; the name of a client would not, as some messages are sent in the
    name of another.
    """

    def __init__(self, judge: Judge):
        self._judge = judge
        self._streams: WeakKeyDictionary[asyncio.Task[Any], _Stream] = WeakKeyDictionary()
        self._of_client: WeakValueDictionary[str, _Stream] = WeakValueDictionary()
        self._pumps: dict[asyncio.Task[None], _Stream] = {}

    def graphs(self, original: Callable[..., Any]) -> Callable[..., Awaitable[None]]:
        """Return the handler of graphs: it queues them."""

        async def receive(**message: Any) -> None:
            stream = self._stream()
            self._of_client[message.get("client") or ""] = stream
            self._put(stream, Waiting(GRAPH, message, original))
            await stream.room.wait()

        return receive

    def others(
        self, operation: str, original: Callable[..., Any]
    ) -> Callable[..., Awaitable[None]]:
        """Return the handler of another message: it waits behind graphs of the same client."""

        async def receive(**message: Any) -> None:
            stream = self._stream()
            if stream.busy:
                self._put(stream, Waiting(operation, message, original))
                await stream.room.wait()
            else:
                await _called(original, message)

        return receive

    def departure(self, original: Callable[..., Any]) -> Callable[..., None]:
        """Return what stands in for the removal of a client: it comes after all of its messages."""

        def remove(client: str, stimulus_id: str | None = None) -> None:
            stream, message = self._stream(), {"client": client, "stimulus_id": stimulus_id}
            if stream.busy:
                self._put(stream, Waiting(DEPARTURE, message, original))
            else:
                original(**message)

        return remove

    def behind(self, original: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """Return what stands in for a client's call: it waits for what its stream brought before.

        Scattering the same data again, say, must not come before the release of what it was.
        """

        @wraps(original)
        async def call(*arguments: Any, **message: Any) -> Any:
            stream = self._of_client.get(message.get("client") or "")
            if stream is not None and stream.busy:
                turn = asyncio.Event()
                self._put(stream, Waiting(TURN, {}, turn.set))
                await turn.wait()
            result = original(*arguments, **message)
            return await result if inspect.isawaitable(result) else result

        return call

    def restart(self) -> None:
        """Drop what was said before the scheduler forgot everything."""
        # Also those of clients that are gone already: only their pumps know them.
        for stream in {*self._streams.values(), *self._pumps.values()}:
            kept = [entry for entry in stream.waiting if entry.operation not in ABOUT_KEYS]
            stream.waiting = deque(kept)
            stream.room.set()

    async def drain(self, timeout: float | None = None) -> None:
        """Wait until nothing waits any more, or until the time is over.

        Without a limit, nothing waits when this returns: judging graphs is bounded in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._pumps and (deadline is None or time.monotonic() < deadline):
            await asyncio.wait(set(self._pumps), timeout=timeout)

    def _stream(self) -> _Stream:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("messages are read by an asyncio task")
        return self._streams.setdefault(task, _Stream())

    def _put(self, stream: _Stream, entry: Waiting) -> None:
        stream.waiting.append(entry)
        if len(stream.waiting) >= MOST_WAITING:
            stream.room.clear()
        if stream.pump is None:
            stream.pump = asyncio.create_task(self._pump(stream))
            self._pumps[stream.pump] = stream
            stream.pump.add_done_callback(self._pumps.pop)

    async def _pump(self, stream: _Stream) -> None:
        try:
            while stream.waiting:
                await self._part(stream)
        finally:
            stream.pump = None
            stream.room.set()

    async def _part(self, stream: _Stream) -> None:
        """Judge the graphs among what waits now, and let all of it happen in its order."""
        part = [stream.waiting[i] for i in range(min(MOST_AT_ONCE, len(stream.waiting)))]
        graphs = [entry.message for entry in part if entry.operation == GRAPH]
        submissions = iter(await self._judged(graphs))
        for entry in part:
            submission = next(submissions) if entry.operation == GRAPH else None
            if not stream.waiting or stream.waiting[0] is not entry:
                continue  # dropped by a restart
            stream.waiting.popleft()
            if len(stream.waiting) < MOST_WAITING:
                stream.room.set()
            await self._happen(entry, submission)

    async def _judged(self, graphs: list[Message]) -> list[Any]:
        try:
            return await self._judge.prepared(graphs) if graphs else []
        except Exception:
            # They are scheduled as they came: what follows must not wait for ever.
            logger.exception("judging graphs failed")
            return [None] * len(graphs)

    async def _happen(self, entry: Waiting, submission: Any) -> None:
        try:
            if entry.operation == GRAPH:
                await self._judge.handed_over(entry.message, submission)
            else:
                await _called(entry.original, entry.message)
        except Exception:
            # The scheduler's handlers report to clients themselves; the next messages must go on.
            logger.exception("%s failed", entry.operation)


async def _called(original: Callable[..., Any], message: Message) -> None:
    result = original(**message)
    if inspect.isawaitable(result):
        await result


class ClientHandlers:
    """The scheduler's handlers of clients' messages, replaced by the intake's and put back.

    Parameters
    ----------
    scheduler : distributed.Scheduler
        Whose handlers they are.
    intake : Intake
        What comes in between.
    """

    def __init__(self, scheduler: Any, intake: Intake):
        self._scheduler = scheduler
        self._intake = intake
        self._originals: dict[str, Callable[..., Any]] = {}
        self._mine: dict[str, Callable[..., Any]] = {}
        self._calls: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}

    def replace(self) -> None:
        """Put the intake's handlers in the place of the scheduler's."""
        handlers, intake = self._scheduler.stream_handlers, self._intake
        for operation in CLIENT_OPERATIONS & handlers.keys():
            original = handlers[operation]
            self._originals[operation] = original
            make = intake.graphs if operation == GRAPH else partial(intake.others, operation)
            self._mine[operation] = handlers[operation] = make(original)
        calls = self._scheduler.handlers
        for operation in CLIENT_CALLS & calls.keys():
            self._calls[operation] = calls[operation], intake.behind(calls[operation])
            calls[operation] = self._calls[operation][1]
        self._departure = intake.departure(self._scheduler.remove_client)
        self._scheduler.remove_client = self._departure

    def put_back(self) -> None:
        """Put the scheduler's own handlers back, where nobody replaced them since."""
        handlers = self._scheduler.stream_handlers
        for operation, mine in self._mine.items():
            if handlers.get(operation) is mine:
                handlers[operation] = self._originals[operation]
        for operation, (original, mine) in self._calls.items():
            if self._scheduler.handlers.get(operation) is mine:
                self._scheduler.handlers[operation] = original
        if self._scheduler.__dict__.get("remove_client") is self._departure:
            del self._scheduler.remove_client
