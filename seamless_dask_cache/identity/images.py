"""Pillow's images as canonical bytes: by class, format, mode, size, palette, info and pixels.

Their pickle leaves out how transparent the colours of a palette are, and holds a file's name where
an image was opened and not read yet.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

from ..errors import RefusedError
from .encoder import Encoder, Handler
from .literals import text
from .nodes import Piece


def find_handler(kind: type) -> Handler | None:
    """Give the handler of a type of images.

    Parameters
    ----------
    kind : type
        A class with a base whose module begins with ``PIL``.

    Returns
    -------
    callable or None
        ``None`` for what the general rule handles.
    """
    return _image if issubclass(kind, Image.Image) else None


def _image(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    encoder.container(value, out, _fill)


def _fill(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    if getattr(value, "is_animated", False):
        raise RefusedError("an image of several frames, which are read from its file on demand")
    content = value.tobytes()  # reads the file, which may add to the rest
    palette = value.palette
    out.append(b"t" + text("image"))
    encoder.encode(type(value), out)
    encoder.items((value.format, value.mode, value.size, dict(value.info), content), out)
    encoder.encode(None if palette is None else _palette(palette), out)


def _palette(palette: Any) -> tuple[Any, ...]:
    raw = palette.palette
    return palette.mode, palette.rawmode, None if raw is None else bytes(raw)
