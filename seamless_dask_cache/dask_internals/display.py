"""How Dask shows what goes on, and where the cache joins in.

Pages of the dashboard, the task stream, the progress bars, and the scheduler's metrics. Everything
here is for people to look at: nothing that schedules a task reads what is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals.graphs import Key

if TYPE_CHECKING:
    from distributed import Scheduler

RESTORE = "cache-restore"
RESTORE_PREFIX = "restore-"
RESTORE_COLOR = "#00b3a4"
RESTORE_ALPHA = 1.0

Document = Callable[[Any, dict[str, Any], Any], None]

# Pages of the dashboard -------------------------------------------------------------------------


def add_pages(scheduler: Scheduler, pages: Mapping[str, Document]) -> bool:
    """Add pages to the dashboard of a running scheduler; tell whether they are there.

    Must be called in the scheduler's event loop. Pages that are there already stay.

    Parameters
    ----------
    scheduler : Scheduler
        Without a dashboard, as when Bokeh is not installed, nothing happens.
    pages : mapping
        Path, such as "/cache", to a function that fills a Bokeh document; it is called with the
        scheduler, the variables of Dask's templates, and the document.
    """
    from distributed.dashboard.core import BokehApplication
    from distributed.dashboard.scheduler import template_variables
    from tornado.ioloop import IOLoop

    present = dashboards(scheduler)
    if not present:
        return False
    known = set().union(*(application.app_paths for application in present))
    wanted = {path: page for path, page in pages.items() if path not in known}
    if wanted:
        variables = template_variables(scheduler)
        _link(variables, wanted)
        application = BokehApplication(
            wanted, scheduler, prefix=present[0].prefix, template_variables=variables
        )
        scheduler.http_application.add_application(application)
        application.initialize(IOLoop.current())
        application.start()
        _list_individual_pages(scheduler, present[0].prefix)
    return True


def dashboards(scheduler: Scheduler) -> list[Any]:
    """Return the Bokeh applications of a scheduler, its own first."""
    from bokeh.server.tornado import BokehTornado

    applications = getattr(getattr(scheduler, "http_application", None), "applications", ())
    return [application for application in applications if isinstance(application, BokehTornado)]


def _link(variables: dict[str, Any], paths: Iterable[str]) -> None:
    # Every page holds these lists themselves, so what is added shows in the navigation of all.
    for path in paths:
        name = path.strip("/")
        if not name.startswith("individual-"):
            variables["pages"].append(name)
        else:
            title = name.removeprefix("individual-").replace("-", " ").title()
            variables["plots"].append({"url": name, "name": title})


def _list_individual_pages(scheduler: Scheduler, prefix: str) -> None:
    """Name the pages of all Bokeh applications where the extension of JupyterLab asks for them.

    Dask's own answer knows the first application only. A route that is added later is found first.
    """
    from distributed.http.scheduler.info import IndividualPlots

    class AllIndividualPlots(IndividualPlots):  # type: ignore[misc]
        def write(self, chunk: Any) -> None:
            if isinstance(chunk, dict):
                chunk = {**chunk, **_individual_pages(self.server)}
            super().write(chunk)

    route = (rf"{prefix}/individual-plots.json", AllIndividualPlots, {"dask_server": scheduler})
    scheduler.http_application.add_handlers(r".*$", [route])


def _individual_pages(scheduler: Scheduler) -> dict[str, str]:
    paths = {path for application in dashboards(scheduler)[1:] for path in application.app_paths}
    individual = (path for path in sorted(paths) if path.startswith("/individual-"))
    return {path.strip("/").replace("-", " ").title(): path for path in individual}


def dress(document: Any, title: str, variables: dict[str, Any] | None) -> None:
    """Give a document the theme of Dask's dashboard and, with variables, its navigation."""
    from distributed.dashboard.components.scheduler import BOKEH_THEME, env

    document.title = f"Dask: {title}"
    document.theme = BOKEH_THEME
    if variables is not None:
        document.template = env.get_template("simple.html")
        document.template_variables.update(variables)


def refresh(document: Any, component: Any, milliseconds: int) -> None:
    """Call a component's ``update`` now and then, as long as the document lives."""
    from distributed.dashboard.components import add_periodic_callback

    add_periodic_callback(document, component, milliseconds)


# The task stream ----------------------------------------------------------------------------------


