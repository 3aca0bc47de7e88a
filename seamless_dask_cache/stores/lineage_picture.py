"""A lineage as a picture, drawn by Graphviz.

Source of the language and of its quoting: https://graphviz.org/doc/info/lang.html, and
https://graphviz.org/docs/attr-types/escString for what a backslash means in labels.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.whole_files import write_whole

if TYPE_CHECKING:
    from graphviz import Source

    from seamless_dask_cache.stores.lineage import Ancestor, Lineage

LONGEST_LINE = 200
"""Characters of a line in a box."""

_NO_PACKAGE = (
    "drawing needs the Python package graphviz: install it with"
    " pip install 'seamless-dask-cache[graphviz]', and Graphviz itself with your system"
)
_NO_PROGRAM = (
    "drawing needs the program dot of Graphviz: install Graphviz with your system, such as"
    " apt install graphviz, brew install graphviz or conda install graphviz"
)


def dot_source(lineage: Lineage) -> str:
    """Return a lineage in the DOT language.

    Parameters
    ----------
    lineage : Lineage

    Returns
    -------
    str
        Boxes with the ids of the ancestors as ``id``, arrows from inputs to results.

    Examples
    --------
    >>> from seamless_dask_cache.stores.lineage import Ancestor, Lineage
    >>> "dashed" in dot_source(Lineage("1", {"1": Ancestor("1", "?")}))
    True
    """
    names = {id: f"n{number}" for number, id in enumerate(lineage.nodes)}
    boxes = (_box(names[id], one) for id, one in lineage.nodes.items())
    arrows = (f"{names[source]} -> {names[made]};" for source, made in lineage.edges)
    lines = ("rankdir=BT;", 'node [shape=box, fontname="sans-serif"];', *boxes, *arrows)
    return "\n".join(("digraph lineage {", *(f"  {line}" for line in lines), "}"))


def quoted(text: str) -> str:
    r"""Return text as a string of the DOT language that is shown as it is.

    Examples
    --------
    >>> print(quoted('say "a\\b" & {c}'))
    "say \"a\\b\" &amp; {c}"
    """
    # Graphviz reads entities such as &lt; in every text, and XML has no control characters.
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    escaped = shown.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return '"' + escaped.replace("\n", "\\n") + '"'


def visualize(
    source: str, filename: str | os.PathLike[str] | None, format: str | None
) -> Path | Source:
    """Draw a picture into a file, or for a notebook; see `Lineage.visualize`.

    Examples
    --------
    >>> visualize("digraph {}", "empty.svg", None)  # doctest: +SKIP
    PosixPath('empty.svg')
    """
    if filename is None:
        drawn = _drawing(source, format or "svg")
        _render(drawn)  # what is missing is told here, not in the notebook's display
        return drawn
    path = Path(filename)
    kind = (format or path.suffix[1:] or "svg").lower()
    if path.suffix[1:].lower() != kind:
        path = path.with_name(f"{path.name}.{kind}")
    write_whole(path, [_render(_drawing(source, kind))])
    return path


def svg(source: str) -> str:
    """Return a picture as SVG.

    Raises
    ------
    RuntimeError
        When the package or the program is missing.

    Examples
    --------
    >>> svg("digraph {}")  # doctest: +SKIP
    '<?xml ...'
    """
    return _render(_drawing(source, "svg")).decode()


def _drawing(source: str, format: str) -> Any:
    try:
        import graphviz
    except ImportError as error:
        raise RuntimeError(_NO_PACKAGE) from error
    return graphviz.Source(source, format=format)


def _render(drawing: Any) -> bytes:
    from graphviz import CalledProcessError, ExecutableNotFound

    try:
        content: bytes = drawing.pipe()
    except ExecutableNotFound as error:
        raise RuntimeError(_NO_PROGRAM) from error
    except CalledProcessError as error:
        said = (error.stderr or b"").decode(errors="replace").strip()
        raise RuntimeError(f"dot could not draw this: {said}") from error
    return content


def _box(name: str, one: Ancestor) -> str:
    lines = [one.title, one.made_by] if one.is_known else ["not in the store", one.id]
    label = quoted("\n".join(_shortened(line) for line in lines if line))
    style = "" if one.is_known else ", style=dashed"
    return f"{name} [label={label}, id={quoted(one.id)}, tooltip={quoted(one.id)}{style}];"


def _shortened(text: str) -> str:
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"
