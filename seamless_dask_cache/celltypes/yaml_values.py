"""YAML values as JSON has them.

What JSON lacks becomes what comes closest (source: the YAML 1.1 types that PyYAML's safe loader
knows, https://yaml.org/type/): dates and times become ISO 8601 text, binary data Base64, sets dicts
with null, pairs lists, .nan and .inf the text that YAML writes; keys that are not text become the
JSON text of the key. Of two keys that become the same, the later wins, as of two equal ones.

YAML 1.2 contains JSON, but PyYAML reads 1.1, which lacks some of its characters, and numbers such
as 1e5: so what is JSON is read as that.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import math
from functools import cache
from typing import Any

from seamless_dask_cache.celltypes import plain
from seamless_dask_cache.errors import CellTypeError

MOST_OF_A_KEY = 1_000
"""Values in a key that is a list or a dict."""
MOST_VALUES = 1_000_000
"""Values that aliases may expand to, beyond those that are written out."""


def check_yaml(text: str) -> None:
    """Check that a text is YAML of one document.

    Raises
    ------
    ValueError
        It is not, or a date or number in it cannot be.
    """
    with contextlib.suppress(CellTypeError):
        plain.deserialize(text.encode())
        return
    _load(text)


def load_yaml(text: str) -> Any:
    """Parse YAML of one document into what JSON has.

    Raises
    ------
    ValueError
        As for `check_yaml`; or its aliases stand for more than `MOST_VALUES`, or for themselves.
    RecursionError
        It is nested too deeply.
    """
    with contextlib.suppress(CellTypeError):
        return plain.deserialize(text.encode())
    return _Expansion(MOST_VALUES + len(text)).as_json(_load(text))


def _load(text: str) -> Any:
    import yaml

    try:
        return yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except (LookupError, AttributeError, TypeError) as error:
        # What a constructor of PyYAML makes of ``!!int ""`` and its like.
        raise ValueError(f"a tag that its value does not fit ({error!r})") from None


@cache
def _loader() -> Any:
    """Make a loader whose keys are texts; Python's 1 and True would be one key."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            self.flatten_mapping(node)
            return {
                _key(self.construct_object(key, deep=True)): self.construct_object(value, deep=deep)
                for key, value in node.value
            }

    return Loader


class _Expansion:
    """Writes out what aliases stand for, as far as that is not too much.

    A list that is named twice is loaded once; ten levels of ten names each are a thousand million.

    Parameters
    ----------
    most : int
        Values, those in lists and dicts included.
    """

    def __init__(self, most: int):
        self._most = self._left = most

    def as_json(self, value: Any) -> Any:
        """Give a value of what JSON has."""
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"its aliases stand for more than {self._most} values")
        if isinstance(value, dict):
            return {key: self.as_json(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.as_json(item) for item in value]
        return dict.fromkeys(value) if isinstance(value, set) else _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, datetime.date):  # a datetime is one, too
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _key(key: Any) -> str:
    converted = _Expansion(MOST_OF_A_KEY).as_json(key)
    if isinstance(converted, str):
        return converted
    return json.dumps(converted, ensure_ascii=False, separators=(",", ":"))
