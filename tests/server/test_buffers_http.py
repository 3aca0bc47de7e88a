"""Buffers over HTTP: what clients read, and what they are told about what is there."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from keeping import (
    LARGE,
    SMALL,
    UNKNOWN,
    Answer,
    answer_on,
    ask,
    exchange,
    files_in,
    fresh,
    get,
    keeping,
    name_of,
    put,
    sizes,
    told,
    wait_until_asked,
)
from seamless_dask_cache.server.failures import BusyError
from seamless_dask_cache.server.promises import Promises
from serving import Server, hex_of


@pytest.mark.parametrize("nbytes", [0, 1, SMALL, LARGE])
def test_head_gives_the_length_and_no_byte_of_the_body(shared, nbytes):
    """Nor does it where there is nothing, or nothing new."""
    content = fresh(nbytes)
    name = name_of(content)
    put(shared, content)
    for asked, extra, status in (
        (name, "", "200"),
        (UNKNOWN, "", "404"),
        (name, f'If-None-Match: "{name}"\r\n', "304"),
    ):
        head = f"HEAD /{asked} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}\r\n"
        lines, end, body = exchange(shared, head.encode()).decode().partition("\r\n\r\n")
        assert (end, body, lines.split()[1]) == ("\r\n\r\n", "", status)
        if status == "200":
            assert f"content-length: {nbytes}" in lines.lower().split("\r\n")
            assert f'etag: "{name}"' in lines.lower().split("\r\n")


@sizes
def test_a_range_does_not_count_for_head(shared, nbytes):
    """It is defined for GET alone (RFC 9110, 14.2)."""
    content = fresh(nbytes)
    put(shared, content)
    for header in ("bytes=0-1", f"bytes={nbytes}-"):
        answer = ask(shared, "HEAD", f"/{name_of(content)}", Range=header)
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(nbytes))


@sizes
def test_upper_case_digits_name_the_same_buffer(shared, nbytes):
    """To write and to read it, and to ask about it."""
    content = fresh(nbytes)
    upper = name_of(content).upper()
    assert ask(shared, "PUT", f"/{upper}", content).status == 200
    assert get(shared, upper).body == get(shared, upper.lower()).body == content
    assert told(shared, "/has", upper, upper.lower()) == [nbytes, nbytes]


def test_what_nobody_uploaded_is_unknown(shared):
    """With 404 and a text."""
    answer = get(shared, UNKNOWN)
    assert (answer.status, answer.body[:7]) == (404, b"ERROR: ")


def part_of(nbytes: int, header: str) -> tuple[int, range]:
    """Say what a range of a buffer is, as RFC 9110 (14.1.2) has it; several ranges are ignored."""
    found = re.fullmatch("bytes=([0-9]*)-([0-9]*)", header.strip(" \t"), re.IGNORECASE)
    first, last = found.groups() if found else ("", "")
    if not (first or last) or (first and last and int(first) > int(last)):
        return 200, range(nbytes)
    if first:
        span = range(nbytes)[int(first) : int(last) + 1 if last else None]
    else:
        span = range(nbytes)[-int(last) :] if int(last) else range(0)
    return (206, span) if span else (416, span)


def expect_part(answer: Answer, content: bytes, header: str) -> None:
    status, span = part_of(len(content), header)
    about = {
        200: None,
        206: f"bytes {span.start}-{span.stop - 1}/{len(content)}",
        416: f"bytes */{len(content)}",
    }
    assert (answer.status, answer.headers["Content-Range"]) == (status, about[status]), header
    assert answer.headers["Content-Length"] == str(len(span))
    assert answer.body == content[span.start : span.stop]


@sizes
def test_a_part_of_a_buffer_is_sent_or_said_to_be_beyond_its_end(shared, nbytes):
    """First bytes, middle, suffix, open end; what is not understood is not there at all."""
    content = fresh(nbytes)
    put(shared, content)
    last = nbytes - 1
    statuses = {
        "bytes=0-0": 206, "bytes=0-99": 206, "bytes=500-700": 206, "bytes=7-": 206,
        "bytes=-1": 206, "bytes=-300": 206, f"bytes=-{9 * nbytes}": 206,
        f"bytes={last}-{last}": 206, f"bytes={last}-": 206, f"bytes=1-{10**30}": 206,
        f"bytes={nbytes}-": 416, f"bytes={nbytes}-{2 * nbytes}": 416, f"bytes={10**30}-": 416,
        "bytes=5-4": 200, "bytes=-": 200, "bytes=": 200, "bytes=a-b": 200, "bytes=1-b": 200,
        "": 200, "nonsense": 200, "lines=0-1": 200, "bytes=0-1,5-6": 200, "bytes=--5": 200,
    }  # fmt: skip
    for header, status in statuses.items():
        answer = get(shared, name_of(content), Range=header)
        assert answer.status == status, header
        expect_part(answer, content, header)


def test_no_bytes_at_all_are_no_part(shared):
    """A suffix of length 0 cannot be satisfied (RFC 9110, 14.1.2)."""
    content = fresh(SMALL)
    put(shared, content)
    expect_part(get(shared, name_of(content), Range="bytes=-0"), content, "bytes=-0")


_BUFFERS = {n: fresh(n) for n in (0, 1, 2, 10, 16 * 1024, 16 * 1024 + 1, 256 * 1024, 600_001)}
_lengths = st.sampled_from(list(_BUFFERS))
_numbers = st.just("") | (
    st.integers(0, 11) | st.integers(0, 700_000) | st.integers(0, 10**25) | _lengths
).map(str)
_headers = st.builds("bytes={}-{}".format, _numbers, _numbers) | st.text("bytes=- ,019", max_size=9)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(nbytes=_lengths, header=_headers.filter(lambda header: header != "bytes=-0"))
@example(nbytes=0, header="bytes=0-")
@example(nbytes=10, header="bytes=9-10")
@example(nbytes=600_001, header="bytes=262144-524288")
def test_any_range_of_any_buffer(asking, nbytes, header):
    """As a model of a few lines has it (no bytes at all: see above)."""
    content = _BUFFERS[nbytes]
    asking.request("GET", f"/{name_of(content)}", headers={"Range": header})
    answer = answer_on(asking)
    if nbytes == 0 and re.fullmatch("bytes=-[0-9]+", header):  # satisfiable, but nothing to send
        assert (answer.status in (200, 416), answer.body) == (True, b"")
    else:
        expect_part(answer, content, header)


@pytest.fixture(scope="module")
def asking(shared):
    """A connection that stays open."""
    for content in _BUFFERS.values():
        assert put(shared, content) in (200, 201)
    with closing(shared.connect()) as connection:
        yield connection


@sizes
def test_conditions_compare_the_checksum(shared, nbytes):
    """A range of something else is no range; what the client has already is not sent."""
    content = fresh(nbytes)
    name, tag, other = name_of(content), f'"{name_of(content)}"', f'"{UNKNOWN}"'
    put(shared, content)
    assert get(shared, name).headers["ETag"] == tag
    for condition, status in ((tag, 206), (other, 200), (f"W/{tag}", 200), (name, 200)):
        answer = get(shared, name, Range="bytes=1-9", If_Range=condition)
        assert (answer.status, answer.body) == (status, content[1:10] if status == 206 else content)
    for more in ({}, {"Range": "bytes=1-9"}, {"Range": f"bytes={nbytes}-"}):
        answer = get(shared, name, If_None_Match=tag, **more)
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert get(shared, name, If_None_Match=other).body == content
    assert get(shared, UNKNOWN, If_None_Match=other).status == 404


def _listing(server: Server) -> dict[Path, Any]:
    """List what lies around the folder and in it, but for the files of the server itself."""
    return {
        path: path.is_dir() or path.read_bytes()
        for path in server.file.parent.rglob("*")
        if not path.name.startswith(server.file.name)
    }


_CONTENT = fresh(20_000)
_HEX = name_of(_CONTENT)
_STRANGE = (
    *(f"/{_HEX[:63]}", f"/{_HEX}0", f"/{_HEX}/", f"//{_HEX}", f"/{_HEX[:2]}/{_HEX}", "/.."),
    *("/promise", "/promise/", "/promise/x", f"/promise/{_HEX}/x", f"/promise/promise/{_HEX}"),
    *(f"/../{_HEX}", f"/%2e%2e/{_HEX}", f"/..%2f{_HEX}", f"/promise/../../{_HEX}", f"/./{_HEX}"),
    *(f"/{_HEX}%00", f"/{_HEX}%0a", f"/{_HEX[:63]}g", f"/.tmp/{_HEX}", f"/{'%EF%BC%91' * 64}"),
    *(f"/{'%ff' * 64}", f"/%2F{_HEX}", f"/has/{_HEX}", f"/{_HEX}/.."),
)


@pytest.mark.parametrize("path", _STRANGE)
def test_no_path_leads_out_of_the_folder(shared, path):
    """There is nothing at other paths, to read or to write, and nothing is made."""
    outside = shared.folder.parent / _HEX
    outside.parent.mkdir(exist_ok=True)
    outside.write_bytes(_CONTENT)
    before = _listing(shared)
    for method, body in (("GET", None), ("HEAD", None), ("PUT", _CONTENT), ("DELETE", None)):
        assert ask(shared, method, path, body).status == 404
    assert _listing(shared) == before


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        (f"/{_HEX}", "DELETE POST PATCH OPTIONS"),
        (f"/promise/{_HEX}", "GET HEAD DELETE POST"),
        ("/has", "PUT HEAD POST"),
        ("/has-now", "PUT HEAD POST"),
        ("/buffer-length", "PUT HEAD POST"),
    ],
)
def test_other_methods_are_refused(shared, path, methods):
    """With 405; nothing is deleted."""
    put(shared, _CONTENT)
    for method in methods.split():
        assert ask(shared, method, path, None if method == "HEAD" else "[]").status == 405
    assert get(shared, _HEX).body == _CONTENT


def test_many_buffers_are_asked_about_at_once(shared):
    """Their lengths, in the order of the question; a promise is true, as is what is empty."""
    small, large = fresh(SMALL), fresh(LARGE)
    for content in (b"", small, large):
        put(shared, content)
    promised = hex_of("promised")
    assert ask(shared, "PUT", f"/promise/{promised}").status == 202
    names = [UNKNOWN, name_of(large), name_of(b""), promised.upper(), name_of(small), UNKNOWN]
    # As text: 0 and false, 1 and true are the same to Python, but not to other clients.
    for path, answer in (
        ("/has", f"[0,{LARGE},true,true,{SMALL},0]"),
        ("/has-now", "[false,true,true,false,true,false]"),
        ("/buffer-length", f"[0,{LARGE},0,true,{SMALL},0]"),
    ):
        assert ask(shared, "GET", path, json.dumps(names)).body.decode() == answer
        assert told(shared, path) == []
    assert told(shared, "/has", *[name_of(small), UNKNOWN] * 10_000) == [SMALL, 0] * 10_000


@pytest.mark.parametrize("body", ["", "{", "{}", "3", '"x"', "[3]", '["x"]', "[null]", "\xff"])
def test_a_question_that_is_no_list_of_checksums_is_refused(shared, body):
    """As malformed, with a text."""
    for path in ("/has", "/has-now", "/buffer-length"):
        answer = ask(shared, "GET", path, body.encode("latin-1"))
        assert (answer.status, answer.body[:7]) == (400, b"ERROR: ")


@sizes
def test_a_promise_is_acknowledged_and_said_to_be_there(shared, nbytes):
    """By `has`, not by `has-now`, until the buffer is there; HEAD does not wait for it."""
    content = fresh(nbytes)
    name = name_of(content)
    answer = ask(shared, "PUT", f"/promise/{name.upper()}")
    assert (answer.status, json.loads(answer.body)["checksum"]) == (202, name)
    assert (told(shared, "/has", name), told(shared, "/has-now", name)) == ([True], [False])
    assert ask(shared, "HEAD", f"/{name}").status == 404
    assert put(shared, content) == 200
    assert (told(shared, "/has", name), told(shared, "/has-now", name)) == ([nbytes], [True])


@sizes
def test_who_asks_for_a_promised_buffer_gets_it_when_it_comes(shared, nbytes):
    """However many wait, and also when somebody first uploads something else under its name."""
    content = fresh(nbytes)
    name = name_of(content)
    assert ask(shared, "PUT", f"/promise/{name}").status == 202
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(get, shared, name) for _ in range(4)]
        wait_until_asked(shared, 4)
        assert ask(shared, "PUT", f"/{name}", fresh(nbytes)).status == 400
        assert told(shared, "/has", name) == [True]
        wait_until_asked(shared, 4)
        assert not any(answer.done() for answer in waiting)
        assert put(shared, content) == 200
        assert [answer.result(20)[:2] for answer in waiting] == [(200, content)] * 4


def test_who_goes_away_while_waiting_for_a_promise_is_forgotten(shared):
    """The promise holds for others."""
    name = name_of(fresh(SMALL))
    assert ask(shared, "PUT", f"/promise/{name}").status == 202
    with closing(shared.connect()) as connection:
        connection.request("GET", f"/{name}")
        wait_until_asked(shared)
    wait_until_asked(shared, 0)
    assert told(shared, "/has", name) == [True]


def test_who_waits_for_a_promise_does_not_keep_the_server_from_stopping(keeper):
    """The buffer is unknown, then; and the server stops within seconds."""
    assert ask(keeper, "PUT", f"/promise/{UNKNOWN}").status == 202
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(get, keeper, UNKNOWN)
        wait_until_asked(keeper)
        keeper.process.terminate()
        assert keeper.wait_until_stopped(5) == 0
        assert answer.result(20).status == 404


async def test_a_promise_ends_by_itself():
    """Who waits is told so, and nothing of it is left."""
    promises = Promises(seconds=0.05)
    promises.promise("a")
    assert promises.among(["a", "b"]) == {"a"}
    assert await promises.wait("a")
    assert not await promises.wait("a")
    assert (promises.among(["a"]), len(promises)) == (set(), 0)


async def test_a_promise_that_is_given_again_holds_longer():
    """Its first end does not count any more."""
    promises = Promises(seconds=0.05)
    promises.promise("again")
    promises.promise("once")
    promises.seconds = 600
    promises.promise("again")
    await promises.wait("once")
    assert promises.among(["again", "once"]) == {"again"}


async def test_there_are_only_so_many_promises():
    """One more is refused, one of those is not; when one has ended there is room."""
    promises = Promises(most=2)
    promises.promise("a")
    promises.promise("b")
    with pytest.raises(BusyError):
        promises.promise("c")
    promises.promise("a")
    promises.end("b")
    promises.end("never promised")
    promises.promise("c")
    assert promises.among("abc") == {"a", "c"}


async def test_when_promises_are_closed_nobody_waits():
    """Neither who did nor who comes; before, a client that went away takes nobody with it."""
    promises = Promises()
    promises.promise("a")
    gone, *waiting = [asyncio.create_task(promises.wait("a")) for _ in range(3)]
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    assert not any(task.done() for task in waiting)
    promises.close()
    await asyncio.gather(*waiting)
    promises.promise("b")
    assert not await promises.wait("b")


def test_a_server_that_is_not_writable_gives_buffers_and_takes_none(shared, start_server):
    """Nor a promise of one; without a folder it gives the small ones."""
    small, large = fresh(SMALL), fresh(LARGE)
    for content in (small, large):
        assert put(shared, content) == 200
    with keeping(shared.file.parent, writable=False) as reader:
        before = files_in(reader.folder)
        for content in (small, large):
            name = name_of(content)
            assert get(reader, name).body == content
            assert get(reader, name, Range="bytes=5-8").body == content[5:9]
            assert ask(reader, "HEAD", f"/{name}").status == 200
            assert put(reader, content) == put(reader, fresh(len(content))) == 405
        assert told(reader, "/has", name_of(small), name_of(large), UNKNOWN) == [SMALL, LARGE, 0]
        assert ask(reader, "PUT", f"/promise/{UNKNOWN}").status == 405
        assert files_in(reader.folder) == before
    bare = start_server(shared.file, writable=False)
    assert [get(bare, name_of(content)).status for content in (small, large)] == [200, 404]


@pytest.mark.parametrize("anonymous", [False, True])
def test_tokens_say_who_may_read_and_who_may_write_buffers(tmp_path, anonymous):
    """401 for strangers, 403 for those who may only read; nothing of theirs is kept."""
    options = []
    for option in ("--token-file", "--read-token-file"):
        (tmp_path / option[2:]).write_text(option)
        options += [option, str(tmp_path / option[2:])]
    options += ["--anonymous-reads"] * anonymous
    writes, reads = ({"Authorization": f"Bearer {option}"} for option in options[:4:2])
    stranger = 200 if anonymous else 401
    with keeping(tmp_path, *options) as server:
        for content in (fresh(SMALL), fresh(LARGE)):
            name = name_of(content)
            assert (put(server, content), put(server, content, **reads)) == (401, 403)
            assert put(server, content, Authorization="Bearer nonsense") == 401
            assert ask(server, "PUT", f"/promise/{name}", **reads).status == 403
            assert ask(server, "PUT", f"/promise/{name}").status == 401
            assert get(server, name, **reads).status == 404
            assert put(server, content, **writes) == 200
            assert [get(server, name, **who).status for who in (writes, reads)] == [200, 200]
            assert get(server, name).status == ask(server, "HEAD", f"/{name}").status == stranger
            for path in ("/has", "/has-now", "/buffer-length"):
                for who, status in ((writes, 200), (reads, 200), ({}, stranger)):
                    assert ask(server, "GET", path, f'["{name}"]', **who).status == status
