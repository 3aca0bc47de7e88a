"""Explanations as text and as tables."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

from seamless_dask_cache.explaining.difference import Difference
from seamless_dask_cache.explaining.entries import arguments_of, describe, fields_of
from seamless_dask_cache.explaining.texts import clean, shortened, unless_secret

_LONGEST_CALL = 120
_STYLE = "text-align:left;vertical-align:top"


def differences_as_text(differences: Iterable[Difference], indent: str = "  ") -> str:
    """Write differences down line by line, each with its diff."""
    lines = []
    for difference in differences:
        lines.append(f"{indent}- {difference.line}")
        lines += [f"{indent}    {line}" for line in difference.diff.splitlines()]
    return "\n".join(lines)


def call_as_text(recipe: Mapping[str, Any], fetch_note: Any, name_of: Any) -> str:
    """Write a recipe down as a call, on one line."""
    texts = [
        text if name.startswith("args[") else f"{name}={text}"
        for name, entry in arguments_of(recipe).items()
        for text in [unless_secret(name, describe(entry, fetch_note, name_of))]
    ]
    return shortened(f"{recipe.get('function')}({', '.join(texts)})", _LONGEST_CALL)


def recipe_as_text(recipe: Mapping[str, Any], fetch_note: Any, name_of: Any) -> str:
    """Write a recipe down for people: function, code, arguments, files."""
    code = str(recipe.get("code", ""))[:12]
    lines = [f"function  {recipe.get('function', '')}", f"code      {code}"]
    for name, entry in arguments_of(recipe).items():
        text = unless_secret(name, describe(entry, fetch_note, name_of))
        lines.append(f"  {name} = {text}")
    for path, state in (recipe.get("files") or {}).items():
        lines.append(f"  file {path} ({state[:40]})")
    for name in fields_of(recipe):
        if name != "recipe":
            lines.append(f"  {name}: {describe(recipe[name], fetch_note, name_of)}")
    return clean("\n".join(lines))


def details_as_html(reason: str, differences: Iterable[Difference]) -> str:
    """Return a reason with everything about it folded away below it; all of it escaped."""
    differences = list(differences)
    if not differences:
        return html.escape(reason)
    items = "".join(f"<li>{_item(difference)}</li>" for difference in differences)
    return f"<details><summary>{html.escape(reason)}</summary><ul>{items}</ul></details>"


def _item(difference: Difference) -> str:
    diff = f"<pre>{html.escape(difference.diff)}</pre>" if difference.diff else ""
    return html.escape(difference.line) + diff


def table_as_html(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; the cells are HTML already, the head is not."""
    first = "".join(f'<th style="{_STYLE}">{html.escape(name)}</th>' for name in head)
    cells = ("".join(f'<td style="{_STYLE}">{cell}</td>' for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>"
