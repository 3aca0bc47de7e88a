"""Expressions in strings that pandas evaluates: what they refer to outside of the function."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import Any

from .references import Call

EVALUATORS = frozenset(
    {
        "numexpr.evaluate",
        "numexpr.necompiler.evaluate",
        "pandas.core.computation.eval.eval",
        "pandas.eval",
    }
)
"""Functions that look up every name of an expression in the frames of their callers."""

METHODS = frozenset({"eval", "query"})
"""Methods of data frames that look up what stands behind an ``@`` there."""

# A text that ends with the sign may be continued by something computed.
_OUTER_NAME = re.compile(r"@\s*([A-Za-z_]\w*|$)")


def outer_name(expression: Any, texts: Iterable[str], local: Container[str]) -> str | None:
    """Give a name in an expression that is no variable of the function.

    Parameters
    ----------
    expression : object
        What is evaluated; ``...`` where that can't be seen.
    texts : iterable of str
        All strings of the function, which an expression that can't be seen may be made of.
    local : container of str
        Variables of the function.

    Returns
    -------
    str or None
        The first one.
    """
    seen = texts if expression is ... else [expression]
    words = (text for text in seen if isinstance(text, str))
    found = [name for text in words for name in _OUTER_NAME.findall(text)]
    return next((name or "something unseen" for name in found if name not in local), None)


def is_evaluation(name: str, call: Call | None) -> bool:
    """Tell whether a method may be one that evaluates an expression.

    Parameters
    ----------
    name : str
        The method.
    call : Call or None
        How it is called: without any argument it is another one.
    """
    return name in METHODS and (call is None or call.argument(0, "expr") is not None)
