"""``explain CHECKSUM`` and ``explain KEY``: one task on record, readable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click

from seamless_dask_cache.cli.records import CANDIDATES, Records, time_text
from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.explaining.difference import from_dict
from seamless_dask_cache.explaining.differences import compare
from seamless_dask_cache.explaining.nearest import Recorded, nearest, recorded
from seamless_dask_cache.explaining.rendering import differences_as_text, recipe_as_text

PAGE, MOST_PAGES = 1000, 20
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
        A transformation checksum, its beginning (6 digits or more), or a key or its beginning.

    Returns
    -------
    dict
        ``transformation``, ``others`` (further tasks that the target names), ``recipe``, ``text``
        (the recipe, readable), ``entry``, ``record``, ``result``, ``nearest``, ``differences``; fit
        for JSON.

    Raises
    ------
    click.ClickException
        When nothing of that name is on record.
    """
    records = Records(client)
    checksum, entry, others = _found(client, target)
    recipe = records.recipe(checksum)
    if recipe is None:
        raise click.ClickException(f"the recipe of {checksum} is not on record")
    found: dict[str, Any] = {"transformation": checksum, "others": others, "recipe": recipe}
    found |= {"text": recipe_as_text(recipe, records.note, records.name), "entry": entry}
    found["record"] = client.get_execution_record(checksum)
    found["result"] = client.get_transformation_result(checksum)
    return found | _compared(records, checksum, recipe)


def _found(client: DatabaseClient, target: str) -> tuple[str, Entry | None, int]:
    if _CHECKSUM.fullmatch(target):
        return target, _entry_of(client, target), 0
    if _BEGINNING.fullmatch(target):
        found = [entry for entry in _entries(client) if entry["checksum"].startswith(target)]
        if len(found) > 1:
            raise click.ClickException(f"{target} is the beginning of {len(found)} checksums")
        if found:
            return found[0]["checksum"], found[0], 0
    found = client.entries(target, limit=PAGE) or client.entries(_prefix(target), limit=PAGE)
    if not found:
        raise click.ClickException(
            f"nothing is on record under {target!r}; `ls` shows keys and checksums"
        )
    return found[0]["checksum"], found[0], len(found) - 1


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
    best = nearest(recipe, _earlier(records, checksum, recipe), records.note)
    if best is None:
        return {"nearest": None, "differences": []}
    found = compare(best.recipe, recipe, records.recipe, records.note, name_of=records.name)
    return {
        "nearest": {"transformation": best.checksum, "created": best.created},
        "differences": [difference.to_dict() for difference in found],
    }


def _earlier(records: Records, checksum: str, recipe: dict[str, Any]) -> list[Recorded]:
    """Return the recipes of the same function that are older; they come newest first."""
    rows = recorded(records.client.recipes(recipe.get("function"), limit=CANDIDATES))
    position = next((i for i, row in enumerate(rows) if row.checksum == checksum), -1)
    return rows[position + 1 :]


def describe_record(found: dict[str, Any]) -> str:
    """Write down for people what `explain_record` found."""
    lines = [f"transformation {found['transformation']}"]
    if found["others"]:
        lines.append(f"(the newest of {found['others'] + 1} of that key)")
    lines += [f"  {line}" for line in found["text"].splitlines()]
    lines += [f"  {line}" for line in _execution(found)]
    if found["nearest"] is None:
        lines.append("no earlier recipe of this function is on record")
    else:
        near = found["nearest"]
        when = time_text(near["created"])
        lines.append(
            f"differs from {near['transformation'][:12]} ({when}), the nearest earlier one:"
        )
        differences = [from_dict(fields) for fields in found["differences"]]
        lines.append(differences_as_text(differences) or "  in nothing that is on record")
    return "\n".join(lines)


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
