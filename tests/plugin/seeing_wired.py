"""The plugin as it tells `Seeing` what goes on."""

from __future__ import annotations

from dataclasses import asdict

from seamless_dask_cache.scheduler_plugin import CachePlugin
from seamless_dask_cache.scheduler_plugin.seeing import Seeing
from seamless_dask_cache.scheduler_plugin.seeing.report import report_data
from seamless_dask_cache.scheduler_plugin.worker import NAME

from seamless_dask_cache.dask_internals.display import lighten


class WiredPlugin(CachePlugin):
    """What `CachePlugin` does, and telling it."""

    seeing = None

    async def start(self, scheduler):
        self.seeing = Seeing(scheduler)
        await super().start(scheduler)
        self.seeing.start()
        count = self.engine.count

        def counted(submission, plan):
            count(submission, plan)
            self.seeing.graph(submission, plan)

        self.engine.count = counted

    def _acknowledge(self, items):
        super()._acknowledge(items)
        self.seeing.stored(items)

    def update_graph(self, scheduler, *, tasks, **kwargs):
        super().update_graph(scheduler, tasks=tasks, **kwargs)
        if self._current is not None:
            self.seeing.restoring(self._current.restored)

    def transition(self, key, start, finish, *args, **kwargs):
        super().transition(key, start, finish, *args, **kwargs)
        if self.seeing is not None and key in self.seeing.followed:
            self.seeing.moved(key)
        if "metadata" in kwargs:
            lighten(kwargs["metadata"], NAME, kwargs["worker"])

    def _finished(self, key):
        facts = dict((self._scheduler.tasks[key].metadata or {}).get(NAME, {}))
        restore = "restored" in facts
        super()._finished(key)
        if restore:
            self.seeing.restored(key)
        else:
            self.seeing.computed(key, error="error" in facts)

    def restart(self, scheduler):
        super().restart(scheduler)
        if self.seeing is not None:
            self.seeing.stop()

    async def retire(self):
        await super().retire()
        self.seeing.stop()

    async def _heal(self, key, transformation, result, gone):
        healed = await super()._heal(key, transformation, result, gone)
        if healed:
            self.seeing.healed(key, result)
        return healed

    async def _answer(self, action, arguments=None):
        if action != "report":
            return await super()._answer(action, arguments)
        await self.seeing.settled()
        engine = self._engine()
        return report_data(
            self.seeing,
            stats=engine.stats.as_dict(),
            settings=asdict(engine.policy),
            database=await engine.link.summary(),
        )
