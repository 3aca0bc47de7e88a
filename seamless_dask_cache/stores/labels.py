"""What a track is called."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, order=True)
class TrackLabel:
    """What a track is called.

    Parameters
    ----------
    name : str
        Not empty.

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> str(TrackLabel("genes"))
    'genes'
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"a track label is a str, not {self.name!r:.80}")
        if not self.name:
            raise ValueError("a track label must not be empty")

    def __str__(self) -> str:
        return self.name


def checked_label(label: TrackLabel | str) -> TrackLabel:
    """Return a label of a label or its name.

    Parameters
    ----------
    label : TrackLabel or str

    Returns
    -------
    TrackLabel

    Raises
    ------
    TypeError, ValueError
        As TrackLabel does.

    Examples
    --------
    >>> checked_label("genes")
    TrackLabel(name='genes')
    """
    return label if isinstance(label, TrackLabel) else TrackLabel(label)
