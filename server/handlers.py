"""One small handler for every type of request that the published server knows.

A further record type is a function here and its SQL in ``tables``; our own types stand in
``cache_handlers`` and ``lease_handlers``.
"""

from __future__ import annotations

from functools import partial

import orjson

from . import tables
from .at_once_tables import put_transformations_at_once
from .lanes import Row
from .protocol import PROTOCOL, Fields, encode, execution_record
from .registry import Answer, Context, Handlers, as_json, registering

BUCKET_KINDS = frozenset(("node", "environment", "node_env", "queue", "queue_node"))

HANDLERS: Handlers = {}

_handles = registering(HANDLERS)


def _raw(text: str | None) -> bytes | None:
    """Hand out the text of a JSON column as it is."""
    return None if text is None else text.encode()


@_handles("GET", "protocol")
async def get_protocol(context: Context, fields: Fields) -> Answer:
    """Name the protocol and its version."""
    return orjson.dumps(PROTOCOL)


@_handles("GET", "transformation")
async def get_transformation(context: Context, fields: Fields) -> Answer:
    """Give the result of a transformation."""
    result: str | None = await context.database.read(
        tables.transformation_results, fields.checksum()
    )
    context.metrics.looked_up(result is not None, result is None)
    return result


@_handles("PUT", "transformation")
async def put_transformation(context: Context, fields: Fields) -> Answer:
    """Set the result of a transformation."""
    checksum, result = fields.checksum(), fields.checksum("value")
    ways = (tables.put_transformations, (checksum, result), put_transformations_at_once)
    await context.database.write(Row(*ways))
    context.leases.end([checksum])
    return "OK"


@_handles("GET", "rev_transformations")
async def get_rev_transformations(context: Context, fields: Fields) -> Answer:
    """Give the transformations that have this result."""
    return as_json(await context.database.read(tables.transformations_of, fields.checksum()))


@_handles("GET", "metadata")
async def get_metadata(context: Context, fields: Fields) -> Answer:
    """Give the execution record of a transformation."""
    return _raw(await context.database.read(tables.execution_records, fields.checksum()))


@_handles("PUT", "metadata")
async def put_metadata(context: Context, fields: Fields) -> Answer:
    """Record an execution and its result."""
    checksum, result = fields.checksum(), fields.checksum("result")
    record = fields.mapping("value")
    problem = execution_record(record, checksum, result)
    if problem:
        raise fields.refuse(problem)
    encode(record, f"Malformed {fields.what}: value")
    await context.database.write(
        partial(tables.put_execution_record, checksum=checksum, result=result, record=record)
    )
    context.leases.end([checksum])
    return "OK"


@_handles("GET", "irreproducible")
async def get_irreproducible(context: Context, fields: Fields) -> Answer:
    """Give the contested results of a transformation, or one of them."""
    checksum = fields.checksum()
    only = fields.checksum("result") if fields.has("result") else None
    rows = await context.database.read(tables.irreproducible_records, checksum)
    found = [
        {"checksum": checksum, "result": result, "metadata": orjson.Fragment(metadata)}
        for result, metadata in rows or ()
        if only in (None, result)
    ]
    return as_json(found or None)


@_handles("PUT", "irreproducible")
async def put_irreproducible(context: Context, fields: Fields) -> Answer:
    """Contest a result."""
    checksum, result = fields.checksum(), fields.checksum("result")
    await context.database.write(
        partial(tables.put_irreproducible, checksum=checksum, result=result)
    )
    return "OK"


@_handles("GET", "buffer_info")
async def get_buffer_info(context: Context, fields: Fields) -> Answer:
    """Give what is known about a buffer."""
    return _raw(await context.database.read(tables.buffer_infos, fields.checksum()))


@_handles("PUT", "buffer_info")
async def put_buffer_info(context: Context, fields: Fields) -> Answer:
    """Add to what is known about a buffer."""
    checksum = fields.checksum()
    value = fields.mapping("value")
    facts = Fields(value, fields.what)
    facts.count("length", None)
    for name in value:
        if name.startswith("is_") and facts.has(name):
            facts.flag(name, False)
    encode(value, f"Malformed {fields.what}: value")
    await context.database.write(partial(tables.put_buffer_info, checksum=checksum, value=value))
    return "OK"


