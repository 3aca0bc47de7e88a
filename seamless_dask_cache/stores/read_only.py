"""A dict that never changes."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ReadOnlyDict(dict[K, V]):
    """A dict that refuses every change; unlike a mapping proxy it can be pickled and copied.

    Parameters
    ----------
    As for dict.

    Raises
    ------
    TypeError
        For whatever would change it.

    Notes
    -----
    Being a dict, it becomes JSON, and what `dataclasses.asdict` takes for one. Its values are not
    copied.

    Examples
    --------
    >>> lengths = ReadOnlyDict(chr1=7)
    >>> lengths | {"chr2": 5}
    {'chr1': 7, 'chr2': 5}
    >>> lengths["chr1"] = 8
    Traceback (most recent call last):
        ...
    TypeError: this dict cannot be changed: take dict(...) of it
    """

    def _refuse(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError("this dict cannot be changed: take dict(...) of it")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)
