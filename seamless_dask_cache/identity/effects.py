"""Which uses of names make a function impure, and how a visible call changes the verdict.

A *reference* counts, not only a call: a clock can be passed on as a callback. Names are canonical
dotted names; the caller tries the name as written (``np.random.rand``) and as the object says it is
called (``numpy.random.mtrand.RandomState.rand``).
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from .effect_names import (
    ATTRIBUTES,
    CLOCK,
    COORDINATION,
    DYNAMIC_CODE,
    ENVIRONMENT,
    GENERATOR_KEYWORDS,
    HARMLESS,
    HIDDEN_FILE,
    INPUT,
    KINDS,
    NAMES,
    NEED_GENERATOR,
    NETWORK,
    NOW,
    OPENERS,
    PREFIXES,
    PRESENT_WITHOUT,
    PROCESS,
    PROCESS_STATE,
    PROCESSES_UNLESS,
    RANDOM,
    SECRETS,
    SEEDED,
    SHOWN_WRITES,
    TEMPLATES,
    UNHEARD_OPENERS,
    UUID,
    WRITE,
    WRITES_TO_TARGET,
)
from .references import Argument, Call

__all__ = [
    "CLOCK",
    "COORDINATION",
    "DYNAMIC_CODE",
    "ENVIRONMENT",
    "HIDDEN_FILE",
    "INPUT",
    "KINDS",
    "NETWORK",
    "PROCESS",
    "PROCESS_STATE",
    "RANDOM",
    "SECRETS",
    "UUID",
    "WRITE",
    "Effect",
    "attribute_effect",
    "effect_kind",
    "module_effects",
    "seed_parameter",
    "shows_while_running",
]


@dataclass(frozen=True, slots=True)
class Effect:
    """One reason why a function can't be served from a cache.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    name : str
        Dotted name of what was reached, such as ``time.time``.
    path : str
        How it was reached: ``"f -> helper -> time.time"``.
    parameter : str or None
        The effect exists only if this parameter of the function is ``None``, as the seed in
        ``def f(x, seed=None): return default_rng(seed)``.
    """

    kind: str
    name: str
    path: str = ""
    parameter: str | None = None


_LEGACY_NUMPY = "numpy.random."
_NEW_NUMPY = {"Generator", "BitGenerator", "RandomState", "bit_generator", "mtrand", "test"}
_PACKAGES = {prefix.partition(".")[0] for prefix in PREFIXES}
_NEED_GENERATOR = {package: frozenset(names.split()) for package, names in NEED_GENERATOR.items()}
# Names that a string refers to, as pandas finds them: in the frames of its callers.
_OUTER_NAME = re.compile(r"@\s*([A-Za-z_]\w*)")


def seed_parameter(names: list[str]) -> str | None:
    """Tell whether a name is a generator that a seed makes harmless.

    Parameters
    ----------
    names : list of str
        Dotted names of one object.

    Returns
    -------
    str or None
        The name of its first parameter, the seed.
    """
    return next((SEEDED[name] for name in names if name in SEEDED), None)


def effect_kind(names: list[str], call: Call | None = None) -> str | None:
    """Classify a name that code refers to.

    Parameters
    ----------
    names : list of str
        Dotted names of one object, all that are known.
    call : Call, optional
        How it is called, where that can be seen.

    Returns
    -------
    str or None
        One of :data:`KINDS`, ``None`` for harmless names. Generators that take a seed are judged
        by :func:`seed_parameter` and the caller.
    """
    for name in names:
        if name in HARMLESS:
            return None
        kind = NAMES.get(name) or _by_call(name, call) or _by_prefix(name)
        if kind is not None:
            return kind
    return None


def _by_prefix(name: str) -> str | None:
    if name.startswith(_LEGACY_NUMPY) and name not in SEEDED:
        rest = name[len(_LEGACY_NUMPY) :].partition(".")[0]
        return None if rest in _NEW_NUMPY or rest.startswith("_") else RANDOM
    if name.partition(".")[0] not in _PACKAGES:
        return None
    return next((kind for prefix, kind in PREFIXES.items() if name.startswith(prefix)), None)


def _by_call(name: str, call: Call | None) -> str | None:
    if name in NOW:
        given = call.argument(0, "value") or call.argument(0, "ts_input") if call else None
        return CLOCK if given is not None and given.value in ("now", "today") else None
    if name in PRESENT_WITHOUT:
        given = call.argument(*PRESENT_WITHOUT[name]) if call is not None else None
        return CLOCK if given is None or _is_none(given) else None
    if name in OPENERS:
        return _by_mode(call, *OPENERS[name], name in UNHEARD_OPENERS)
    if name in TEMPLATES:
        return _by_template(call)
    if name in PROCESSES_UNLESS:
        said = {item.value for item in call.keywords.values()} if call is not None else set()
        return PROCESS if PROCESSES_UNLESS[name].isdisjoint(said) else None
    package, _, _ = name.partition(".")
    if name.rpartition(".")[2] in _NEED_GENERATOR.get(package, ()):
        return RANDOM if call is not None and not _has_generator(call) else None
    return None


def _by_mode(
    call: Call | None, position: int, keyword: str, default: bool, is_unheard: bool
) -> str | None:
    if call is None:
        return None
    mode = call.argument(position, keyword)
    if mode is None:
        return WRITE if default else None
    is_unseen = is_unheard and mode.kind != "constant"
    return WRITE if is_unseen or _writes(mode) else None


def _by_template(call: Call | None) -> str | None:
    template = call.argument(0, "path") if call is not None else None
    if template is None or template.kind != "constant":
        return ENVIRONMENT
    return ENVIRONMENT if set("$%").intersection(str(template.value)) else None


def _is_none(argument: Argument) -> bool:
    return argument.kind == "constant" and argument.value is None


def _writes(mode: Argument | None) -> bool:
    if mode is None or not isinstance(mode.value, str) or mode.kind != "constant":
        return False
    return not set("wax+").isdisjoint(mode.value)


def _has_generator(call: Call) -> bool:
    named = GENERATOR_KEYWORDS & set(call.keywords)
    return any(not _is_none(call.keywords[name]) for name in named)


def attribute_effect(
    name: str, call: Call | None, known: Container[str] = ()
) -> tuple[str, str] | None:
    """Classify an attribute of an object that the code does not show.

    Parameters
    ----------
    name : str
        The attribute.
    call : Call, optional
        How it is called.
    known : container of str
        Names of the variables of the function in which it is called.

    Returns
    -------
    (kind, name) or None
        ``sample`` counts where only a dataframe's can be meant and no seed is given.
    """
    if name in ATTRIBUTES:
        return ATTRIBUTES[name], f".{name}"
    if call is None:
        return None
    if name in WRITES_TO_TARGET and _has_target(call, WRITES_TO_TARGET[name]):
        return WRITE, f".{name}"
    if name == "sample" and _unseeded_sample(call):
        return RANDOM, ".sample without random_state"
    if name == "rvs" and not _has_generator(call):
        return RANDOM, ".rvs without random_state"
    if name == "open" and _writes(call.argument(0, "mode")):
        return WRITE, ".open"
    if name in ("query", "eval"):
        return _outer_names(name, call, known)
    return None


def _has_target(call: Call, keyword: str) -> bool:
    target = call.argument(0, keyword)
    return target is not None and not _is_none(target)


def _unseeded_sample(call: Call) -> bool:
    seeded = {"random_state", "seed", "k", "counts"} & set(call.keywords)
    return not seeded and len(call.positional) <= 1


def _outer_names(name: str, call: Call, known: Container[str]) -> tuple[str, str] | None:
    text = call.argument(0, "expr")
    if text is None or not isinstance(text.value, str) or text.kind != "constant":
        return None
    outer = [item for item in _OUTER_NAME.findall(text.value) if item not in known]
    return (DYNAMIC_CODE, f".{name} of the global {outer[0]}") if outer else None


def shows_while_running(name: str) -> bool:
    """Tell whether a write raises an audit event that says what is written.

    Parameters
    ----------
    name : str
        As an effect has it.
    """
    return name.startswith(("os.", "shutil.")) or name in SHOWN_WRITES


def module_effects(module: str, seen: frozenset[str]) -> list[tuple[str, str]]:
    """Classify a module that code passes on as an object.

    Parameters
    ----------
    module : str
        Its dotted name.
    seen : frozenset of str
        Attribute names and strings of the code: what it could look up.

    Returns
    -------
    list of (kind, name)
        Of a module of clocks or randomness, all; of a broad one only names that the code mentions.
    """
    if module in ("time", "timeit"):
        return [(CLOCK, module)]
    if module in ("random", "numpy.random"):
        return [(RANDOM, module)]
    prefix = next((kind for name, kind in PREFIXES.items() if name == f"{module}."), None)
    if prefix is not None:
        return [(prefix, module)]
    return [
        (kind, name)
        for name, kind in (*NAMES.items(), *((name, RANDOM) for name in SEEDED))
        if name.startswith(f"{module}.") and seen.issuperset(name[len(module) + 1 :].split("."))
    ]