def _code_key(fields: Fields) -> tuple[str, str, str]:
    return fields.checksum(), fields.text("celltype"), fields.text("subcelltype")


@_handles("GET", "semantic_to_syntactic")
async def get_semantic_to_syntactic(context: Context, fields: Fields) -> Answer:
    """Give the source codes of a meaning."""
    return as_json(await context.database.read(tables.syntactic_of, _code_key(fields)))


@_handles("PUT", "semantic_to_syntactic")
async def put_semantic_to_syntactic(context: Context, fields: Fields) -> Answer:
    """Add source codes to a meaning."""
    key, syntactic = _code_key(fields), fields.checksums("value")
    if not fields.has("value"):
        raise fields.refuse("value must be a list of checksums")
    await context.database.write(partial(tables.put_syntactic, key=key, syntactic=syntactic))
    return "OK"


@_handles("GET", "syntactic_to_semantic")
async def get_syntactic_to_semantic(context: Context, fields: Fields) -> Answer:
    """Give the meanings of a source code."""
    return as_json(await context.database.read(tables.semantic_of, _code_key(fields)))


def _expression_key(fields: Fields) -> tuple[str, str, str, str]:
    return (
        fields.checksum(),
        fields.path(),
        fields.text("celltype", longest=20),
        fields.text("target_celltype", longest=20),
    )


@_handles("GET", "expression")
async def get_expression(context: Context, fields: Fields) -> Answer:
    """Give the result of an expression."""
    result: str | None = await context.database.read(
        tables.expression_result, _expression_key(fields)
    )
    return result


@_handles("PUT", "expression")
async def put_expression(context: Context, fields: Fields) -> Answer:
    """Set the result of an expression."""
    key, result = _expression_key(fields), fields.checksum("value")
    _, path, celltype, _ = key
    if len(path) > 100:
        raise fields.refuse("path (constraint violation) has more than 100 characters")
    if path != "[]" and celltype not in ("mixed", "plain", "binary"):
        raise fields.refuse(f"celltype (constraint violation) {celltype!r} takes no path")
    await context.database.write(partial(tables.put_expression, key=key, result=result))
    return "OK"


@_handles("GET", "rev_expression")
async def get_rev_expression(context: Context, fields: Fields) -> Answer:
    """Give the expressions that have this result."""
    result = fields.checksum()
    rows = await context.database.read(tables.expressions_of, result)
    found = [
        {
            "checksum": checksum,
            "path": orjson.Fragment(path),
            "celltype": celltype,
            "target_celltype": target_celltype,
            "result": result,
        }
        for checksum, path, celltype, target_celltype in rows or ()
    ]
    return as_json(found or None)


def _probe_key(fields: Fields, *, empty: bool) -> tuple[str, str]:
    return fields.text("bucket_kind"), fields.text("label", empty=empty)


@_handles("GET", "bucket_probe")
async def get_bucket_probe(context: Context, fields: Fields) -> Answer:
    """Give the probe of a bucket."""
    kind, label = _probe_key(fields, empty=True)
    row = await context.database.read(tables.bucket_probe, (kind, label))
    if row is None:
        return None
    checksum, captured_at, tokens = row
    return as_json(
        {
            "bucket_kind": kind,
            "label": label,
            "bucket_checksum": checksum,
            "captured_at": captured_at,
            "freshness_tokens": orjson.Fragment(tokens),
        }
    )


@_handles("PUT", "bucket_probe")
async def put_bucket_probe(context: Context, fields: Fields) -> Answer:
    """Set the probe of a bucket."""
    kind, label = _probe_key(fields, empty=False)
    if kind not in BUCKET_KINDS:
        raise fields.refuse(f"bucket_kind must be one of {', '.join(sorted(BUCKET_KINDS))}")
    tokens = fields.mapping("freshness_tokens")
    text = encode(tokens, f"Malformed {fields.what}: freshness_tokens")
    captured_at = fields.text("captured_at", empty=False)
    row = (kind, label, fields.checksum("bucket_checksum"), captured_at, text)
    await context.database.write(partial(tables.put_bucket_probe, row=row))
    return "OK"
