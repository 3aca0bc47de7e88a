"""``explain FILE.py::function``: what a function is now, against what is on record of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seamless_dask_cache.cli.loading import load_function
from seamless_dask_cache.cli.records import CANDIDATES, Records, time_text
from seamless_dask_cache.config import Settings
from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.explaining.bound import function_within, is_same
from seamless_dask_cache.explaining.code_differences import code_differences
from seamless_dask_cache.explaining.code_notes import code_note
from seamless_dask_cache.explaining.difference import from_dict
from seamless_dask_cache.explaining.nearest import Recorded, recorded
from seamless_dask_cache.explaining.rendering import call_as_text, differences_as_text
from seamless_dask_cache.identity.code import CodeIdentity, Identifier
from seamless_dask_cache.identity.policy import call_policy

MOST_CODES = 20


@dataclass(frozen=True)
class FunctionNow:
    """A function as it is in its file.

    Attributes
    ----------
    target : str
        What was asked for.
    code : CodeIdentity or None
        Its identity; None when it has none.
    refusals : list of dict
        ``reason`` and ``path`` of everything for which its calls are refused.
    vouched : bool
        Whether ``@cached`` says that it is pure.
    """

    target: str
    code: CodeIdentity | None
    refusals: list[dict[str, str]]
    vouched: bool

    def text(self, found: dict[str, Any]) -> str:
        """Write down for people what `explain_function` found."""
        lines = [f"{self.target}: {found['status']}", f"  {found['reason']}"]
        for refusal in self.refusals:
            where = f" (at {refusal['path']})" if refusal["path"] else ""
            lines.append(f"  - {refusal['reason']}{where}")
        differences = [from_dict(fields) for fields in found["differences"]]
        if differences:
            lines.append(differences_as_text(differences))
        if found["calls"]:
            lines.append("  recent calls:" if found["status"] == "known" else "  earlier calls:")
        for call in found["calls"]:
            kept = "stored" if call["result"] else "not stored"
            lines.append(f"    {time_text(call['created'])}  {call['call']}  {kept}")
        return "\n".join(lines)


def describe_function(file: Path, name: str) -> FunctionNow:
    """Import a file and identify a function of it.

    Raises
    ------
    click.ClickException
        When there is no such file or function, or importing fails.
    """
    function = load_function(file, name)
    policy = call_policy(function)
    settings = Settings.from_arguments().policy
    identifier = Identifier(
        versions=settings.get("versions", "exact"),
        allow_effects=frozenset(settings.get("allow_effects", ())),
    )
    target = f"{file}::{name}"
    try:
        code = identifier.code(function if policy is None else policy.function)
    except RefusedError as error:
        refusal = {"reason": error.reason, "path": error.path}
        return FunctionNow(target, None, [refusal], policy is not None)
    effects = () if policy is not None else code.effects
    refusals = [{"reason": f"{e.kind}: calls {e.name}", "path": e.path} for e in effects]
    return FunctionNow(target, code, refusals, policy is not None)


def explain_function(client: DatabaseClient, now: FunctionNow, limit: int) -> dict[str, Any]:
    """Compare a function with the newest recipes of its name.

    Parameters
    ----------
    client : DatabaseClient
        The database.
    now : FunctionNow
        The function.
    limit : int
        Recent calls that are listed at most.

    Returns
    -------
    dict
        ``target``, ``function``, ``code``, ``status`` ("known", "changed", "new" or "refused"),
        ``reason``, ``refusals``, ``differences`` and ``calls``; fit for JSON.
    """
    found: dict[str, Any] = {"target": now.target, "refusals": now.refusals, "differences": []}
    if now.code is None:
        reason = "it has no certain identity, so its calls are computed and never stored"
        return (
            found
            | {"function": "", "code": None, "status": "refused", "reason": reason}
            | {"calls": []}
        )
    records, checksum = Records(client), now.code.checksum.hex()
    found |= {"function": now.code.name, "code": checksum}
    rows = recorded(client.recipes(now.code.name, limit=CANDIDATES))
    note = code_note(now.code)
    same = [row for row in rows if row.recipe.get("code") == checksum]
    same = same or _bound(records, note, rows)
    found |= _judged(records, now.code, note, same, rows)
    if now.refusals:
        found |= _refused(same)
    return found | {"calls": _calls(records, (same or rows)[:limit])}


def _refused(same: list[Recorded]) -> dict[str, Any]:
    # The policy is the program's, which is not at hand.
    if any(row.result for row in same):
        reason = "its code is on record, stored under a policy that allows what it does"
        return {"status": "known", "reason": reason}
    reason = "its calls are computed and never stored, because of what its code does"
    return {"status": "refused", "reason": f"{reason}, unless the policy allows it"}


def _bound(records: Records, note: dict[str, Any], rows: list[Recorded]) -> list[Recorded]:
    """Return the calls of methods that bind this function, as it is, to an object."""
    codes = list(dict.fromkeys(str(row.recipe.get("code")) for row in rows))[:MOST_CODES]
    inner = {code: function_within(records.note(code) or {}, note) for code in codes}
    same = {code for code, found in inner.items() if found and is_same(found, note)}
    return [row for row in rows if row.recipe.get("code") in same]


def _judged(
    records: Records,
    code: CodeIdentity,
    note: dict[str, Any],
    same: list[Recorded],
    rows: list[Recorded],
) -> dict[str, Any]:
    if same:
        return {"status": "known", "reason": _known(same)}
    if not rows:
        return {"status": "new", "reason": f"no call of `{code.name}` is on record"}
    old, new = str(rows[0].recipe.get("code")), code.checksum.hex()
    before = records.note(old)
    found = code_differences(old, new, function_within(before or {}, note) or before, note)
    when = time_text(rows[0].created)
    among = " in the newest recipes of that name" if len(rows) >= CANDIDATES else ""
    reason = f"its code is not what is on record{among}; against the newest call ({when}):"
    return {
        "status": "changed",
        "reason": reason,
        "differences": [difference.to_dict() for difference in found],
    }


def _known(same: list[Recorded]) -> str:
    if any(row.result for row in same):
        return "its code is on record: calls with the same arguments are hits, where stored"
    return "its code is on record; no result of it is stored"


def _calls(records: Records, rows: list[Recorded]) -> list[dict[str, Any]]:
    return [
        {
            "transformation": row.checksum,
            "created": row.created,
            "call": call_as_text(row.recipe, records.note, records.name),
            "result": row.result,
        }
        for row in rows
    ]
