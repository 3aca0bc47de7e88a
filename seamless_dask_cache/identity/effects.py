"""The table of names whose use makes a function impure, and how a visible call changes the verdict.

A *reference* counts, not only a call: a clock can be passed on as a callback. Names are canonical
dotted names; the caller tries the name as written (``np.random.rand``) and as the object says it is
called (``numpy.random.mtrand.RandomState.rand``).
"""

from __future__ import annotations

from dataclasses import dataclass

from .references import Argument, Call

CLOCK = "clock"
RANDOM = "random"
UUID = "uuid"
SECRETS = "secrets"
INPUT = "input"
PROCESS_STATE = "process-state"
DYNAMIC_CODE = "dynamic code"
ENVIRONMENT = "environment"
COORDINATION = "coordination"
WRITE = "write"
PROCESS = "process"
NETWORK = "network"

KINDS = frozenset(
    {
        CLOCK,
        RANDOM,
        UUID,
        SECRETS,
        INPUT,
        PROCESS_STATE,
        DYNAMIC_CODE,
        ENVIRONMENT,
        COORDINATION,
        WRITE,
        PROCESS,
        NETWORK,
    }
)
"""Every class of effects; what ``allow_effects`` may name."""


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


def _names(kind: str, prefix: str, names: str) -> dict[str, str]:
    return {f"{prefix}.{name}": kind for name in names.split()}


_TABLE: dict[str, str] = {
    **_names(
        CLOCK,
        "time",
        "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time"
        " process_time_ns thread_time thread_time_ns clock_gettime clock_gettime_ns",
    ),
    **_names(CLOCK, "datetime.datetime", "now utcnow today"),
    "datetime.date.today": CLOCK,
    **_names(CLOCK, "pandas.Timestamp", "now utcnow today"),
    **_names(CLOCK, "pandas.Period", "now"),
    **_names(CLOCK, "pandas._libs.tslibs.timestamps.Timestamp", "now utcnow today"),
    **_names(CLOCK, "timeit", "default_timer timeit repeat"),
    **_names(
        RANDOM,
        "random",
        "betavariate binomialvariate choice choices expovariate gammavariate gauss getrandbits"
        " getstate lognormvariate normalvariate paretovariate randbytes randint random randrange"
        " sample seed setstate shuffle triangular uniform vonmisesvariate weibullvariate"
        " SystemRandom _inst",
    ),
    **_names(UUID, "uuid", "uuid1 uuid4 uuid6 uuid7 uuid8 getnode"),
    **_names(SECRETS, "os", "urandom getrandom"),
    "ssl.RAND_bytes": SECRETS,
    **_names(INPUT, "builtins", "input breakpoint"),
    **_names(INPUT, "sys", "stdin"),
    "getpass.getpass": INPUT,
    "dask.config.get": ENVIRONMENT,
    **_names(PROCESS_STATE, "builtins", "id hash"),
    **_names(
        PROCESS_STATE, "os", "getpid getppid getlogin uname times getloadavg getcwd getcwdb getuid"
    ),
    **_names(
        PROCESS_STATE,
        "threading",
        "get_ident get_native_id current_thread main_thread active_count enumerate",
    ),
    **_names(PROCESS_STATE, "_thread", "get_ident get_native_id"),
    **_names(PROCESS_STATE, "socket", "gethostname getfqdn"),
    **_names(PROCESS_STATE, "platform", "node uname"),
    **_names(PROCESS_STATE, "multiprocessing", "current_process parent_process"),
    **_names(PROCESS_STATE, "multiprocessing.process", "current_process parent_process"),
    "getpass.getuser": PROCESS_STATE,
    **_names(DYNAMIC_CODE, "builtins", "eval exec compile globals locals vars __import__"),
    **_names(DYNAMIC_CODE, "importlib", "import_module reload __import__"),
    **_names(DYNAMIC_CODE, "sys", "_getframe modules"),
    **_names(DYNAMIC_CODE, "inspect", "currentframe stack"),
    **_names(ENVIRONMENT, "os", "environ environb getenv getenvb putenv unsetenv"),
    **_names(
        WRITE,
        "os",
        "remove unlink rename renames replace rmdir removedirs mkdir makedirs link symlink truncate"
        " chmod chown utime mkfifo chdir",
    ),
    **_names(WRITE, "shutil", "rmtree copy copy2 copyfile copytree move make_archive"),
    **_names(WRITE, "numpy", "save savez savez_compressed savetxt"),
    **_names(
        PROCESS,
        "os",
        "system popen fork forkpty execv execve execl execle execlp execvp execvpe spawnl spawnv"
        " spawnlp spawnvp posix_spawn posix_spawnp kill killpg _exit abort",
    ),
    **_names(PROCESS, "multiprocessing", "Process Pool"),
    **_names(NETWORK, "socket", "socket create_connection create_server getaddrinfo gethostbyname"),
}

_COORDINATORS = {
    "variable.Variable": COORDINATION,
    "queues.Queue": COORDINATION,
    "event.Event": COORDINATION,
    "multi_lock.MultiLock": COORDINATION,
    "semaphore.Semaphore": COORDINATION,
    "pubsub.Pub": COORDINATION,
    "pubsub.Sub": COORDINATION,
    "worker.get_worker": PROCESS_STATE,
    "worker.get_client": COORDINATION,
    "worker_client.worker_client": COORDINATION,
}
for _place, _kind in _COORDINATORS.items():
    _TABLE[f"distributed.{_place}"] = _kind
    for _package in ("distributed", "dask.distributed"):
        _TABLE[f"{_package}.{_place.partition('.')[2]}"] = _kind

