"""What either server writes to a file, and what must be answered about it; for ``test_interop``."""

from __future__ import annotations

from typing import Any

from serving import Server, hex_of

from seamless_dask_cache.database import Cost, DatabaseClient, LookupAnswer, StoreItem


def record_of(tf: str, result: str) -> dict[str, Any]:
    record = {"schema_version": 1, "tf_checksum": tf, "result_checksum": result}
    return {**record, "host": "é", "seconds": 0.1}


def item_of(name: str) -> StoreItem:
    """A write-back of ours with all that it can have."""
    recipe, content = f'{{"recipe": "{name}"}}', f"content of {name}".encode()
    tf, result = hex_of(recipe), hex_of(content.decode())
    entry = {"function": name, "seconds": 2.5, "nbytes": len(content), "created": 9.0}
    return StoreItem(tf, result, record_of(tf, result), recipe, content, entry, {f"/{name}": "1-1"})


KEPT, OVERWRITTEN, CONTESTED = map(item_of, ("kept", "overwritten", "contested"))
CUTOFF = (hex_of("skeleton"), hex_of("shallow"), KEPT.result, 7, 1.5, KEPT.transformation)
CODE = {"celltype": "python", "subcelltype": "transformer"}
EXPRESSION = {"path": ["a", 0], "celltype": "mixed", "target_celltype": "int"}
PROBE = {"bucket_kind": "node", "label": "ä", "captured_at": "now", "freshness_tokens": {"a": [1]}}

Question = tuple[dict[str, Any], Any]


def write_records(server: Server, name: str) -> list[Question]:
    """Write each type of record that is published; give what to ask, and what must be answered."""
    tf, recorded, contested, result = (hex_of(f"{name} {n}") for n in range(4))
    record = {"checksum": recorded, "result": result, "value": record_of(recorded, result)}
    lost = {"checksum": contested, "result": result}
    expression = {**EXPRESSION, "checksum": tf}
    code, source = {**CODE, "checksum": tf}, {**CODE, "checksum": result}
    probe = {**PROBE, "label": name, "bucket_checksum": result}
    for document in (
        {"type": "transformation", "checksum": tf, "value": result},
        {"type": "metadata", **record},
        {"type": "irreproducible", **lost},
        {"type": "buffer_info", "checksum": tf, "value": {"length": 3, "is_utf8": True}},
        {"type": "expression", **expression, "value": result},
        {"type": "semantic_to_syntactic", **code, "value": [result]},
        {"type": "bucket_probe", **probe},
    ):
        assert server.put(**document) == (200, "OK"), document
    return [
        ({"type": "transformation", "checksum": tf}, result),
        ({"type": "transformation", "checksum": recorded}, result),
        ({"type": "rev_transformations", "checksum": result}, [tf, recorded]),
        ({"type": "metadata", "checksum": recorded}, record["value"]),
        ({"type": "irreproducible", "checksum": contested}, [{**lost, "metadata": ""}]),
        ({"type": "buffer_info", "checksum": tf}, {"length": 3, "is_utf8": True}),
        ({"type": "expression", **expression}, result),
        ({"type": "rev_expression", "checksum": result}, [{**expression, "result": result}]),
        ({"type": "semantic_to_syntactic", **code}, [result]),
        ({"type": "syntactic_to_semantic", **source}, [tf]),
        ({"type": "bucket_probe", "bucket_kind": "node", "label": name}, probe),
    ]


def write_ours(server: Server) -> list[Question]:
    """Write what only our server knows; give what the published one can be asked of it."""
    other = StoreItem(KEPT.transformation, OVERWRITTEN.result)
    with DatabaseClient(server.url) as client:
        client.store(
            [KEPT, OVERWRITTEN, CONTESTED, other],
            recipes=[{"function": "f", "content": "a recipe alone"}],
            notes={KEPT.transformation: {"source": "def kept(): ..."}},
            cutoffs=[CUTOFF],
            costs={hex_of("code"): (2, 3.0, 4.0, 1, 0.5)},
        )
    questions: list[Question] = []
    for item in (KEPT, OVERWRITTEN, CONTESTED):
        tf, result = item.transformation, item.result
        questions += [
            ({"type": "transformation", "checksum": tf}, result),
            ({"type": "rev_transformations", "checksum": result}, [tf]),
            ({"type": "metadata", "checksum": tf}, item.record),
        ]
    return questions


def check(server: Server, questions: list[Question]) -> None:
    for question, answer in questions:
        assert server.get(**question) == (200, answer), question


def change_ours(published: Server) -> list[Question]:
    """Let the published server overwrite one of our results, and contest another one."""
    over, lost = OVERWRITTEN.transformation, CONTESTED.transformation
    assert published.put("transformation", checksum=over, value=hex_of("newer")) == (200, "OK")
    assert published.put("irreproducible", checksum=lost, result=CONTESTED.result) == (200, "OK")
    contested = {"checksum": lost, "result": CONTESTED.result, "metadata": CONTESTED.record}
    return [
        ({"type": "transformation", "checksum": over}, hex_of("newer")),
        ({"type": "rev_transformations", "checksum": hex_of("newer")}, [over]),
        ({"type": "irreproducible", "checksum": lost}, [contested]),
    ]


def check_ours(server: Server) -> None:
    """What our server wrote for itself is whole, and counts where nobody changed the result."""
    tf, over, lost = (item.transformation for item in (KEPT, OVERWRITTEN, CONTESTED))
    with DatabaseClient(server.url) as client:
        found = client.look_up([tf, over, lost], [hex_of("code")])
        assert found.answers == {
            tf: LookupAnswer(KEPT.result, KEPT.content, True, 2.5, 15, 9.0, {"/kept": "1-1"}),
            over: LookupAnswer(hex_of("newer"), files={"/overwritten": "1-1"}),
        }
        assert found.irreproducible == {lost}
        assert found.costs == {hex_of("code"): Cost(2, 3.0, 4.0, 1, 0.5)}
        cutoffs = client.cutoffs([CUTOFF[0]])
        assert cutoffs == {
            CUTOFF[0]: {CUTOFF[1]: LookupAnswer(KEPT.result, KEPT.content, True, 1.5, 7)}
        }
        recipes = {found["recipe"]: found["result"] for found in client.recipes(limit=1000)}
        assert recipes == {
            KEPT.recipe: KEPT.result,
            OVERWRITTEN.recipe: hex_of("newer"),
            CONTESTED.recipe: None,
            "a recipe alone": None,
        }
        assert client.notes([tf]) == {tf: {"source": "def kept(): ..."}}
        entries = {entry["checksum"]: entry for entry in client.entries()}
        assert entries[tf].items() >= {"result": KEPT.result, **KEPT.entry}.items()
        (divergence,) = client.divergences()
        assert (divergence["first"], divergence["result"]) == (KEPT.result, OVERWRITTEN.result)
        assert client.get_buffer(CONTESTED.transformation) == CONTESTED.recipe.encode()
