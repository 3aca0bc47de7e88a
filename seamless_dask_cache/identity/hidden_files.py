"""Files that compiled code opens or looks at, under a path that is put together where it is used.

What Python code opens is seen while it runs; what compiled code opens (Arrow, HDF5) and questions
about a file (``os.path.exists``) raise no audit event. Their path is known all the same where it is
a parameter, a constant, a global, or an item or attribute of one: its value stands in the identity,
and the state of what lies there with it. A path that an expression puts together (an f-string,
``+``, ``os.path.join``, ``Path / name``, a call) stands nowhere, so reading it so is an effect.
So is SQL that attaches another database to one that was opened in Python.

Not told apart: a path that branches give, that a loop takes from a list made in place, that an
attribute was set to, or that is handed on to a helper which reads it.
"""

from __future__ import annotations

import dis
import os
import re
from collections.abc import Callable, Iterator

from .bytecode import CodeFacts
from .opcodes import (
    ATTRIBUTE,
    CALLS,
    DEREF,
    FAST,
    FAST_FAST,
    GLOBAL,
    NAME,
    NOTHING,
    STORE_DEREF,
    STORE_FAST,
    STORE_LOAD,
    STORE_NAME,
    STORE_STORE,
    SUBSCRIPT,
    Instruction,
    first_name,
    name_of,
)
from .references import Argument, Call, Reference

Names = Callable[[Reference], list[str]]


def _table(names: dict[str, str]) -> dict[str, frozenset[str]]:
    return {package: frozenset(text.split()) for package, text in names.items()}


_OS_PATH = (
    "exists lexists isfile isdir islink ismount getsize getmtime getctime getatime samefile"
    " isjunction"
)
_BLIND = _table(
    {
        "os": "stat lstat access readlink",
        "posixpath": _OS_PATH,
        "genericpath": _OS_PATH,
        "ntpath": _OS_PATH,
        "nt": _OS_PATH,
        "pandas": "read_parquet read_feather read_orc read_hdf HDFStore",
        "pyarrow": "read_table read_pandas read_schema read_metadata ParquetFile ParquetDataset"
        " dataset parquet_dataset read_feather read_csv open_csv read_json ORCFile memory_map"
        " OSFile input_stream open_file open_stream",
        "h5py": "File",
        "netCDF4": "Dataset MFDataset",
        "tables": "open_file",
        "xarray": "open_dataset open_mfdataset open_dataarray open_datatree load_dataset"
        " load_dataarray",
        "rasterio": "open",
        "fiona": "open",
        "geopandas": "read_file read_parquet read_feather",
        "pyogrio": "read_dataframe read_info",
        "cv2": "imread VideoCapture",
        "osgeo": "Open OpenEx",
        "polars": "read_parquet read_csv read_ipc read_json read_ndjson read_avro read_delta"
        " read_excel scan_parquet scan_csv scan_ipc scan_ndjson scan_delta",
        "duckdb": "connect read_parquet read_csv read_json sql query",
        "pyreadstat": "read_sas7bdat read_sav read_dta read_xport",
        "soundfile": "read SoundFile info",
        "pysam": "AlignmentFile VariantFile FastaFile TabixFile",
        "SimpleITK": "ReadImage",
        "lightgbm": "Booster",
        "fastparquet": "ParquetFile",
        "torchaudio": "load",
        "torchvision": "read_image read_video",
    }
)
_BLIND_METHODS = frozenset(
    ("exists", "is_file", "is_dir", "is_symlink", "stat", "lstat", "samefile", "load_model")
)
_EXECUTING = frozenset(("execute", "executemany", "executescript"))
_ATTACH = re.compile(
    r"(?:^|;)\s*ATTACH\b(?!\s+(?:DATABASE\s+)?['\"](?::memory:)?['\"])", re.IGNORECASE
)
_PATH_KEYWORDS = (
    *("path", "path_or_paths", "path_or_buf", "filepath_or_buffer", "filename", "filename_or_obj"),
    *("fname", "name", "source", "file", "paths", "where", "model_file", "database"),
)
_SAME_PATH = {
    *("builtins.str", "builtins.list", "builtins.tuple", "builtins.sorted", "os.fspath"),
    *("os.fsdecode", "os.fsencode", "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePath"),
    *("pathlib._local.Path", "pathlib._local.PurePath", "upath.UPath", "upath.core.UPath"),
    *(
        f"{module}.{name}"
        for module in ("posixpath", "ntpath")
        for name in ("abspath", "realpath", "normpath", "expanduser")
    ),
    *("seamless_dask_cache.File", "seamless_dask_cache.identity.content.File"),
}
_SAME_PATH_METHODS = {"resolve", "absolute", "expanduser", "as_posix", "__fspath__", "strip"}
_PATH_MAKERS = {"joinpath", "with_suffix", "with_name", "with_stem", "relative_to"}
_PATH_CLASSES = {"Path", "PosixPath", "PurePath", "UPath"}
_NO_PATH = {"open", "BytesIO", "StringIO", "py_buffer", "BufferReader", "PythonFile", "GzipFile"}
_NO_PATH_METHODS = _NO_PATH | {
    "encode",
    "read",
    "getvalue",
    "tobytes",
    "to_pybytes",
    "open_input_file",
}
_MAKING = {
    *("BUILD_STRING", "FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC", "BINARY_SLICE"),
    *(
        f"{how}_{what}"
        for how in ("BINARY", "INPLACE")
        for what in ("ADD", "MODULO", "TRUE_DIVIDE")
    ),
}
_DIVIDING = {"BINARY_TRUE_DIVIDE", "INPLACE_TRUE_DIVIDE"}
_BUILDING = {"BUILD_LIST", "BUILD_TUPLE", "BUILD_SET"}
_DIVISIONS = {11, 24}
_NO_ARITHMETIC = {26}  # from 3.14 on, a subscript is one of the binary operations
_STORES = {STORE_FAST, STORE_NAME, STORE_DEREF, STORE_LOAD, STORE_STORE}
_LOADS = {FAST, FAST_FAST, DEREF, NAME}