_PREFIXES = {
    "secrets.": SECRETS,
    "subprocess.": PROCESS,
    "_posixsubprocess.": PROCESS,
    "requests.": NETWORK,
    "httpx.": NETWORK,
    "aiohttp.": NETWORK,
    "urllib3.": NETWORK,
    "urllib.request.": NETWORK,
    "http.client.": NETWORK,
    "ftplib.": NETWORK,
    "smtplib.": NETWORK,
    "telnetlib.": NETWORK,
    "imaplib.": NETWORK,
    "poplib.": NETWORK,
    "xmlrpc.client.": NETWORK,
}

_HARMLESS = {
    "secrets.compare_digest",
    "subprocess.list2cmdline",
    "subprocess.CalledProcessError",
    "subprocess.SubprocessError",
    "subprocess.TimeoutExpired",
    "requests.exceptions",
    "requests.RequestException",
}

_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64", "SeedSequence")
_SEEDED = {
    "random.Random": "x",
    "numpy.random.default_rng": "seed",
    "numpy.random._generator.default_rng": "seed",
    "numpy.random.RandomState": "seed",
    "numpy.random.mtrand.RandomState": "seed",
    **{f"numpy.random.{name}": "seed" for name in _BIT_GENERATORS[:-1]},
    **{f"numpy.random._{name.lower()}.{name}": "seed" for name in _BIT_GENERATORS[:-1]},
    "numpy.random._pcg64.PCG64DXSM": "seed",
    "numpy.random.SeedSequence": "entropy",
    "numpy.random.bit_generator.SeedSequence": "entropy",
}
"""Constructors that are random only without a seed, and the name of the seed's parameter."""

_LEGACY_NUMPY = "numpy.random."
_NEW_NUMPY = {"Generator", "BitGenerator", "RandomState", "bit_generator", "mtrand", "test"}

_NOW = {
    "numpy.datetime64",
    "pandas.Timestamp",
    "pandas.to_datetime",
    "pandas._libs.tslibs.timestamps.Timestamp",
    "pandas.core.tools.datetimes.to_datetime",
}
# Position of the argument without which these format the present moment.
_FORMATS_NOW = {
    "time.localtime": 0,
    "time.gmtime": 0,
    "time.ctime": 0,
    "time.asctime": 0,
    "time.strftime": 1,
}
_OPENERS = {"builtins.open", "io.open", "_io.open", "gzip.open", "bz2.open", "lzma.open"}
_BY_ATTRIBUTE = {
    "write_text": WRITE,
    "to_excel": WRITE,
    "to_orc": WRITE,
    "to_stata": WRITE,
    "touch": WRITE,
    "unlink": WRITE,
    "mkdir": WRITE,
    "write_bytes": WRITE,
    "to_parquet": WRITE,
    "to_pickle": WRITE,
    "to_feather": WRITE,
    "to_hdf": WRITE,
    "to_sql": WRITE,
    "savefig": WRITE,
    "tofile": WRITE,
}


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
    return next((_SEEDED[name] for name in names if name in _SEEDED), None)


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
        if name in _HARMLESS:
            return None
        kind = _TABLE.get(name) or _by_call(name, call) or _by_prefix(name)
        if kind is not None:
            return kind
    return None


def _by_prefix(name: str) -> str | None:
    if name.startswith(_LEGACY_NUMPY) and name not in _SEEDED:
        rest = name[len(_LEGACY_NUMPY) :].partition(".")[0]
        return None if rest in _NEW_NUMPY or rest.startswith("_") else RANDOM
    return next((kind for prefix, kind in _PREFIXES.items() if name.startswith(prefix)), None)


def _by_call(name: str, call: Call | None) -> str | None:
    if name in _NOW:
        first = call.argument(0, "ts_input") if call else None
        return CLOCK if first is not None and first.value in ("now", "today") else None
    if name in _FORMATS_NOW:
        given = call is not None and call.argument(_FORMATS_NOW[name], "t") is not None
        return None if given else CLOCK
    if name in _OPENERS:
        return WRITE if call is not None and _writes(call.argument(1, "mode")) else None
    return None


def _writes(mode: Argument | None) -> bool:
    if mode is None or not isinstance(mode.value, str) or mode.kind != "constant":
        return False
    return not set("wax+").isdisjoint(mode.value)


def attribute_effect(name: str, call: Call | None) -> tuple[str, str] | None:
    """Classify an attribute of an object that the code does not show.

    Parameters
    ----------
    name : str
        The attribute.
    call : Call, optional
        How it is called.

    Returns
    -------
    (kind, name) or None
        ``sample`` counts where only a dataframe's can be meant and no seed is given.
    """
    if name in _BY_ATTRIBUTE:
        return _BY_ATTRIBUTE[name], f".{name}"
    if name == "to_csv" and call is not None and _csv_target(call):
        return WRITE, ".to_csv"
    if name == "sample" and call is not None and _unseeded_sample(call):
        return RANDOM, ".sample without random_state"
    if name == "open" and call is not None and _writes(call.argument(0, "mode")):
        return WRITE, ".open"
    return None


def _csv_target(call: Call) -> bool:
    target = call.argument(0, "path_or_buf")
    return target is not None and not (target.kind == "constant" and target.value is None)


def _unseeded_sample(call: Call) -> bool:
    seeded = {"random_state", "seed", "k", "counts"} & set(call.keywords)
    return not seeded and len(call.positional) <= 1


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
    prefix = next((kind for name, kind in _PREFIXES.items() if name == f"{module}."), None)
    if prefix is not None:
        return [(prefix, module)]
    return [
        (kind, name)
        for name, kind in (*_TABLE.items(), *((name, RANDOM) for name in _SEEDED))
        if name.startswith(f"{module}.") and seen.issuperset(name[len(module) + 1 :].split("."))
    ]
