"""Hostile requests: a seed and a number give the same bytes, always.

A *volley* is what one connection sends. Where every request of it is well-formed HTTP, however
hostile its content, each must be answered; of anything else is only expected what the server owes
to everybody.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any, NamedTuple

from serving import hex_of

VOLLEY = 50
"""Requests that one connection sends at most, without waiting for an answer."""


class Volley(NamedTuple):
    """What one connection sends.

    Parameters
    ----------
    kind : str
    requests : list of bytes
    seconds : float
        How long it waits for the server to close the connection; 0 when it goes away at once.
    is_whole : bool
        Whether each request must be answered.
    """

    kind: str
    requests: list[bytes]
    seconds: float = 0.2
    is_whole: bool = False


TF, RESULT = hex_of("recipe"), hex_of("content")
SMALL, LARGE = b"content", bytes(range(256)) * 80  # one becomes a row, the other a file
PROMISED, UNKNOWN = hex_of("promised"), hex_of("unknown")

_CONTESTED = {"checksum": TF, "result": RESULT}
_CODE = {"checksum": TF, "celltype": "python", "subcelltype": "transformer"}
_PATH = {"checksum": TF, "path": ["a", 0], "celltype": "mixed", "target_celltype": "int"}
_KEY = {"bucket_kind": "node", "label": "host"}
_PROBE = {**_KEY, "bucket_checksum": TF, "captured_at": "now", "freshness_tokens": {"a": 1}}
_NAMES = {"schema_version": 1, "tf_checksum": TF, "result_checksum": RESULT}
_RECORD = {**_NAMES, "checksum_fields": ["code"], "more": [1, {"x": None}]}
_ENTRY = {"function": "f", "key_prefix": "p", "format": "pickle", "seconds": 2.5, "nbytes": 7}
_STORE = {
    **{"transformation": TF, "result": RESULT, "record": _RECORD, "recipe": "recipe"},
    **{"content": "Y29udGVudA==", "entry": {**_ENTRY, "created": 9.0}, "files": {"/a": "1:2"}},
}
_BATCH = {
    **{"store": [_STORE], "forget": [UNKNOWN], "touch": [TF], "notes": {TF: {"a": 1}}},
    "recipes": [{"function": "f", "content": "recipe", "checksum": TF}],
    "cutoffs": [[TF, RESULT, RESULT, 7, 2.5, TF]],
    "costs": {TF: [1, 2.5, 7.0, 1, 0.5]},
}
_LEASES = {"holder": "me", "acquire": [UNKNOWN], "release": [TF], "seconds": 2.0}
_BUFFER_INFO = {"length": 7, "is_utf8": True, "x": 1}
_OF_RESULT = ("rev_transformations", "rev_expression", "buffer_info", "buffer")
REQUESTS: dict[tuple[str, str], dict[str, Any]] = {
    **{("GET", type_): {} for type_ in ("protocol", "summary")},
    **{("GET", type_): {"checksum": RESULT} for type_ in _OF_RESULT},
    **{("GET", type_): {"checksum": TF} for type_ in ("transformation", "metadata")},
    **{("GET", type_): _CODE for type_ in ("semantic_to_syntactic", "syntactic_to_semantic")},
    **{(method, "irreproducible"): _CONTESTED for method in ("GET", "PUT")},
    ("PUT", "transformation"): {"checksum": TF, "value": RESULT},
    ("PUT", "metadata"): {**_CONTESTED, "value": _RECORD},
    ("PUT", "buffer_info"): {"checksum": RESULT, "value": _BUFFER_INFO},
    ("PUT", "semantic_to_syntactic"): {**_CODE, "value": [RESULT]},
    ("GET", "expression"): _PATH,
    ("PUT", "expression"): {**_PATH, "value": RESULT},
    ("GET", "bucket_probe"): _KEY,
    ("PUT", "bucket_probe"): _PROBE,
    ("GET", "batch"): {"transformations": [TF], "inline": True, "codes": [TF], "inputs": [TF]},
    ("PUT", "batch"): _BATCH,
    ("GET", "cutoffs"): {"skeletons": [TF], "inline": True, "limit": 3},
    ("GET", "divergences"): {"limit": 3},
    ("GET", "recipes"): {"function": "f", "limit": 3, "checksums": [TF]},
    ("GET", "notes"): {"checksums": [TF]},
    ("PUT", "buffer"): {"checksum": RESULT, "value": "Y29udGVudA=="},
    ("GET", "entries"): {"prefix": "p", "limit": 3, "offset": 0},
    ("GET", "leases"): {"transformations": [TF]},
    ("PUT", "leases"): {**_LEASES, "renew": False, "release_all": False},
}
"""A request of each type, in which all fields are right."""


def _deep(opening: bytes, closing: bytes, depth: int) -> bytes:
    return opening * depth + b"0" + closing * depth


_NUMBERS = (
    *b"0 -0.0 -1 1 0.5 1e308 1e999 -1e999 1e-999 01 +1 0x10 1_000".split(),
    *b"NaN Infinity -Infinity nan".split(),
    *(b"%d" % (2**power + more) for power in (31, 53, 63, 64) for more in (-1, 0, 1)),
    *(b"-%d" % (2**power + more) for power in (63, 64) for more in (-1, 0, 1)),
    *(b"%d" % 10**400, b"-%d" % 10**400, b"%d.0" % 10**400, b"%d" % 10**19, b"9" * 5000),
)
_TEXTS = (
    *rb'"" " "\u0000" "\ud800" "\udfff\ud800" "\ud83d\ude00" "\uFEFF" "\x41" "{}" "NaN"'.split(),
    *b'"\x00" "\xff\xfe" "\xc0\x80" "\xed\xa0\x80" "\xf4\x90\x80\x80" "==" "QQ" "Q*Q="'.split(),
    *(b'"%s"' % (b"1" * length) for length in (63, 64, 65)),
    *(b'"%s"' % TF.upper().encode(), b'"%s\\n"' % TF.encode(), b'"%s"' % (b"g" * 64)),
    *('"{}"'.format("\u0661" * 64).encode(), b'"\\u0000%s"' % TF.encode()),
    *(b'"\'; DROP TABLE transformation; --"', b'"%s%n{0.__class__}"', b'"../../etc/passwd"'),
    *(b'"{\\"a\\":"', b'"{\\"a\\": %d}"' % 10**400, b'"%s"' % (b"[" * 100_000)),
    *(b'"%s"' % (b"x" * 300_000), b'"%s"' % (b"\\u0041" * 10_000), b'"a\\r\\nSet-Cookie: a=b"'),
)
_OTHERS = (
    *b"null true false nul /**/1 'a' undefined \x00 \xef [] [[]] [null] [1] [true] [{}]".split(),
    *b'[1,] [,] [ ["a","a"] {} {"":null} {"a":1,"a":2} {"a"} {1:2} { }'.split(),
    *b'{"\\ud800":1} {"length":1.5} {"is_x":1} {"schema_version":true}'.split(),
    *(b"", b'["%s",7]' % TF.encode(), b'["%s"]' % TF.upper().encode(), b'{"%s":[]}' % TF.encode()),
    *(_deep(b"[", b"]", depth) for depth in (250, 255, 900, 1100, 100_000)),
    *(_deep(b'{"a":', b"}", depth) for depth in (250, 255, 900, 1100, 20_000)),
    *(b"[" * 100_000, _deep(b"[%d," % 10**20, b"]", 5_000), b'["\\ud800",%s' % (b"[" * 5_000)),
    b"[%s]" % (b"0," * 3000 + b"0"),
)
HOSTILE = (*_NUMBERS, *_TEXTS, *_OTHERS)
"""Values as JSON has them, or does not have them."""
LARGE_VALUE = 10_000  # above this size, one comes to a tenth of the places: it takes milliseconds

MEMBERS = (  # of an object, beside those that it should have
    *(b'"type":1', b'"type":"batch"', b'"checksum":7,"checksum":null', b'"\\ud800":1', b'"":0'),
    *(b'"\x00":1', b'"__proto__":{}', b'"%s":0' % (b"k" * 300_000), b'"a":%d' % 10**400, b"1:1"),
    *(b'"%s":{}' % UNKNOWN.encode(), b'"\xff":1', b"", b'"a"', b'"a":,'),
)

_HOLE = "the hole"


def _with_holes(value: Any) -> Iterator[tuple[Any, tuple[bytes, ...]]]:
    """Put a hole in place of a value, and of each inside it, and beside the members of each."""
    yield _HOLE, HOSTILE
    if isinstance(value, dict):
        yield {**value, _HOLE: _HOLE}, MEMBERS
        for name in value:
            yield from (({**value, name: new}, for_) for new, for_ in _with_holes(value[name]))
    elif isinstance(value, list):
        for at in range(len(value)):
            for new, for_ in _with_holes(value[at]):
                yield [*value[:at], new, *value[at + 1 :]], for_


def _places() -> Iterator[tuple[str, bytes, bytes, tuple[bytes, ...]]]:
    """Give for each place its method, what is before and after it, and what comes there."""
    mark, beside = json.dumps(_HOLE).encode(), json.dumps({_HOLE: _HOLE})[1:-1].encode()
    for (method, type_), fields in REQUESTS.items():
        for holed, values in _with_holes({"type": type_, **fields}):
            before, after = json.dumps(holed).encode().split(beside if values is MEMBERS else mark)
            yield method, before, after, values


BODIES = [(m, json.dumps({"type": t, **fields}).encode()) for (m, t), fields in REQUESTS.items()]


def http(method: str, path: str, body: bytes = b"", *lines: str) -> bytes:
    """Write a request as it should be."""
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


LAST = http("GET", "/healthcheck", b"", "Connection: close")


def _whole(kind: str, requests: list[bytes]) -> Volley:
    return Volley(kind, [*requests, LAST], 60.0, True)


def _mutated(random: Random, data: bytes) -> bytes:
    """Damage some bytes."""
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(data) + 1)
        some = min(random.choice((1, 1, 2, 8, 100)), len(data) - at)
        data = data[:at] + random.choice(_DAMAGES)(random, data[at : at + some]) + data[at + some :]
    return data


_DAMAGES: tuple[Callable[[Random, bytes], bytes], ...] = (
    lambda random, part: b"",
    lambda random, part: part * random.choice((2, 3, 50)),
    lambda random, part: random.randbytes(len(part)),
    lambda random, part: bytes(byte ^ (1 << random.randrange(8)) for byte in part),
    lambda random, part: part + random.choice(_NUMBERS + _OTHERS[:20]),
    lambda random, part: random.choice((b"\r\n", b"\n", b"\x00", b" ", b'"', b"\xff", b":")) + part,
    lambda random, part: part.swapcase(),
)


def _damaged_bodies(random: Random) -> Volley:
    chosen = random.choices(BODIES, k=VOLLEY - 1)
    return _whole("bodies", [http(m, "/", _mutated(random, body)) for m, body in chosen])


_RANGES = (
    *("bytes=0-", "bytes=-0", "bytes=-1", "bytes=5-2", "bytes=0-0,1-1", "bytes=a-b", "bytes="),
    *("bytes=-", f"bytes=0-{10**400}", f"bytes={10**400}-", f"bytes=-{10**400}", "lines=1-2"),
    *("bytes=1-1", f"bytes=0-{2**63}", f"bytes=-{'9' * 5000}", "bytes=\xb2-", "BYTES=0-1", "\xff"),
)
_EXPECTS = ("100-continue", "100-Continue", "200-ok", "", "\xff", "100-continue, 100-continue")


def _about_buffers(random: Random) -> Volley:
    return _whole("buffers", [_about_a_buffer(random) for _ in range(VOLLEY - 1)])


def _about_a_buffer(random: Random) -> bytes:
    content = random.choice((SMALL, LARGE, b"", b"x" * 20_000, random.randbytes(9)))
    name = random.choice((hashlib.sha256(content).hexdigest(), RESULT, UNKNOWN, TF.upper()))
    listed = random.choice((b"[]", b'["%s"]' % name.encode(), *HOSTILE))
    tag = random.choice((f'"{name}"', "*", f'W/"{name}"', '"', "\xff"))
    return random.choice(
        (
            lambda: http("PUT", f"/{name}", content),
            lambda: http("PUT", f"/promise/{random.choice((PROMISED, 'e' * 64))}", content),
            lambda: http("GET", f"/{name}", b"", f"Range: {random.choice(_RANGES)}"),
            lambda: http("GET", f"/{name}", b"", "Range: bytes=0-3", f"If-Range: {tag}"),
            lambda: http("GET", f"/{name}", content, f"If-None-Match: {tag}"),
            lambda: http("GET", random.choice(("/has", "/has-now", "/buffer-length")), listed),
            lambda: http("PUT", "/has", listed),
        )
    )()


def _damaged(random: Random) -> Volley:
    method, body = random.choice(BODIES)
    whole = http(method, "/", body, "Connection: close", "Accept: */*")
    about_buffers = _about_a_buffer(random).replace(b"Host: x", b"Host: x\r\nConnection: close")
    return Volley("damaged", [_mutated(random, random.choice((whole, whole, about_buffers)))])


def _cut(random: Random) -> Volley:
    """Go away in the midst of it."""
    method, body = random.choice(BODIES)
    longer = b"Content-Length: %d" % (len(body) + 9)
    whole = http(method, "/", body).replace(b"Content-Length: %d" % len(body), longer)
    upload = http("PUT", f"/{UNKNOWN}", b"x" * 90_000)
    whole = random.choice((whole, upload, _about_a_buffer(random)))
    return Volley("cut", [whole[: random.randrange(len(whole))]], random.choice((0.0, 0.01)))


def _waiting(random: Random) -> Volley:
    """Wait for a buffer that never comes, and go away."""
    promise, get = http("PUT", f"/promise/{PROMISED}"), http("GET", f"/{PROMISED}")
    return Volley("waiting", [promise, get], 0.5)


_gzip = partial(gzip.compress, mtime=0)
_QUESTION = b'{"type": "protocol"}'
_ENCODED = (
    *(encode(_QUESTION) for encode in (bytes, _gzip, zlib.compress)),
    *(_gzip(_QUESTION * 99)[:-9], _gzip(_QUESTION) + b"tail", _gzip(_gzip(_QUESTION))),
    *(_gzip(_QUESTION[:9]) + _gzip(_QUESTION[9:]), zlib.compress(_QUESTION)[2:-4], b""),
    zlib.compress(bytes(20_000_000), 1),
)


def _encoded(random: Random) -> Volley:
    encoding = random.choice(("gzip", "deflate", "br", "zstd", "gzip, gzip", "x-gzip", "\xff", ""))
    path = random.choice(("/", "/has", f"/{UNKNOWN}", f"/{RESULT}"))
    body = random.choice(_ENCODED)
    lines = (f"Content-Encoding: {encoding}", "Connection: close")
    return Volley("encoded", [http(random.choice(("GET", "PUT")), path, body, *lines)], 5.0)


_METHODS = (
    *b"GET PUT HEAD POST DELETE PATCH OPTIONS TRACE CONNECT G get GARBAGE PRI G\xc3\x89T".split(),
    *(b"", b"\x00", b"A" * 10_000, b"GET\t", b" GET"),
)
_VERSIONS = (
    *(b"HTTP/1.1",) * 12,
    *b"HTTP/1.0 HTTP/0.9 HTTP/2.0 HTTP/3.0 HTTP/1.2 HTTP/11 HTTP/1.1.1 HTTP/99999999999.1".split(),
    *b"GARBAGE http/1.1 ICY/1.0 HTTP/-1.1 HTTP/1.1\x00 HTTP/\xb2.1".split(),
    *(b"", b"HTTP/1.1 ", b"HTTP/1.1 HTTP/1.1"),
)
_TARGETS = (
    *b"/ * // ///etc/passwd /../../etc/passwd /%2e%2e/etc/passwd /%00 /\x00 /. /.. /% ?".split(),
    *b"/./has /has/ /has? /has#a /%68as /%zz /%c0%ae /\xff\xfe /%ff%fe /%ed%a0%80 \\h has".split(),
    *b"http://x/ http://x/has https://x/healthcheck http:/// http:// http:x # //x/has".split(),
    *b"http://[::1/ http://[::1]/ http://[x]/ http://a:99999/ http://a:b/ http://xn--a/".split(),
    *b"http://\xff/ http://u:p@h/ file:///etc/passwd x:1 : :: javascript:1 /.tmp /.seals".split(),
    *(b"/" + b"a" * 8_000, b"/" + b"a" * 70_000, b"/" + b"../" * 2_000, b"/" + b"%41" * 2_500),
    *(b"/" + b"?" * 8_000, b"/?" + b"a=b&" * 1_900, b"http://" + b"a" * 300 + b"/", b"/a b", b""),
    *(b"/%s" % name.encode() for name in (RESULT, TF.upper(), RESULT[:-1], RESULT + "0")),
    *(b"/%s%s" % (RESULT.encode(), end) for end in b"/ /.. %00 %0a ?a /x".split()),
    *(b"/promise/%s" % end for end in (b"..", b"", RESULT.encode() * 2, b"%2e%2e/" + TF.encode())),
    *(b"/%s/%s" % (RESULT[:2].encode(), RESULT.encode()), b"/healthcheck", b"/metrics"),
)
_LINES = (
    *(b"Host: y", b"Host:", b": x", b"no colon", b"A\x00B: c", b"A: b\x00c", b"A : b", b" A: b"),
    *(b"A: b\r\n c", b"A: b\r\n\tc", b"A: b\rc", b"A: b\nc: d", b"A: \xff", b"\xff: a", b"\x00"),
    *(b"A: " + b"b" * 8_000, b"A: " + b"b" * 100_000, b"B" * 9_000 + b": c", b"A: \x7f\x01"),
    *(b"\r\n".join([b"A: b"] * 200), b"\r\n".join(b"H%d: v" % n for n in range(200))),
    *(b"A: b\r\n " + b"c\r\n " * 500, b"Content-Type: application/json; charset=nonsense"),
    *(b"Connection: upgrade\r\nUpgrade: websocket", b"Connection: Upgrade\r\nUpgrade: h2c"),
    *(b"Connection: \xff", b"Connection: keep-alive, close", b"Upgrade: websocket", b"Range: \xff"),
    *(b"Expect: " + name.encode("latin-1") for name in _EXPECTS),
    *(b"Authorization: \xff\xfe", b"Authorization: " + b"Bearer " * 900, b"Trailer: x"),
    *(b"Content-Encoding: gzip", b"If-Modified-Since: x", b"Content-Type: \xff"),
)
_ENDS = (*(b"\r\n\r\n",) * 9, b"\n\n", b"\r\r", b"\r\n\n", b"\r\n \r\n", b"\r\n", b"\r\n\x00")


def _head(random: Random) -> Volley:
    method, target = random.choice((b"GET", *_METHODS)), random.choice((b"/healthcheck", *_TARGETS))
    lines = [b"Host: x", b"Connection: close", *random.choices(_LINES, k=random.randrange(3))]
    first = b" ".join((method, target, random.choice(_VERSIONS)))
    return Volley("head", [b"\r\n".join((first, *lines)) + random.choice(_ENDS)])


_LENGTHS = (
    *b"7 -1 -0 +7 7,7 7,8 0x7 7.0 7e0 seven \xb7 7\x00 007 6 8".split(),
    *(b"", b" 7", b"7 ", b"7, 7", b"9" * 5_000, b"%d" % 10**400, b"%d" % (2**64 + 7)),
    *(b"7\r\nContent-Length: 8", b"7\r\nContent-Length: 7", b"8\r\ncontent-length: -1"),
    *(b"%d" % 2**power for power in (30, 40, 63)),
    *(b"%d" % (2**power + more) for power, more in ((30, 1), (40, 1), (64, -1))),
)
_CODINGS = (
    *b"CHUNKED xchunked identity \xff chunked;a=b chunked\x00 chunked,chunked gzip,chunked".split(),
    *(b"", b"chunked, gzip", b"\tchunked", b"chu\r\n nked"),
    *(b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\nTransfer-Encoding: identity"),
)
_CHUNKED = (
    *(b"7\r\ncontent\r\n0\r\n\r\n", b"0\r\n\r\n", b"7\r\ncontent\r\n0\r\n", b"7\r\ncontent", b""),
    *(b"7\ncontent\n0\n\n", b"7\rcontent", b"7\r\ncontent0\r\n\r\n", b"g\r\n", b"\r\n"),
    *(b"%s\r\ncontent\r\n0\r\n\r\n" % size for size in b"6 8 -7 +7 0x7 7\x00 7; \xb7 7.0".split()),
    *(b"%s\r\ncontent\r\n0\r\n\r\n" % size for size in (b" 7", b"7 ", b"", b"0" * 9_000 + b"7")),
    *(b"7;a=%s\r\ncontent\r\n0\r\n\r\n" % (b"b" * length) for length in (9, 9_000, 100_000)),
    *(b"F" * digits + b"\r\nx" for digits in (15, 16, 17)),
    *(b"1\r\nx\r\n" * 3_000 + end for end in (b"0\r\n\r\n", b"")),
    *(b"0\r\n%s\r\n\r\n" % trailer for trailer in (b"A: b", b"Content-Length: 9", b"no colon")),
    *(b"0\r\n" + b"A: b\r\n" * 300, b"0\r\nA: %s\r\n\r\n" % (b"b" * 100_000)),
    b"7\r\ncontent\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\nGET",
)


def _framing(random: Random) -> Volley:
    path = random.choice(("/", "/has", f"/{RESULT}", f"/{UNKNOWN}"))
    first = f"{random.choice(('PUT', 'GET'))} {path} HTTP/1.{random.choice((0, *(1,) * 9))}"
    length = b"Content-Length: " + random.choice(_LENGTHS)
    coding = b"Transfer-Encoding: " + random.choice((b"chunked",) * 9 + _CODINGS)
    lines = random.choice(([length], [coding], [coding], [length, coding], [coding, length]))
    body = random.choice((SMALL, SMALL * 9, b"") if lines == [length] else _CHUNKED)
    head = (first.encode(), b"Host: x", *lines, b"Connection: close", b"")
    return Volley("framing", [b"\r\n".join((*head, body))])


NAMELESS = (b"CONNECT  \r\nHost: x\r\n\r\n", b"GET http://xn--a/ HTTP/1.1\r\nHost: x\r\n\r\n")
_NOISES: tuple[Callable[[Random], bytes], ...] = (
    lambda random: random.randbytes(random.choice((1, 9, 300, 70_000))),
    lambda random: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(508),
    lambda random: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + random.randbytes(40),
    lambda random: random.choice((b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n\r\n", *NAMELESS)),
    lambda random: random.choice((b"\x00", b"\n", b"\r\n", b"a", b" ", b"GET ")) * 40_000,
    lambda random: b"".join(random.choices((b"GET", b" ", b"/", b"\r", b"\n", b":"), k=30)),
)


def _noise(random: Random) -> Volley:
    return Volley("noise", [random.choice(_NOISES)(random)])


_KINDS: dict[Callable[[Random], Volley], int] = {  # how often there is one of a kind
    **{_damaged_bodies: 20, _about_buffers: 10, _damaged: 350, _cut: 120, _encoded: 25},
    **{_waiting: 3, _head: 200, _framing: 120, _noise: 20},
}
TURNS = 8  # every so many volleys, there is one of hostile values in fields


class Volleys:
    """All volleys of a seed: each hostile value in each place, and anything else between them."""

    def __init__(self, seed: int):
        self._seed = seed
        random = Random(seed)
        self._in_fields = [
            http(method, "/", before + value + after)
            for method, before, after, values in _places()
            for value in values
            if len(value) < LARGE_VALUE or random.random() < 0.1
        ]
        random.shuffle(self._in_fields)

    def __getitem__(self, number: int) -> Volley:
        if number % TURNS == 0:
            first = number // TURNS * (VOLLEY - 1)
            if first < len(self._in_fields):
                return _whole("fields", self._in_fields[first : first + VOLLEY - 1])
        random = Random(self._seed * 2**40 + number)
        return random.choices(list(_KINDS), list(_KINDS.values()))[0](random)
