"""``explain CHECKSUM`` and ``explain KEY``: one task on record, readable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from seamless_dask_cache.cli.records import CANDIDATES, Records, time_text
from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.explaining.difference import from_dict
from seamless_dask_cache.explaining.differences import compare
from seamless_dask_cache.explaining.nearest import Recorded, nearest, recorded
from seamless_dask_cache.explaining.rendering import differences_as_text, recipe_as_text

PAGE, MOST_PAGES = 1000, 20
SHOWN = 10
_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_BEGINNING = re.compile(r"[0-9a-f]{6,63}")

Entry = dict[str, Any]


def explain_record(client: DatabaseClient, target: str) -> dict[str, Any]:
    """Find a task on record and what differs from the nearest earlier recipe of its function.

    Parameters
    ----------
    client : DatabaseClient
        The database.
    target : str
        A transformation checksum, its beginning (6 digits or more), or a key or its beginning; of
        keys, only what stands before their token is on record.

    Returns
    -------
    dict
        ``transformation``, ``key`` (the beginning of keys that was looked for, or None),
        ``others`` (further tasks whose keys begin so), ``recipe``, ``text`` (the recipe, readable),
        ``entry``, ``record``, ``result``, ``nearest``, ``newest_only`` (how many recipes
        of the function were looked at, where there may be more), ``differences``; fit for JSON.

    Raises
    ------
    click.ClickException
        When nothing of that name is on record.
    """
    records = Records(client)
    named = _found(client, target)
    checksum = named.checksum
    recipe = records.recipe(checksum)
    if recipe is None:
        raise click.ClickException(f"the recipe of {checksum} is not on record")
    found: dict[str, Any] = {"transformation": checksum, "key": named.key, "recipe": recipe}
    found["others"] = [_other(entry) for entry in named.others]
    found |= {"text": recipe_as_text(recipe, records.note, records.name), "entry": named.entry}
    found["record"] = client.get_execution_record(checksum)
    found["result"] = client.get_transformation_result(checksum)
    return found | _compared(records, checksum, recipe)


class _Named(NamedTuple):
    """What a target names."""

    checksum: str
    entry: Entry | None
    key: str | None = None
    others: tuple[Entry, ...] = ()


def _found(client: DatabaseClient, target: str) -> _Named:
    if _CHECKSUM.fullmatch(target):
        return _Named(target, _entry_of(client, target))
    if _BEGINNING.fullmatch(target):
        found = [entry for entry in _entries(client) if entry["checksum"].startswith(target)]
        if len(found) > 1:
            raise click.ClickException(f"{target} is the beginning of {len(found)} checksums")
        if found:
            return _Named(found[0]["checksum"], found[0])
    for key in (target, _prefix(target)):
        found = client.entries(key, limit=PAGE) if key else []
        if found:
            return _Named(found[0]["checksum"], found[0], key, tuple(found[1:]))
    raise click.ClickException(
        f"nothing is on record under {target!r}; `ls` shows keys and checksums"
    )


def _other(entry: Entry) -> Entry:
    return {"transformation": entry["checksum"], "created": entry["created"]} | {
        "key_prefix": entry["key_prefix"]
    }


def _prefix(key: str) -> str:
    from dask.utils import key_split

    return str(key_split(key))


def _entries(client: DatabaseClient) -> Iterator[Entry]:
    for page in range(MOST_PAGES):
        found = client.entries(limit=PAGE, offset=page * PAGE)
        yield from found
        if len(found) < PAGE:
            return


def _entry_of(client: DatabaseClient, checksum: str) -> Entry | None:
    return next((e for e in _entries(client) if e["checksum"] == checksum), None)


def _compared(records: Records, checksum: str, recipe: dict[str, Any]) -> dict[str, Any]:
    rows = recorded(records.client.recipes(recipe.get("function"), limit=CANDIDATES))
    best = nearest(recipe, _earlier(rows, checksum), records.note, records.recipe)
    found: dict[str, Any] = {"newest_only": len(rows) if len(rows) >= CANDIDATES else None}
    if best is None:
        return found | {"nearest": None, "differences": []}
    differences = compare(best.recipe, recipe, records.recipe, records.note, name_of=records.name)
    return found | {
        "nearest": {"transformation": best.checksum, "created": best.created},
        "differences": [difference.to_dict() for difference in differences],
    }


def _earlier(rows: list[Recorded], checksum: str) -> list[Recorded]:
    """Return the recipes that are older; they come newest first."""
    position = next((i for i, row in enumerate(rows) if row.checksum == checksum), -1)
    return rows[position + 1 :]


def describe_record(found: dict[str, Any]) -> str:
    """Write down for people what `explain_record` found."""
    lines = [f"transformation {found['transformation']}"]
    lines += _how_found(found)
    lines += [f"  {line}" for line in found["text"].splitlines()]
    lines += [f"  {line}" for line in _execution(found)]
    if found["nearest"] is None:
        among = newest_only(found["newest_only"]).replace(" of", " among")
        lines.append(f"no earlier recipe of this function is on record{among}")
    else:
        near = found["nearest"]
        when = time_text(near["created"])
        lines.append(
            f"differs from {near['transformation'][:12]} ({when}), the nearest earlier one"
            f"{newest_only(found['newest_only'])}:"
        )
        differences = [from_dict(fields) for fields in found["differences"]]
        lines.append(differences_as_text(differences) or "  in nothing that is on record")
    return "\n".join(lines)


def _how_found(found: dict[str, Any]) -> Iterator[str]:
    if found["key"] is None:
        return
    number = len(found["others"]) + 1
    which = f"the newest of {number}" if number > 1 else "the only one"
    yield f"(keys are not kept; {which} whose key begins with {found['key']!r})"
    for other in found["others"][:SHOWN]:
        checksum, when = other["transformation"][:12], time_text(other["created"])
        yield f"  also {checksum}  {when}  {other['key_prefix']}"
    if len(found["others"]) > SHOWN:
        yield f"  and {len(found['others']) - SHOWN} more"


def newest_only(number: int | None) -> str:
    """Say that no more than the newest recipes were looked at, where that is so."""
    return "" if number is None else f" of the {number} newest"


def _execution(found: dict[str, Any]) -> Iterator[str]:
    yield f"result    {found['result'] or 'not stored'}"
    entry, record = found["entry"] or {}, found["record"] or {}
    if entry:
        yield f"stored    {time_text(entry['created'])}, key {entry['key_prefix']}, "
        yield f"          {entry['nbytes']:,} bytes, {entry['seconds']:.3f} s to compute"
    elif "wall_time_seconds" in record:
        yield f"computed  in {record['wall_time_seconds']:.3f} s"
    host = record.get("hostname")
    if host:
        yield f"host      {host}"
