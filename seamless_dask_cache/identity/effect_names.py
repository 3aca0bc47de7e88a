"""The kinds of effects, and the names whose use is an effect.

Names are canonical dotted names. What compiled code does by itself (a database driver, a writer of
Arrow's) raises no audit event while it runs, so it has to stand here; what Python code does is seen
then as well, and stands here so that nothing has to run for it.
"""

from __future__ import annotations

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
HIDDEN_FILE = "hidden-file"

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
        HIDDEN_FILE,
    }
)
"""Every class of effects; what ``allow_effects`` may name."""


def _names(kind: str, prefix: str, names: str) -> dict[str, str]:
    return {f"{prefix}.{name}": kind for name in names.split()}


def _all(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


NAMES: dict[str, str] = {
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
    **_names(CLOCK, "pandas._libs.tslibs.period.Period", "now"),
    **_names(CLOCK, "timeit", "default_timer timeit repeat"),
    "email.utils.make_msgid": CLOCK,
    **_names(
        RANDOM,
        "random",
        "betavariate binomialvariate choice choices expovariate gammavariate gauss getrandbits"
        " getstate lognormvariate normalvariate paretovariate randbytes randint random randrange"
        " sample seed setstate shuffle triangular uniform vonmisesvariate weibullvariate"
        " SystemRandom _inst",
    ),
    **_names(
        RANDOM,
        "torch",
        "rand randn randint randperm rand_like randn_like randint_like normal multinomial bernoulli"
        " poisson seed initial_seed manual_seed",
    ),
    "tempfile.mktemp": RANDOM,
    **_names(UUID, "uuid", "uuid1 uuid4 uuid6 uuid7 uuid8 getnode"),
    **_names(SECRETS, "os", "urandom getrandom"),
    **_names(SECRETS, "ssl", "RAND_bytes RAND_pseudo_bytes"),
    "bcrypt.gensalt": SECRETS,
    "crypt.mksalt": SECRETS,
    **_names(INPUT, "builtins", "input breakpoint"),
    **_names(INPUT, "sys", "stdin __stdin__"),
    **_names(INPUT, "pandas", "read_clipboard"),
    "pandas.io.clipboards.read_clipboard": INPUT,
    "getpass.getpass": INPUT,
    "dask.config.get": ENVIRONMENT,
    **_names(PROCESS_STATE, "builtins", "id hash"),
    **_names(
        PROCESS_STATE,
        "os",
        "getpid getppid getpgid getpgrp getsid getlogin getuid geteuid getgid getegid getgroups"
        " uname times getloadavg getcwd getcwdb cpu_count process_cpu_count sched_getaffinity"
        " statvfs get_terminal_size umask nice",
    ),
    **_names(PROCESS_STATE, "sys", "argv orig_argv path executable getrefcount _current_frames"),
    **_names(PROCESS_STATE, "pathlib.Path", "cwd"),
    **_names(PROCESS_STATE, "pathlib._local.Path", "cwd"),
    **_names(PROCESS_STATE, "shutil", "disk_usage get_terminal_size which"),
    **_names(
        PROCESS_STATE,
        "threading",
        "get_ident get_native_id current_thread main_thread active_count enumerate",
    ),
    **_names(PROCESS_STATE, "_thread", "get_ident get_native_id"),
    **_names(PROCESS_STATE, "socket", "gethostname getfqdn"),
    **_names(
        PROCESS_STATE, "platform", "node uname platform release version machine processor system"
    ),
    **_names(PROCESS_STATE, "multiprocessing", "current_process parent_process cpu_count"),
    **_names(PROCESS_STATE, "multiprocessing.process", "current_process parent_process"),
    **_names(PROCESS_STATE, "locale", "getlocale setlocale localeconv getpreferredencoding"),
    **_names(PROCESS_STATE, "decimal", "getcontext setcontext"),
    **_names(PROCESS_STATE, "_decimal", "getcontext setcontext"),
    **_names(PROCESS_STATE, "pandas", "set_option get_option reset_option options"),
    **_names(PROCESS_STATE, "numpy", "seterr geterr set_printoptions get_printoptions"),
    **_names(PROCESS_STATE, "atexit", "register unregister"),
    **_names(PROCESS_STATE, "signal", "signal alarm setitimer raise_signal getsignal"),
    "getpass.getuser": PROCESS_STATE,
    **_names(DYNAMIC_CODE, "builtins", "eval exec compile globals __import__"),
    **_names(DYNAMIC_CODE, "importlib", "import_module reload __import__"),
    **_names(DYNAMIC_CODE, "sys", "_getframe modules"),
    **_names(DYNAMIC_CODE, "inspect", "currentframe stack trace"),
    **_names(DYNAMIC_CODE, "ctypes", "CDLL PyDLL cdll pydll pythonapi"),
    **_names(DYNAMIC_CODE, "numexpr", "evaluate re_evaluate"),
    **_names(ENVIRONMENT, "os", "environ environb getenv getenvb putenv unsetenv"),
    **_names(
        WRITE,
        "os",
        "remove unlink rename renames replace rmdir removedirs mkdir makedirs link symlink truncate"
        " chmod chown lchmod lchown utime mkfifo mknod chdir fchdir setxattr removexattr",
    ),
    **_names(WRITE, "shutil", "rmtree copy copy2 copyfile copytree move make_archive"),
    **_names(WRITE, "shutil", "copymode copystat chown unpack_archive"),
    **_names(WRITE, "numpy", "save savez savez_compressed savetxt"),
    **_names(WRITE, "joblib", "dump Memory"),
    "joblib.memory.Memory": WRITE,
    "joblib.numpy_pickle.dump": WRITE,
    **_names(WRITE, "torch", "save"),
    "torch.serialization.save": WRITE,
    **_names(WRITE, "shelve", "open"),
    **_names(WRITE, "dbm", "open"),
    **_names(WRITE, "pyarrow", "output_stream create_memory_map FileOutputStream"),
    "pyarrow.io.output_stream": WRITE,
    **_names(WRITE, "pyarrow.parquet", "write_table write_to_dataset write_metadata ParquetWriter"),
    **_names(
        WRITE, "pyarrow.parquet.core", "write_table write_to_dataset write_metadata ParquetWriter"
    ),
    **_names(WRITE, "pyarrow.feather", "write_feather"),
    **_names(WRITE, "pyarrow.dataset", "write_dataset"),
    **_names(WRITE, "pyarrow.csv", "write_csv CSVWriter"),
    **_names(WRITE, "pyarrow.orc", "write_table ORCWriter"),
    **_names(WRITE, "cv2", "imwrite VideoWriter"),
    **_names(WRITE, "pandas", "ExcelWriter to_pickle"),
    "soundfile.write": WRITE,
    **_names(
        PROCESS,
        "os",
        "system popen fork forkpty execv execve execl execle execlp execvp execvpe spawnl spawnv"
        " spawnle spawnve spawnlp spawnvp posix_spawn posix_spawnp kill killpg _exit abort",
    ),
    **_names(PROCESS, "multiprocessing", "Process Pool get_context"),
    **_names(PROCESS, "concurrent.futures", "ProcessPoolExecutor"),
    "concurrent.futures.process.ProcessPoolExecutor": PROCESS,
    **_names(PROCESS, "asyncio", "create_subprocess_exec create_subprocess_shell"),
    **_names(PROCESS, "asyncio.subprocess", "create_subprocess_exec create_subprocess_shell"),
    **_names(NETWORK, "socket", "socket create_connection create_server getaddrinfo gethostbyname"),
    **_names(NETWORK, "socket", "gethostbyaddr getnameinfo socketpair"),
    **_names(NETWORK, "asyncio", "open_connection start_server open_unix_connection"),
    **_names(NETWORK, "asyncio.streams", "open_connection start_server open_unix_connection"),
    **_names(NETWORK, "pandas", "read_gbq"),
    **_names(NETWORK, "sqlalchemy", "create_engine"),
    "sqlalchemy.engine.create.create_engine": NETWORK,
    "dask.dataframe.io.sql._read_sql_chunk": NETWORK,
    **_names(COORDINATION, "multiprocessing", "Queue Manager Value Array shared_memory"),
}
"""Kind of effect by dotted name."""

_COORDINATORS = {
    "variable.Variable": COORDINATION,
    "queues.Queue": COORDINATION,
    "event.Event": COORDINATION,
    "multi_lock.MultiLock": COORDINATION,
    "semaphore.Semaphore": COORDINATION,
    "pubsub.Pub": COORDINATION,
    "pubsub.Sub": COORDINATION,
    "client.Client": COORDINATION,
    "client.get_client": COORDINATION,
    "client.default_client": COORDINATION,
    "worker.get_worker": PROCESS_STATE,
    "worker.get_client": COORDINATION,
    "worker.print": COORDINATION,
    "worker.warn": COORDINATION,
    "worker_client.worker_client": COORDINATION,
}
for _place, _kind in _COORDINATORS.items():
    NAMES[f"distributed.{_place}"] = _kind
    for _package in ("distributed", "dask.distributed"):
        NAMES[f"{_package}.{_place.partition('.')[2]}"] = _kind

PREFIXES: dict[str, str] = {
    **dict.fromkeys(("secrets.", "Crypto.Random."), SECRETS),
    **dict.fromkeys(("tensorflow.random.", "cupy.random.", "faker."), RANDOM),
    **dict.fromkeys(("shortuuid.", "ulid.", "nanoid."), UUID),
    **dict.fromkeys(("fileinput.", "curses.", "pyperclip."), INPUT),
    **dict.fromkeys(("psutil.", "resource.", "tracemalloc.", "gc."), PROCESS_STATE),
    **dict.fromkeys(("runpy.", "cffi."), DYNAMIC_CODE),
    **dict.fromkeys(("multiprocessing.managers.", "multiprocessing.shared_memory."), COORDINATION),
    **dict.fromkeys(
        ("subprocess.", "_posixsubprocess.", "pexpect.", "plumbum.", "sh.", "webbrowser.", "pty."),
        PROCESS,
    ),
    **dict.fromkeys(
        (
            *("requests.", "httpx.", "aiohttp.", "urllib3.", "urllib.request.", "http.client."),
            *("http.server.", "socketserver.", "ftplib.", "smtplib.", "telnetlib.", "imaplib."),
            *("poplib.", "nntplib.", "xmlrpc.client.", "paramiko.", "pysftp.", "boto3."),
            *("botocore.", "aiobotocore.", "google.cloud.", "azure.storage.", "grpc.", "pika."),
            *("kafka.", "confluent_kafka.", "websocket.", "websockets.", "redis.", "pymongo."),
            *("psycopg.", "psycopg2.", "asyncpg.", "pymysql.", "MySQLdb.", "mysql.connector."),
            *("oracledb.", "cx_Oracle.", "pyodbc.", "snowflake.", "elasticsearch.", "cassandra."),
            *("clickhouse_driver.", "clickhouse_connect.", "trino.", "pandas_gbq."),
        ),
        NETWORK,
    ),
}
"""Kind of effect of everything below a module."""

HARMLESS = {
    "secrets.compare_digest",
    "subprocess.list2cmdline",
    "subprocess.CalledProcessError",
    "subprocess.SubprocessError",
    "subprocess.TimeoutExpired",
    "requests.exceptions",
    "requests.RequestException",
    "gc.collect",
    "gc.freeze",
    "http.client.responses",
}
"""What is no effect below such a module."""

DATABASES = frozenset(
    {"postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle", "snowflake", "bigquery"}
    | {"redshift", "clickhouse", "trino", "presto", "mongodb", "redis", "rediss", "cockroachdb"}
)
"""Schemes of addresses of database servers, whose drivers raise no audit event."""

_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64", "SeedSequence")
SEEDED = {
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
    "sklearn.utils.check_random_state": "seed",
    "sklearn.utils.validation.check_random_state": "seed",
    "networkx.utils.create_random_state": "random_state",
}
"""Constructors that are random only without a seed, and the name of the seed's parameter."""

NEED_GENERATOR = {
    "scipy": "Sobol Halton LatinHypercube PoissonDisk MultivariateNormalQMC MultinomialQMC"
    " bootstrap permutation_test monte_carlo_test power differential_evolution dual_annealing"
    " basinhopping random random_array rand kmeans kmeans2 quadratic_assignment",
    "networkx": "gnp_random_graph gnm_random_graph fast_gnp_random_graph erdos_renyi_graph"
    " binomial_graph dense_gnm_random_graph newman_watts_strogatz_graph watts_strogatz_graph"
    " connected_watts_strogatz_graph barabasi_albert_graph powerlaw_cluster_graph random_tree"
    " random_regular_graph random_geometric_graph random_labeled_tree spring_layout"
    " random_layout stochastic_block_model louvain_communities",
}
"""Functions of a package that draw random numbers unless they are given a seed or a generator."""
GENERATOR_KEYWORDS = frozenset({"rng", "random_state", "seed"})

NOW = {
    "numpy.datetime64",
    "pandas.Timestamp",
    "pandas.Period",
    "pandas.to_datetime",
    "pandas._libs.tslibs.timestamps.Timestamp",
    "pandas._libs.tslibs.period.Period",
    "pandas.core.tools.datetimes.to_datetime",
}
"""What makes a time of the words "now" and "today"."""

PRESENT_WITHOUT = {
    "time.localtime": (0, "secs"),
    "time.gmtime": (0, "secs"),
    "time.ctime": (0, "secs"),
    "time.asctime": (0, "t"),
    "time.strftime": (1, "t"),
    "email.utils.localtime": (0, "dt"),
    "email.utils.formatdate": (0, "timeval"),
}
"""What means the present moment where this argument is left out: position and keyword."""

OPENERS = {
    **dict.fromkeys(("builtins.open", "io.open", "_io.open", "codecs.open"), (1, "mode", False)),
    **dict.fromkeys(("gzip.open", "bz2.open", "lzma.open"), (1, "mode", False)),
    **dict.fromkeys(("zipfile.ZipFile", "tarfile.open", "tarfile.TarFile"), (1, "mode", False)),
    **dict.fromkeys(("gzip.GzipFile", "bz2.BZ2File", "lzma.LZMAFile"), (1, "mode", False)),
    **dict.fromkeys(("h5py.File", "h5py._hl.files.File"), (1, "mode", False)),
    **dict.fromkeys(("netCDF4.Dataset", "netCDF4._netCDF4.Dataset"), (1, "mode", False)),
    **dict.fromkeys(("tables.open_file", "tables.file.open_file"), (1, "mode", False)),
    **dict.fromkeys(("pandas.HDFStore", "pandas.io.pytables.HDFStore"), (1, "mode", True)),
    **dict.fromkeys(("numpy.memmap", "numpy.core.memmap.memmap"), (2, "mode", True)),
    **dict.fromkeys(("numpy.lib.format.open_memmap",), (1, "mode", True)),
    **dict.fromkeys(("pyarrow.memory_map", "pyarrow.lib.memory_map"), (1, "mode", False)),
    **dict.fromkeys(("pyarrow.OSFile", "pyarrow.lib.OSFile"), (1, "mode", False)),
    **dict.fromkeys(("rasterio.open", "fiona.open"), (1, "mode", False)),
}
"""Position and keyword of the mode in which a file is opened; whether the default one writes."""

_UNHEARD = {"h5py", "netCDF4", "tables", "pandas", "pyarrow", "rasterio", "fiona"}
UNHEARD_OPENERS = frozenset(name for name in OPENERS if name.partition(".")[0] in _UNHEARD)
"""Those that open files in compiled code: no audit event tells in which mode."""

TEMPLATES = frozenset({"os.path.expandvars", "posixpath.expandvars", "ntpath.expandvars"})
"""Functions that put environment variables into a text."""

PROCESSES_UNLESS = {
    "joblib.Parallel": {"threads", "threading", "sharedmem", "sequential"},
    "joblib.parallel.Parallel": {"threads", "threading", "sharedmem", "sequential"},
}
"""What starts processes unless one of its keywords says otherwise."""

ATTRIBUTES = _all(
    WRITE,
    "write_text write_bytes touch unlink mkdir rmdir symlink_to hardlink_to to_excel to_orc"
    " to_stata to_parquet to_pickle to_feather to_hdf to_sql to_gbq to_zarr to_clipboard"
    " savefig imsave tofile write_parquet write_ipc write_ndjson write_avro write_delta"
    " write_database sink_parquet sink_csv sink_ipc sink_ndjson save_model",
)
"""Attributes whose name tells, whatever they belong to."""

WRITES_TO_TARGET = {
    "to_csv": "path_or_buf",
    "to_json": "path_or_buf",
    "to_xml": "path_or_buffer",
    "to_html": "buf",
    "to_markdown": "buf",
    "to_latex": "buf",
    "to_netcdf": "path",
    "write_csv": "file",
    "write_json": "file",
}
"""Methods that return a text unless they are given a target, and what its keyword is."""

SHOWN_WRITES = frozenset(
    {"builtins.open", "io.open", "codecs.open", "gzip.open", "bz2.open", "lzma.open", ".open"}
    | {"zipfile.ZipFile", "tarfile.open", "tarfile.TarFile", "numpy.save", "numpy.savez"}
    | {"numpy.savez_compressed", "numpy.savetxt", "numpy.memmap", "numpy.lib.format.open_memmap"}
    | {f".{name}" for name in _all(WRITE, "write_text write_bytes touch unlink mkdir rmdir")}
    | {f".{name}" for name in _all(WRITE, "to_csv to_json to_pickle to_html to_markdown to_latex")}
)
"""Writes of Python code; an audit event shows each of them, and where it goes."""

VARIABLES = {
    **dict.fromkeys(
        (
            "os.path.expanduser",
            "posixpath.expanduser",
            "pathlib.Path.home",
            "pathlib.PosixPath.home",
        ),
        "HOME",
    ),
    **dict.fromkeys(("tempfile.gettempdir", "tempfile.gettempdirb"), "TMPDIR"),
}
"""Functions that read an environment variable, by the name of which their result is known."""