def show_restores(name: str) -> None:
    """Let this process draw restores in the task stream in their own colour and under their name.

    Messages stay as they are, so a client that never heard of this draws them as computations. Done
    once per process; it stays.

    Parameters
    ----------
    name : str
        Under which workers attach facts to tasks; a restore is one whose facts name "restored".
    """
    from distributed.diagnostics import task_stream

    if RESTORE in task_stream.colors:
        return
    task_stream.alphas[RESTORE] = RESTORE_ALPHA
    task_stream.prefix[RESTORE] = RESTORE_PREFIX
    task_stream.colors[RESTORE] = RESTORE_COLOR
    original = task_stream.rectangles

    @wraps(original)
    def rectangles(messages: Iterable[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        shown = [as_restore(message, name) for message in messages]
        return original(shown, *args, **kwargs)

    task_stream.rectangles = rectangles


def as_restore(message: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a message of the task stream; if it is a restore, one that is drawn as such."""
    facts = (message.get("metadata") or {}).get(name)
    if not isinstance(facts, dict) or "restored" not in facts:
        return message
    return {**message, "startstops": [_restoring(part) for part in message["startstops"]]}


def lighten(metadata: dict[str, Any] | None, name: str, worker: str) -> None:
    """Drop the facts from a message that a hook was called with, all but that it is a restore.

    The task stream keeps the messages of the last 100,000 tasks, and facts may hold whole results.

    Parameters
    ----------
    metadata : dict or None
        Of the message.
    name : str
        Under which workers attach facts.
    worker : str
        Address of the sender. What a worker of the same process sent is its own, and stays.
    """
    if not metadata or name not in metadata or worker.startswith("inproc://"):
        return
    facts = metadata.pop(name)
    if isinstance(facts, dict) and "restored" in facts:
        metadata[name] = {"restored": facts["restored"]}


def _restoring(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "action": RESTORE} if part["action"] == "compute" else part


def stream_restore(
    scheduler: Scheduler,
    name: str,
    key: Key,
    *,
    worker: str,
    start: float,
    stop: float,
    nbytes: int = 0,
    thread: int = 0,
) -> None:
    """Show a restore that was no task of its own, as one of many results at once, in the stream.

    Parameters
    ----------
    scheduler : Scheduler
        Nothing happens when nobody looks at its task stream.
    name : str
        As in `show_restores`.
    key : key
        One that was restored; it gives the rectangle its name.
    worker : str
        Address.
    start, stop : float
        By the scheduler's clock, in seconds since 1970.
    nbytes : int
        Size of what was restored.
    thread : int
        Of the worker; tells rows apart.
    """
    stream = scheduler.plugins.get("task-stream")
    if stream is not None:
        stream.transition(
            key,
            "processing",
            "memory",
            worker=worker,
            thread=thread,
            status="OK",
            nbytes=nbytes,
            startstops=[{"action": "compute", "start": start, "stop": stop}],
            metadata={name: {"restored": nbytes}},
        )


# Progress -----------------------------------------------------------------------------------------


class RestoreProgress:
    """Gives restored tasks progress bars of their own, beside those of the tasks that run.

    The bars count tasks by prefix. While a restored task is shown, it is taken out of the counts of
    its own prefix and counted under "restore-<prefix>"; sums over all prefixes stay what they are.
    The task, its group and what is measured of its prefix stay untouched.

    Parameters
    ----------
    scheduler : Scheduler
        Whose tasks.

    Attributes
    ----------
    shown : dict
        Key to the state that a task is shown in, for those that are shown as restores.

    Notes
    -----
    Used in the scheduler's event loop. A task counts back to its own prefix before it is forgotten,
    when Dask itself takes its group out of the prefix.
    """

    def __init__(self, scheduler: Scheduler):
        self._scheduler = scheduler
        self.shown: dict[Key, str] = {}

    def begin(self, keys: Iterable[Key]) -> None:
        """Show some tasks as restores."""
        tasks = self._scheduler.tasks
        for key in keys:
            if key in tasks and key not in self.shown:
                self._show(tasks[key])

    def moved(self, key: Key) -> None:
        """Follow a task, to be called in the hook for transitions."""
        if key in self.shown:
            task = self._scheduler.tasks[key]
            self._unshow(task)
            if task.state != "forgotten":
                self._show(task)

    def end(self, key: Key) -> None:
        """Show a task as its own prefix again, as when it is computed after all."""
        if key in self.shown:
            self._unshow(self._scheduler.tasks[key])

    def clear(self) -> None:
        """Show all as their own prefix again."""
        for key in list(self.shown):
            if key in self._scheduler.tasks:
                self.end(key)
        self.shown.clear()

    def _show(self, task: Any) -> None:
        bar = self._bar(RESTORE_PREFIX + task.prefix.name)
        task.prefix.states[task.state] -= 1
        bar.states[task.state] += 1
        self.shown[task.key] = task.state

    def _unshow(self, task: Any) -> None:
        state, name = self.shown.pop(task.key), RESTORE_PREFIX + task.prefix.name
        bar = self._bar(name)
        bar.states[state] -= 1
        # What the scheduler changed since then, it changed in the task's own prefix.
        task.prefix.states[state] += 1
        if not any(bar.states.values()) and not bar.groups:
            self._scheduler.task_prefixes.pop(name, None)

    def _bar(self, name: str) -> Any:
        from distributed.scheduler import TaskPrefix

        prefixes = self._scheduler.task_prefixes
        if name not in prefixes:
            prefixes[name] = TaskPrefix(name)
        return prefixes[name]


# Metrics ------------------------------------------------------------------------------------------

Families = Callable[[Any, Callable[[str], str]], Iterable[Any]]


def add_metrics(name: str, families: Families) -> bool:
    """Add metric families to what schedulers of this process answer on ``/metrics``.

    Parameters
    ----------
    name : str
        Of the collector; one that is there already stays.
    families : callable
        Called for every request with the scheduler that is asked and a function that makes full
        names; returns metric families of ``prometheus_client``.

    Returns
    -------
    bool
        False when ``prometheus_client`` is not installed.
    """
    try:
        import prometheus_client
        from distributed.http.prometheus import PrometheusCollector
        from distributed.http.scheduler.prometheus import core
    except ImportError:
        return False
    if any(getattr(collector, "family", None) == name for collector in core.COLLECTORS):
        return True

    class Collector(PrometheusCollector):  # type: ignore[misc]
        family = name

        def __init__(self, server: Any):
            super().__init__(server)
            self.subsystem = "scheduler"

        def collect(self) -> Iterable[Any]:
            return families(self.server, self.build_name)

    core.COLLECTORS.append(Collector)
    handler = core.PrometheusHandler
    if handler._collectors:
        # Dask made its collectors at the first request, and tells them at each who is asked.
        collector = Collector(handler._collectors[0].server)
        prometheus_client.REGISTRY.register(collector)
        handler._collectors = (*handler._collectors, collector)
    return True
