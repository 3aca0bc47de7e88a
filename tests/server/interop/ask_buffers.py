"""Every method of the published client of buffers: ``ask_buffers.py URL DIRECTORY``."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Awaitable

from seamless import Buffer
from seamless_remote import buffer_remote as remote
from seamless_remote.buffer_client import BufferClient
from seamless_remote.client import close_all_clients
from transcript import Transcript, hex_of

CONTENTS = {
    "small": b"ten bytes!",
    "medium": bytes(range(250)) * 400,
    "large": bytes(range(250)) * 20_000,
    "empty": b"",
}
SIZED = ("small", "medium", "large")
PROMISED, LATER = b"a promised buffer", b"another, by the functions"
UNANSWERED_SECONDS = 0.5


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def client_of(
    url: str | None = None, directory: str | None = None, readonly: bool = False
) -> BufferClient:
    client = BufferClient(readonly)
    client.url, client.directory = url, directory
    return client


async def content_of(got: Awaitable[Buffer | None]) -> str | None:
    """Name the content of a buffer that somebody gives."""
    buffer = await got
    names = {content: name for name, content in CONTENTS.items()}
    return None if buffer is None else names.get(buffer.content, buffer.content[:40].decode())


async def write_and_read(transcript: Transcript, client: BufferClient) -> None:
    await transcript.ask("length before", client.buffer_length(checksum(CONTENTS["small"])))
    for name, content in CONTENTS.items():
        await transcript.ask(f"write {name}", client.write(checksum(content), content))
        await transcript.ask(f"write {name} again", client.write(checksum(content), content))
        await transcript.ask(f"get {name}", content_of(client.get(checksum(content))))
    await transcript.ask("get unknown", content_of(client.get(hex_of("unknown"))))
    for name in SIZED:
        length = client.buffer_length(checksum(CONTENTS[name]))
        await transcript.ask(f"length of {name}", length)
    sized = [checksum(CONTENTS[name]) for name in SIZED]
    names = [hex_of("unknown"), *sized, hex_of("unknown 2")]
    await transcript.ask("lengths", client.buffer_lengths(names))
    await transcript.ask("no lengths", client.buffer_lengths([]))


async def wrong_checksums(transcript: Transcript, client: BufferClient) -> None:
    for name in ("small", "large"):
        wrong = hex_of(f"not {name}")
        await transcript.ask(f"wrong {name}", client.write(wrong, CONTENTS[name]))
        await transcript.ask(f"length of wrong {name}", client.buffer_length(wrong))
        await transcript.ask(f"get wrong {name}", content_of(client.get(wrong)))


async def promises(transcript: Transcript, writer: BufferClient, reader: BufferClient) -> None:
    name = checksum(PROMISED)
    await transcript.ask("promise", writer.promise(name))
    await transcript.ask("promise again", writer.promise(name))
    await transcript.ask("length of promised", reader.buffer_length(name))
    await transcript.ask("lengths of promised", reader.buffer_lengths([hex_of("unknown"), name]))
    waiting = asyncio.create_task(content_of(reader.get(name)))
    done, _ = await asyncio.wait({waiting}, timeout=UNANSWERED_SECONDS)
    transcript.note("get of promised is answered at once", bool(done))
    await transcript.ask("write promised", writer.write(name, PROMISED))
    await transcript.ask("get promised", waiting)
    await transcript.ask("length of kept promise", reader.buffer_length(name))
    await transcript.ask("promise what is there", writer.promise(name))
    await transcript.ask("get what is there", content_of(reader.get(name)))


async def readers_refuse(transcript: Transcript, reader: BufferClient) -> None:
    name = checksum(CONTENTS["small"])
    await transcript.ask("reader writes", reader.write(name, CONTENTS["small"]))
    await transcript.ask("reader promises", reader.promise(name))


async def files(transcript: Transcript, folder: BufferClient) -> None:
    for name in ("medium", "large"):
        got = content_of(folder.get_file_buffer(checksum(CONTENTS[name])))
        await transcript.ask(f"{name} in the folder", got)
    names = [checksum(CONTENTS["large"]), hex_of("unknown")]
    await transcript.ask("lengths in the folder", folder.buffer_lengths(names))
    unknown = content_of(folder.get_file_buffer(hex_of("unknown")))
    await transcript.ask("unknown in the folder", unknown)


async def functions(transcript: Transcript, url: str, directory: str) -> None:
    """The published functions, over a folder and a server."""
    remote.define_extern_client("folder", "bufferfolder", directory=directory)
    remote.define_extern_client("server", "hashserver", url=url, readonly=False)
    remote.activate(no_main=True, extern_clients=["folder", "server"])
    transcript.call("has servers", lambda: [remote.has_read_server(), remote.has_write_server()])
    for name in ("small", "large"):
        got = content_of(remote.get_buffer(checksum(CONTENTS[name])))
        await transcript.ask(f"function gets {name}", got)
    await transcript.ask("function promises", remote.promise(checksum(LATER)))
    await transcript.ask("function writes", remote.write_buffer(checksum(LATER), LATER))
    await transcript.ask("function gets it", content_of(remote.get_buffer(checksum(LATER))))
    names = [checksum(CONTENTS[name]) for name in ("small", "large")]
    await transcript.ask("function gives lengths", remote.get_buffer_lengths(names))
    await transcript.ask("function gets unknown", content_of(remote.get_buffer(hex_of("unknown"))))


async def main(url: str, directory: str) -> None:
    """Talk to the server, and print what it says."""
    transcript = Transcript()
    writer, reader = client_of(url), client_of(url, readonly=True)
    folder = client_of(directory=directory, readonly=True)
    await transcript.ask("healthcheck", writer.healthcheck())
    await write_and_read(transcript, writer)
    await wrong_checksums(transcript, writer)
    await promises(transcript, writer, reader)
    await readers_refuse(transcript, reader)
    await files(transcript, folder)
    await functions(transcript, url, directory)
    transcript.print()
    close_all_clients()


asyncio.run(main(*sys.argv[1:]))
