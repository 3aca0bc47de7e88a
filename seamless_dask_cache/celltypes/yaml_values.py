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


def load_yaml(text: str) -> Any:
    """Parse YAML of one document into what JSON has.

    Raises
    ------
    ValueError
        It is no YAML, or a date or number in it cannot be.
    RecursionError
        It refers to itself, or is nested too deeply.
    """
    with contextlib.suppress(CellTypeError):
        return plain.deserialize(text.encode())
    import yaml

    try:
        return _as_json(yaml.load(text, Loader=_loader()))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


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


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, set):
        return dict.fromkeys(value)
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, datetime.date):  # a datetime is one, too
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _key(key: Any) -> str:
    converted = _as_json(key)
    if isinstance(converted, str):
        return converted
    return json.dumps(converted, ensure_ascii=False, separators=(",", ":"))
