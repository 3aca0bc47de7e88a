"""Two databases behind the published functions: ``ask_extern.py READ_ONLY_URL WRITABLE_URL``."""

from __future__ import annotations

import asyncio
import sys

from seamless_remote import database_remote as remote
from seamless_remote.client import close_all_clients
from transcript import Transcript, hex_of

TF, OTHER, RESULT, SECOND = map(hex_of, ("tf", "other tf", "result", "second result"))


def record_of(transformation: str, result: str) -> dict[str, object]:
    return {"schema_version": 1, "tf_checksum": transformation, "result_checksum": result}


async def fill(transcript: Transcript) -> None:
    remote.activate(no_main=True, extern_clients=["filling"])
    record = record_of(TF, RESULT)
    await transcript.ask("set record", remote.set_execution_record(TF, RESULT, record))
    probe = remote.set_bucket_probe("node", "first", RESULT, {"a": 1}, "now")
    await transcript.ask("set probe", probe)


async def read_and_write(transcript: Transcript) -> None:
    ask = transcript.ask
    remote.activate(no_main=True, extern_clients=["first", "second"])
    transcript.call("has servers", lambda: [remote.has_read_server(), remote.has_write_server()])
    await ask("result of the first", remote.get_transformation_result(TF))
    await ask("result of neither", remote.get_transformation_result(OTHER))
    await remote.set_transformation_result(OTHER, RESULT)
    await remote.set_transformation_result(TF, SECOND)
    await ask("result of the second", remote.get_transformation_result(OTHER))
    await ask("the first comes first", remote.get_transformation_result(TF))
    await ask("reverse", remote.get_rev_transformations(RESULT))
    await ask("reverse in the second", remote.get_rev_transformations(SECOND))
    await ask("record", remote.get_execution_record(TF))
    await ask("no record", remote.get_execution_record(OTHER))
    await ask("probe", remote.get_bucket_probe("node", "first"))
    await ask("no probe", remote.get_bucket_probe("node", "second"))
    await ask("undo", remote.undo_transformation_result(OTHER, RESULT))
    await ask("undone", remote.get_transformation_result(OTHER))
    await ask("irreproducible", remote.get_irreproducible_records(OTHER))
    await ask("another result is not", remote.get_irreproducible_records(OTHER, SECOND))


async def only_second(transcript: Transcript) -> None:
    remote.activate(no_main=True, extern_clients=["second"])
    await transcript.ask("only the second", remote.get_transformation_result(TF))
    await transcript.ask("record is in the first", remote.get_execution_record(TF))


async def main(first: str, second: str) -> None:
    """Talk to both servers, and print what they say."""
    transcript = Transcript()
    remote.define_extern_client("filling", "database", url=first, readonly=False)
    remote.define_extern_client("first", "database", url=first)
    remote.define_extern_client("second", "database", url=second, readonly=False)
    for part in (fill, read_and_write, only_second):
        await part(transcript)
    transcript.print()
    close_all_clients()


asyncio.run(main(*sys.argv[1:]))
