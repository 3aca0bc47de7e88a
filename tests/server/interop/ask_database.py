"""Every method of the published client of databases: ``ask_database.py URL``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from seamless import Checksum
from seamless_remote.client import close_all_clients
from seamless_remote.database_client import DatabaseClient
from transcript import Transcript, hex_of

KINDS = ("node", "environment", "node_env", "queue", "queue_node")


def record_of(name: str, result: str, **more: Any) -> dict[str, Any]:
    """Give an execution record of a transformation, with all that JSON can hold."""
    return {
        "schema_version": 1,
        "tf_checksum": hex_of(name),
        "result_checksum": hex_of(result),
        "checksum_fields": ["environment_checksum"],
        "environment_checksum": hex_of("environment"),
        "execution": {"seconds": 0.1, "tiny": 5e-324, "bytes": 2**53 + 1, "negative": -7},
        "host": 'tür\U0001f511 "quoted"\n',
        "flags": [True, False, None, [], {}],
        **more,
    }


class Scenario:
    """One client, and what it gets."""

    def __init__(self, client: DatabaseClient, transcript: Transcript):
        self.client = client
        self._ask = transcript.ask

    async def result(self, when: str, name: str) -> None:
        await self._ask(f"result, {when}", self.client.get_transformation_result(hex_of(name)))

    async def reverse(self, when: str, result: str) -> None:
        await self._ask(f"reverse, {when}", self.client.get_rev_transformations(hex_of(result)))

    async def record(self, when: str, name: str) -> None:
        await self._ask(f"record, {when}", self.client.get_execution_record(hex_of(name)))

    async def contested(self, when: str, name: str, result: str | None = None) -> None:
        only = None if result is None else hex_of(result)
        asked = self.client.get_irreproducible_records(hex_of(name), only)
        await self._ask(f"irreproducible, {when}", asked)

    async def probe(self, when: str, kind: str, label: str) -> None:
        await self._ask(f"probe, {when}", self.client.get_bucket_probe(kind, label))

    async def set_result(self, when: str, name: str, result: str) -> None:
        asked = self.client.set_transformation_result(hex_of(name), hex_of(result))
        await self._ask(f"set result, {when}", asked)

    async def set_record(self, when: str, name: str, result: str, record: dict[str, Any]) -> None:
        asked = self.client.set_execution_record(hex_of(name), hex_of(result), record)
        await self._ask(f"set record, {when}", asked)

    async def set_probe(self, when: str, kind: str, label: str, version: str = "a") -> None:
        tokens = {"mtime": version, "deep": {"é": [1.5]}}
        asked = self.client.set_bucket_probe(kind, label, hex_of(version), tokens, f"at {version}")
        await self._ask(f"set probe, {when}", asked)

    async def undo(self, when: str, name: str, result: str) -> None:
        asked = self.client.undo_transformation_result(hex_of(name), hex_of(result))
        await self._ask(f"undo, {when}", asked)


async def unknown_keys(it: Scenario) -> None:
    await it.result("unknown", "none")
    await it.reverse("unknown", "none")
    await it.record("unknown", "none")
    await it.probe("unknown", "node", "none")
    await it.probe("unknown kind", "nonsense", "none")
    await it.contested("unknown", "none")
    await it.contested("unknown, one result", "none", "r")


async def results(it: Scenario) -> None:
    await it.set_result("new", "one", "shared")
    await it.set_result("second with the same", "two", "shared")
    await it.result("new", "one")
    await it.reverse("of two", "shared")
    await it.set_result("overwriting", "one", "changed")
    await it.result("overwritten", "one")
    await it.reverse("overwritten", "changed")


async def records(it: Scenario) -> None:
    record = record_of("recorded", "r")
    await it.set_record("new", "recorded", "r", record)
    await it.record("new", "recorded")
    await it.result("by a record", "recorded")
    await it.reverse("by a record", "r")
    await it.set_record("the same again", "recorded", "r", record)
    await it.set_record("in another order", "recorded", "r", dict(reversed(record.items())))
    await it.set_record("different", "recorded", "r", {**record, "host": "other"})
    await it.record("the first one stays", "recorded")
    await it.set_record("another result", "recorded", "r2", record_of("recorded", "r2"))
    await it.set_result("before its record", "late", "lr")
    await it.set_record("after its result", "late", "lr", record_of("late", "lr"))
    await it.reverse("record after result", "lr")
    await it.set_result("after its record", "late", "lr2")
    await it.set_record("outdated one there", "late", "lr2", record_of("late", "lr2"))
    await it.undo("outdated record there", "late", "lr2")


async def malformed_records(it: Scenario) -> None:
    for field, value in {
        "schema_version": "1",
        "tf_checksum": hex_of("other"),
        "result_checksum": None,
        "checksum_fields": ["", "x"],
    }.items():
        record = record_of("malformed", "r", **{field: value})
        await it.set_record(f"malformed {field}", "malformed", "r", record)
    await it.record("malformed ones are not kept", "malformed")
    await it.result("malformed ones are not kept", "malformed")


async def probes(it: Scenario) -> None:
    for kind in KINDS:
        await it.set_probe(f"new {kind}", kind, "conda: ä/b")
        await it.probe(f"new {kind}", kind, "conda: ä/b")
    await it.set_probe("newer", "queue", "conda: ä/b", "b")
    await it.probe("newer", "queue", "conda: ä/b")
    await it.probe("others keep theirs", "node", "conda: ä/b")
    await it.set_probe("unknown kind", "nonsense", "x")
    await it.set_probe("no label", "node", "")


async def contested_results(it: Scenario) -> None:
    await it.set_record("to contest", "contested", "cr", record_of("contested", "cr"))
    await it.undo("another result", "contested", "other")
    await it.undo("with a record", "contested", "cr")
    await it.contested("with a record", "contested")
    await it.contested("this result", "contested", "cr")
    await it.contested("another result", "contested", "other")
    await it.result("contested", "contested")
    await it.record("contested", "contested")
    await it.reverse("contested", "cr")
    await it.set_record("contested", "contested", "cr", record_of("contested", "cr"))
    await it.set_result("bare", "bare", "br")
    await it.undo("without a record", "bare", "br")
    await it.contested("without a record", "bare")
    await it.undo("of nothing", "nothing", "nr")
    await it.contested("of nothing", "nothing")
    await it.set_result("contested before", "contested", "cr2")
    await it.result("contested before", "contested")
    await it.undo("a second result", "contested", "cr2")
    await it.contested("two results", "contested")
    await it.contested("the second result", "contested", "cr2")


async def refusals_of_a_reader(it: Scenario) -> None:
    await it.result("reader", "two")
    await it.set_result("reader", "two", "other")
    await it.set_record("reader", "two", "shared", record_of("two", "shared"))
    await it.set_probe("reader", "node", "reader")
    await it.undo("reader", "two", "shared")


async def many_at_once(it: Scenario, transcript: Transcript) -> None:
    pairs = [(Checksum(hex_of(f"tf {n}")), Checksum(hex_of(f"result {n}"))) for n in range(200)]
    await asyncio.gather(*(it.client.set_transformation_result(*pair) for pair in pairs))
    asked = [it.client.get_transformation_result(tf) for tf, _ in pairs]
    found = await asyncio.gather(*asked)
    transcript.note("200 at once are right", found == [result for _, result in pairs])


def client_of(url: str, readonly: bool) -> DatabaseClient:
    client = DatabaseClient(readonly)
    client.url = url
    return client


async def main(url: str) -> None:
    """Talk to the server, and print what it says."""
    transcript = Transcript()
    it = Scenario(client_of(url, readonly=False), transcript)
    await transcript.ask("healthcheck", it.client.healthcheck())
    for part in (unknown_keys, results, records, malformed_records, probes, contested_results):
        await part(it)
    await many_at_once(it, transcript)
    reader = Scenario(client_of(url, readonly=True), transcript)
    await refusals_of_a_reader(reader)
    transcript.print()
    close_all_clients()


asyncio.run(main(sys.argv[1]))