def reads_blindly(names: list[str]) -> bool:
    """Tell whether a name is a reader whose files no audit event shows.

    Parameters
    ----------
    names : list of str
        Dotted names of one object.
    """
    return any(name.rpartition(".")[2] in _BLIND.get(name.partition(".")[0], ()) for name in names)


def asks_blindly(attribute: str) -> bool:
    """Tell whether a method asks about a file, or may open one, without an audit event."""
    return attribute in _BLIND_METHODS or attribute in _EXECUTING


def path_argument(call: Call) -> Argument | None:
    """Give the argument of a reader that is the path."""
    if call.positional:
        return call.positional[0]
    return next((call.keywords[name] for name in _PATH_KEYWORDS if name in call.keywords), None)


def made_in_place(name: str) -> str:
    """Describe the effect of reading a path that nothing shows, and what to do."""
    if name.removeprefix(".") in _EXECUTING:
        return f"{name} of ATTACH, which opens another database unheard"
    return (
        f"{name} of a path that is put together in the code (pass the path itself, or a File, or"
        " name it in cached(files=...))"
    )


class PathOrigins:
    """Where the paths in one code object come from.

    Parameters
    ----------
    facts : CodeFacts
        The code.
    around : list of CodeFacts
        The code that encloses it, and its own: where variables that it shares are set.
    names_of : callable
        Gives the dotted names of a reference.
    """

    def __init__(self, facts: CodeFacts, around: list[CodeFacts], names_of: Names) -> None:
        self.facts = facts
        self.around = around
        self.names_of = names_of
        self.steps = facts.instructions
        self._calls: dict[int, tuple[Reference, Call]] | None = None
        self._asked: set[str] = set()

    def is_made(self, argument: Argument) -> bool:
        """Tell whether an argument is put together in this code."""
        if argument.kind == "computed":
            return self._makes(argument.position, certain=False)
        if argument.kind in ("local", "free"):
            return self._variable(argument.value, certain=False)
        return False

    def is_made_path(self, position: int) -> bool:
        """Tell whether the object of a method is certainly a path that the code puts together.

        For a method that executes SQL: whether the code has SQL that attaches a database.

        Parameters
        ----------
        position : int
            Where the expression ends that gives the object; the method's name follows.
        """
        if position >= 0 and name_of(self.facts.code, self.steps[position + 1]) in _EXECUTING:
            return any(_ATTACH.search(text) for facts in self.around for text in facts.texts)
        return position >= 0 and self._makes(position, certain=True)

    def _makes(self, position: int, certain: bool) -> bool:
        while position > 0 and self.steps[position].kind == NOTHING:
            position -= 1
        step = self.steps[position]
        if step.opcode in CALLS:
            return self._call(position, certain)
        if step.kind in _LOADS:
            return any(self._variable(name, certain) for name in self._names(step))
        if step.kind == ATTRIBUTE:
            return name_of(self.facts.code, step) == "parent"
        if step.kind == SUBSCRIPT:
            return not certain and self._is_slice_or_environment(position)
        return self._operation(position, certain)

    def _is_slice_or_environment(self, position: int) -> bool:
        if dis.opname[self.steps[position - 1].opcode] == "BUILD_SLICE":
            return True
        container = self.steps[position - 2]
        named = container.kind in (ATTRIBUTE, GLOBAL)
        return named and name_of(self.facts.code, container) in ("environ", "environb")

    def is_nowhere(self, call: Call) -> bool:
        """Tell whether a file is opened that keeps nothing, the null device."""
        path = path_argument(call)
        if path is None or path.kind == "constant":
            return path is not None and path.value == os.devnull
        step = self.steps[path.position]
        return step.kind == ATTRIBUTE and name_of(self.facts.code, step) == "devnull"

    def _names(self, step: Instruction) -> Iterator[str]:
        yield name_of(self.facts.code, step)
        if step.kind == FAST_FAST:
            yield first_name(self.facts.code, step)

    def _operation(self, position: int, certain: bool) -> bool:
        step = self.steps[position]
        name = dis.opname[step.opcode]
        if name == "BINARY_OP":
            makes = step.argument not in _NO_ARITHMETIC
            return step.argument in _DIVISIONS if certain else makes
        if name == "CALL_FUNCTION_EX":
            return not certain
        if name in _BUILDING:
            return not certain and self._builds(position, step.argument)
        return name in (_DIVIDING if certain else _MAKING)

    def _builds(self, position: int, count: int) -> bool:
        while count > 0:
            position -= 1
            if position < 0 or not _is_load(self.steps[position]):
                return True
            if self._makes(position, certain=False):
                return True
            count -= 2 if self.steps[position].kind == FAST_FAST else 1
        return False

    def _variable(self, name: str, certain: bool) -> bool:
        if name in self._asked:
            return False
        self._asked.add(name)
        try:
            return any(
                origins._makes(position - 1, certain)
                for origins in self._setters(name)
                for position in origins._stores(name)
            )
        finally:
            self._asked.discard(name)

    def _setters(self, name: str) -> Iterator[PathOrigins]:
        yield self
        if name in self.facts.code.co_freevars:
            for facts in self.around:
                if facts is not self.facts and name in facts.code.co_cellvars:
                    origins = PathOrigins(facts, self.around, self.names_of)
                    origins._asked = self._asked
                    yield origins

    def _stores(self, name: str) -> Iterator[int]:
        for position, step in enumerate(self.steps):
            if step.kind in _STORES and position > 0 and name in self._stored(step):
                yield position

    def _stored(self, step: Instruction) -> tuple[str, ...]:
        first = name_of(self.facts.code, step)
        if step.kind == STORE_LOAD:
            return (first_name(self.facts.code, step),)
        return (first_name(self.facts.code, step),) if step.kind == STORE_STORE else (first,)

    def _call(self, position: int, certain: bool) -> bool:
        reference, call = self._called().get(position, (None, None))
        if reference is None or call is None:
            return not certain
        method = reference.attributes[-1] if reference.attributes else ""
        names = self.names_of(reference)
        last = {name.rpartition(".")[2] for name in names}
        if method in _SAME_PATH_METHODS and not call.positional:
            return self._makes(reference.position - 1, certain)
        if not _SAME_PATH.isdisjoint(names) and len(call.positional) == 1:
            return self.is_made(call.positional[0])
        if method in _NO_PATH_METHODS or not _NO_PATH.isdisjoint(last):
            return False
        return not certain or method in _PATH_MAKERS or not _PATH_CLASSES.isdisjoint(last)

    def _called(self) -> dict[int, tuple[Reference, Call]]:
        if self._calls is None:
            self._calls = {}
            for reference in self.facts.references:
                call = self.facts.call_of(reference)
                if call is not None:
                    self._calls[call.position] = reference, call
        return self._calls


def _is_load(step: Instruction) -> bool:
    return dis.opname[step.opcode].startswith("LOAD_") and step.kind != ATTRIBUTE
