"""What makes two tasks the same: checksums of code and of values.

Everything here is deterministic across processes, hash seeds and ways of shipping code. What has no
certain identity is refused, never guessed.
"""

from .code import CodeIdentity, Identifier, ValueIdentity, code_checksum, value_checksum
from .content import File
from .effects import KINDS as EFFECT_KINDS
from .effects import Effect
from .objects import register_identity

__all__ = [
    "EFFECT_KINDS",
    "CodeIdentity",
    "Effect",
    "File",
    "Identifier",
    "ValueIdentity",
    "code_checksum",
    "register_identity",
    "value_checksum",
]
