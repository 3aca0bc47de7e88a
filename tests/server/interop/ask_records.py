"""Records that the published client has no method for, by requests: ``ask_records.py URL``."""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from transcript import Transcript, hex_of, refusal

CODE = {"celltype": "python", "subcelltype": "transformer"}
ITEM = {"path": ["a", 0, "é"], "celltype": "mixed", "target_celltype": "int"}
WHOLE = {"path": [], "celltype": "text", "target_celltype": "str"}


class Scenario:
    """Requests to one server, written down."""

    def __init__(self, url: str, transcript: Transcript):
        self._url = url
        self._transcript = transcript

    def get(self, title: str, type: str, name: str | None, **fields: Any) -> None:
        self._send(f"get {type}, {title}", "GET", type, name, fields)

    def put(self, title: str, type: str, name: str | None, **fields: Any) -> None:
        self._send(f"put {type}, {title}", "PUT", type, name, fields)

    def _send(
        self, title: str, method: str, type: str, name: str | None, fields: dict[str, Any]
    ) -> None:
        named = {} if name is None else {"checksum": hex_of(name)}
        body = json.dumps({"type": type, **named, **fields}).encode()
        try:
            with urlopen(Request(self._url, body, method=method)) as response:
                outcome = _parsed(response.read().decode())
        except HTTPError as error:
            with error:
                outcome = refusal(error.code, error.read().decode())
        self._transcript.note(title, outcome)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def protocol(it: Scenario) -> None:
    it.get("version", "protocol", None)
    it.get("no such type", "nonsense", "x")
    it.put("no such type", "nonsense", "x")


def buffer_infos(it: Scenario) -> None:
    it.get("unknown", "buffer_info", "none")
    facts = {"length": 10, "is_utf8": True, "dtype": "<f8", "shape": [2, 3], "json_type": "é"}
    it.put("new", "buffer_info", "info", value=facts)
    it.get("new", "buffer_info", "info")
    it.put("more facts", "buffer_info", "info", value={"is_json": True, "length": 11})
    it.get("more facts", "buffer_info", "info")
    it.put("negative length", "buffer_info", "info", value={"length": -1})
    it.put("length as text", "buffer_info", "info", value={"length": "1"})
    it.put("flag as number", "buffer_info", "info", value={"is_json": 1})
    it.put("a list", "buffer_info", "info", value=[1])
    it.put("nothing", "buffer_info", "info")
    it.get("refused ones change nothing", "buffer_info", "info")


def meanings_of_code(it: Scenario) -> None:
    it.get("unknown", "semantic_to_syntactic", "meaning", **CODE)
    it.get("unknown", "syntactic_to_semantic", "source 1", **CODE)
    sources = [hex_of("source 1"), hex_of("source 2")]
    it.put("new", "semantic_to_syntactic", "meaning", value=sources, **CODE)
    it.put("again", "semantic_to_syntactic", "meaning", value=sources[:1], **CODE)
    it.put("none", "semantic_to_syntactic", "meaning", value=[], **CODE)
    it.put("other meaning", "semantic_to_syntactic", "meaning 2", value=sources[1:], **CODE)
    for name in ("meaning", "meaning 2"):
        it.get(name, "semantic_to_syntactic", name, **CODE)
    for name in ("source 1", "source 2"):
        it.get(name, "syntactic_to_semantic", name, **CODE)
    it.get("other kind", "semantic_to_syntactic", "meaning", celltype="text", subcelltype="")
    it.get("no kind", "semantic_to_syntactic", "meaning")
    it.get("no kind", "syntactic_to_semantic", "source 1")
    it.put("no list", "semantic_to_syntactic", "meaning", value=sources[0], **CODE)
    it.put("no kind", "semantic_to_syntactic", "meaning", value=sources)
    it.put("only to be asked", "syntactic_to_semantic", "source 1", value=sources, **CODE)


def expressions(it: Scenario) -> None:
    it.get("unknown", "expression", "input", **ITEM)
    it.get("unknown", "rev_expression", "output")
    it.put("new", "expression", "input", value=hex_of("output"), **ITEM)
    it.put("another with the same", "expression", "input 2", value=hex_of("output"), **WHOLE)
    it.get("new", "expression", "input", **ITEM)
    it.get("whole", "expression", "input 2", **WHOLE)
    it.get("of two", "rev_expression", "output")
    it.get("other path", "expression", "input", **{**ITEM, "path": ["a", 1, "é"]})
    it.get("other target", "expression", "input", **{**ITEM, "target_celltype": "float"})
    it.put("changed", "expression", "input", value=hex_of("output 2"), **ITEM)
    it.get("changed", "expression", "input", **ITEM)
    it.get("one left", "rev_expression", "output")
    it.get("changed", "rev_expression", "output 2")
    it.put("path into a text", "expression", "input", value=hex_of("x"), **{**WHOLE, "path": [0]})
    long = {**ITEM, "path": ["x" * 100]}
    it.put("long path", "expression", "input", value=hex_of("x"), **long)
    it.get("long path", "expression", "input", **long)
    it.put("long target", "expression", "input", value=hex_of("x"), **ITEM | {"celltype": "x" * 21})
    it.get("no path", "expression", "input", celltype="mixed", target_celltype="int")
    it.put("no target", "expression", "input", value=hex_of("x"), path=[], celltype="mixed")
    it.put("only to be asked", "rev_expression", "output", value=hex_of("x"))


def texts_for_objects(it: Scenario) -> None:
    """Objects may also come as texts that hold them."""
    record = {"schema_version": 1, "tf_checksum": hex_of("tf"), "result_checksum": hex_of("r")}
    it.put("as text", "metadata", "tf", result=hex_of("r"), value=json.dumps(record))
    it.get("as text", "metadata", "tf")
    it.put("no object", "metadata", "tf", result=hex_of("r"), value="[1]")
    it.put("no JSON", "metadata", "tf", result=hex_of("r"), value="{")
    place = {"bucket_kind": "node", "label": "text"}
    probe = {**place, "bucket_checksum": hex_of("p"), "captured_at": "now"}
    it.put("as text", "bucket_probe", None, freshness_tokens='{"a": 1}', **probe)
    it.get("as text", "bucket_probe", None, **place)
    it.put("no tokens", "bucket_probe", None, **probe)
    it.put("only to be asked", "rev_transformations", "r", value=hex_of("tf"))


def main(url: str) -> None:
    """Talk to the server, and print what it says."""
    transcript = Transcript()
    it = Scenario(url, transcript)
    for part in (protocol, buffer_infos, meanings_of_code, expressions, texts_for_objects):
        part(it)
    transcript.print()


main(sys.argv[1])
