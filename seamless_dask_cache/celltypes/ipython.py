"""What IPython adds to Python, and what it becomes in Python.

Line by line: %magic, !shell, help?, and the prefixes that quote or call: , ; / (source: IPython's
reference, https://ipython.readthedocs.io/en/stable/interactive/reference.html). IPython itself is
not asked: neither whether a buffer is valid nor what it becomes must depend on what is installed.
The calls are those that IPython makes of a cell before it runs it.
"""

from __future__ import annotations

import ast
import re
import warnings

_MAGIC_LINE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<code>[%!?,;/].*|[^#'\"\n]*\?{1,2}[ \t]*)$", re.MULTILINE
)
_MAGIC_ASSIGNMENT = re.compile(
    r"^(?P<target>[ \t]*[^=\n'\"#]+=[ \t]*)(?P<code>[%!](?!=).*)$", re.MULTILINE
)


def without_magics(text: str) -> str:
    """Return Python with the same blocks as an IPython cell, its magics replaced by ``pass``."""
    if text.lstrip().startswith("%%"):
        return ""
    return _MAGIC_ASSIGNMENT.sub(r"\g<target>None", _MAGIC_LINE.sub(r"\g<indent>pass", text))


def is_python(text: str) -> bool:
    """Tell whether an IPython cell is Python as it is."""
    return _wrong_line(text) is None


def to_python(text: str) -> str:
    """Turn the code of a valid IPython cell into Python.

    Lines inside of texts stay as they are, as long as Python tells which line is none of its own.
    """
    if text.lstrip().startswith("%%"):
        return _cell_magic(text.lstrip())
    lines = text.split("\n")
    at_once = _all_at_once(text, lines)
    if at_once is not None:
        return at_once
    while (number := _wrong_line("\n".join(lines))) is not None:
        translated = _translated(lines[number]) if number < len(lines) else None
        if translated is None:  # the line that is none is another one
            return "\n".join(_translated(line) or line for line in lines)
        lines[number] = translated
    return "\n".join(lines)


def check_python(text: str) -> ast.Module:
    """Parse Python; what it is only warned of is no error, whatever warnings are made to be.

    Raises
    ------
    SyntaxError, ValueError, RecursionError, MemoryError
        As `ast.parse` does.
    """
    try:
        return ast.parse(text, filename="<cell>")
    except SyntaxError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, filename="<cell>")


def _all_at_once(text: str, lines: list[str]) -> str | None:
    """Translate each line that looks like a magic and is not inside of a text.

    None if that gives no Python: then one of them is something else.
    """
    try:
        tree = check_python(without_magics(text))
    except SyntaxError:
        return None
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.JoinedStr))
    inside = {n for node in texts for n in range(node.lineno, node.end_lineno or node.lineno)}
    found = "\n".join(
        line if number in inside else _translated(line) or line for number, line in enumerate(lines)
    )
    return found if is_python(found) else None


def _wrong_line(text: str) -> int | None:
    """Give the index of the line that is no Python; None if all are."""
    try:
        check_python(text)
    except SyntaxError as error:
        return (error.lineno or 1) - 1
    return None


def _translated(line: str) -> str | None:
    """Give the Python of a line that only IPython knows; None for others."""
    assignment = _MAGIC_ASSIGNMENT.match(line)
    if assignment is not None:
        code = assignment["code"]
        call = _line_magic(code[1:]) if code[0] == "%" else _call("getoutput", code[1:].strip())
        return assignment["target"] + call
    magic = _MAGIC_LINE.match(line)
    return None if magic is None else magic["indent"] + _statement(magic["code"].rstrip())


def _statement(code: str) -> str:
    if code.startswith("%"):
        return _line_magic(code[1:])
    if code.startswith("!!"):
        return _call("getoutput", code[2:].strip())
    if code.startswith("!"):
        return _call("system", code[1:].strip())
    if code.startswith("?") or code.endswith("?"):
        return _help(code)
    return _quoted(code)


def _line_magic(code: str) -> str:
    name, _, rest = code.partition(" ")
    return _call("run_line_magic", name.strip(), rest.strip())


def _cell_magic(text: str) -> str:
    first, _, body = text.partition("\n")
    name, _, rest = first[2:].partition(" ")
    return _call("run_cell_magic", name, rest.strip(), body + "\n" * bool(body))


def _help(code: str) -> str:
    name = code.strip("? \t")
    if not name:
        return "get_ipython().show_usage()"
    magic = "psearch" if "*" in name else "pinfo2" if "??" in code else "pinfo"
    return _call("run_line_magic", magic, name)


def _quoted(code: str) -> str:
    """Call a function with texts (, one for each word; ; one for all) or with what is named (/)."""
    name, _, rest = code[1:].strip().partition(" ")
    words = rest.split()
    if code[0] == ",":
        words = [_text(word) for word in words]
    elif code[0] == ";":
        words = [_text(rest)]
    return f"{name}({', '.join(words)})"


def _text(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _call(method: str, *arguments: str) -> str:
    return f"get_ipython().{method}({', '.join(map(repr, arguments))})"
