"""Impure names are found however they are reached, and harmless neighbours are not reported."""

from __future__ import annotations

import pytest

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import EFFECT_KINDS, Identifier


def _function(source: str):
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(source, "<test>", "exec"), names)
    return names["f"]


def _kinds(source: str) -> set[str]:
    return {effect.kind for effect in Identifier().code(_function(source)).effects}


IMPURE = {
    "import time\ndef f(): return time.time()": "clock",
    "import time as t\ndef f(): return t.monotonic_ns()": "clock",
    "from time import time as now\ndef f(): return now()": "clock",
    "from time import *\ndef f(): return perf_counter()": "clock",
    "def f():\n import time\n return time.process_time()": "clock",
    "def f():\n from time import time as g\n return g()": "clock",
    "import time\ndef f():\n t = time\n return t.time()": "clock",
    "import time\ndef f(): return getattr(time, 'time')()": "clock",
    "import time\ndef f(): return sorted([], key=time.time)": "clock",
    "import time\ndef f(g=time.time): return g()": "clock",
    "import time\nT = {'a': [time.time]}\ndef f(): return T['a'][0]()": "clock",
    "import time\ndef make():\n g = time.time\n return lambda: g()\nf = make()": "clock",
    "import time\ndef make():\n m = time\n return lambda: m.time()\nf = make()": "clock",
    "import time\ndef h(): return time.time()\ndef f(): return h()": "clock",
    "import time\nclass A:\n def m(s): return time.time()\ndef f(): return A().m()": "clock",
    "import time, functools\nf = functools.partial(max, time.time)": "clock",
    "import time\ndef f(): return time.strftime('%Y')": "clock",
    "import datetime\ndef f(): return datetime.datetime.now()": "clock",
    "from datetime import datetime as d\ndef f(): return d.utcnow()": "clock",
    "import datetime\ndef f(): return datetime.date.today()": "clock",
    "from datetime import date\nf = date.today": "clock",
    "import pandas as pd\ndef f(): return pd.Timestamp.now()": "clock",
    "from pandas import Timestamp\ndef f(): return Timestamp.today()": "clock",
    "import pandas as pd\ndef f(): return pd.Timestamp('now')": "clock",
    "import numpy as np\ndef f(): return np.datetime64('now')": "clock",
    "import random\ndef f(): return random.random()": "random",
    "from random import random\ndef f(): return random()": "random",
    "from random import choice\nf = choice": "random",
    "from random import shuffle\ndef f(x): return list(map(shuffle, x))": "random",
    "import random\ndef f(): return random.Random().random()": "random",
    "import random\ndef f(): return random.Random(None)": "random",
    "import random\ndef f(): return random.SystemRandom()": "random",
    "import random\nr = random.Random(1)\ndef f(): return r.random()": "random",
    "import random\ndef f(g): return g(random)": "random",
    "import numpy as np\ndef f(): return np.random.rand(3)": "random",
    "from numpy.random import normal\ndef f(): return normal()": "random",
    "from numpy import random as r\ndef f(): return r.permutation(3)": "random",
    "import numpy as np\ndef f(): return np.random.seed(3)": "random",
    "import numpy as np\ndef f(): return np.random.default_rng().normal()": "random",
    "import numpy as np\ndef f(): return np.random.default_rng(None)": "random",
    "import numpy as np\ndef f(): return np.random.default_rng(seed=None)": "random",
    "import numpy as np\nS = None\ndef f(): return np.random.default_rng(S)": "random",
    "import numpy as np\ndef f():\n r = np.random.default_rng\n return r()": "random",
    "def f():\n from numpy.random import default_rng\n return default_rng()": "random",
    "import numpy as np\ndef f(): return np.random.RandomState()": "random",
    "import numpy as np\ndef f(): return np.random.SeedSequence()": "random",
    "import numpy as np\ndef f(): return np.random.PCG64()": "random",
    "import numpy as np\ndef f(): return np.random.Generator(np.random.PCG64())": "random",
    "import numpy as np\nr = np.random.default_rng(1)\ndef f(): return r.normal()": "random",
    "import numpy as np\nr = np.random.default_rng(1)\nf = r.normal": "random",
    "import numpy as np\nr = np.random.RandomState(1)\ndef f(x, r=r): return r.rand()": "random",
    "def f(df): return df.sample(frac=0.5)": "random",
    "def f(df): return df.sample(10)": "random",
    "import uuid\ndef f(): return uuid.uuid4()": "uuid",
    "from uuid import uuid1\ndef f(): return uuid1()": "uuid",
    "import secrets\ndef f(): return secrets.token_hex()": "secrets",
    "import os\ndef f(): return os.urandom(3)": "secrets",
    "from os import urandom\ndef f(): return urandom(3)": "secrets",
    "def f(): return input()": "input",
    "import os\ndef f(): return os.getpid()": "process-state",
    "from os import getpid\ndef f(): return getpid()": "process-state",
    "import threading\ndef f(): return threading.get_ident()": "process-state",
    "import socket\ndef f(): return socket.gethostname()": "process-state",
    "from socket import gethostname as g\ndef f(): return g()": "process-state",
    "import platform\ndef f(): return platform.node()": "process-state",
    "def f(x): return id(x)": "process-state",
    "def f(x): return hash(x)": "process-state",
    "from distributed import get_worker\ndef f(): return get_worker()": "process-state",
    "def f(x): return eval(x)": "dynamic code",
    "def f(x): exec(x)": "dynamic code",
    "def f(x): return globals()[x]": "dynamic code",
    "def f(x): return __import__(x)": "dynamic code",
    "def f():\n from importlib import import_module as i\n return i('time')": "dynamic code",
    "import os\ndef f(x): return os.environ[x]": "environment",
    "import os\ndef f(x): return os.getenv(x)": "environment",
    "from os import environ\ndef f(x): return environ.get(x)": "environment",
    "import os\ndef f(): return dict(os.environ)": "environment",
    "import os\nE = [os.environ]\ndef f(): return E": "environment",
    "from distributed import Variable\ndef f(): return Variable('x').get()": "coordination",
    "import distributed\ndef f(): return distributed.Queue('x')": "coordination",
    "from distributed import Event\ndef f(): return Event('x')": "coordination",
    "from distributed import Semaphore\ndef f(): return Semaphore()": "coordination",
    "import subprocess\ndef f(): return subprocess.run(['ls'])": "process",
    "from subprocess import check_output as c\ndef f(): return c('ls')": "process",
    "import os\ndef f(): return os.system('ls')": "process",
    "import os\ndef f(x): os.remove(x)": "write",
    "from os import unlink\ndef f(x): unlink(x)": "write",
    "import shutil\ndef f(x): shutil.rmtree(x)": "write",
    "def f(x): open(x, 'w').write('a')": "write",
    "def f(x):\n with open(x, mode='ab') as g: g.write(b'a')": "write",
    "def f(x): x.write_text('a')": "write",
    "import pathlib\ndef f(x): pathlib.Path(x).write_bytes(b'')": "write",
    "def f(df): df.to_parquet('x')": "write",
    "def f(df): df.to_csv('x')": "write",
    "import urllib.request\ndef f(x): return urllib.request.urlopen(x)": "network",
    "import socket\ndef f(): return socket.socket()": "network",
    "import http.client\ndef f(x): return http.client.HTTPConnection(x)": "network",
    "def f(x):\n import requests\n return requests.get(x)": "network",
    "import datetime as d\ndef f(): return d.datetime.now(d.timezone.utc)": "clock",
    "import numpy as np\ndef f(): return np.datetime64('today')": "clock",
    "import pandas as pd\ndef f(): return pd.to_datetime('now')": "clock",
    "import pandas as pd\ndef f(): return pd.Period.now('D')": "clock",
    "import pandas as pd\ndef f(): return pd.Timestamp(ts_input='today')": "clock",
    "import time\ndef f(): return time.localtime()": "clock",
    "import time\ndef f(): return time.ctime(None)": "clock",
    "import email.utils\ndef f(): return email.utils.localtime()": "clock",
    "from email.utils import formatdate\ndef f(): return formatdate(localtime=True)": "clock",
    "from scipy import stats\ndef f(): return stats.norm.rvs(size=3)": "random",
    "def f(d): return d.rvs(3, random_state=None)": "random",
    "from scipy.stats import qmc\ndef f(): return qmc.Sobol(2).random(4)": "random",
    "from scipy.stats import bootstrap\ndef f(x): return bootstrap((x,), max)": "random",
    "from sklearn.utils import check_random_state as c\ndef f(): return c(None)": "random",
    "import tempfile\ndef f(): return tempfile.mktemp()": "random",
    "def f():\n import torch\n return torch.rand(3)": "random",
    "def f():\n import networkx as nx\n return nx.gnp_random_graph(3, 0.5)": "random",
    "import ssl\ndef f(): return ssl.RAND_bytes(3)": "secrets",
    "def f():\n import shortuuid\n return shortuuid.uuid()": "uuid",
    "import sys\ndef f(): return sys.argv": "process-state",
    "import os\ndef f(): return os.cpu_count()": "process-state",
    "import pathlib\ndef f(): return pathlib.Path.cwd()": "process-state",
    "from pathlib import Path\ndef f(): return Path.cwd()": "process-state",
    "import decimal\ndef f(): return decimal.getcontext()": "process-state",
    "import pandas as pd\ndef f(): pd.set_option('mode.copy_on_write', True)": "process-state",
    "import locale\ndef f(): return locale.localeconv()": "process-state",
    "import psutil\ndef f(): return psutil.virtual_memory()": "process-state",
    "import ctypes\ndef f(): return ctypes.CDLL(None).time(None)": "dynamic code",
    "def f(df): return df.query('x > @LIMIT')": "dynamic code",
    "def f(df, a): return df.eval(expr='x + @a + @b')": "dynamic code",
    "from distributed import get_client\ndef f(): return get_client()": "coordination",
    "from distributed import Client\ndef f(): return Client()": "coordination",
    "import multiprocessing\ndef f(): return multiprocessing.Queue()": "coordination",
    "import multiprocessing\ndef f(): return multiprocessing.Pool(2)": "process",
    "from concurrent.futures import ProcessPoolExecutor as P\ndef f(): return P(2)": "process",
    "import concurrent.futures as c\ndef f(): return c.ProcessPoolExecutor()": "process",
    "from joblib import Parallel\ndef f(x): return Parallel(n_jobs=2)(x)": "process",
    "import asyncio\ndef f(): return asyncio.create_subprocess_exec('ls')": "process",
    "import shutil\ndef f(x): shutil.copy(x, x + '2')": "write",
    "import os\ndef f(x): os.makedirs(x)": "write",
    "import numpy as np\ndef f(x): np.save('a', x)": "write",
    "import numpy as np\ndef f(x): return np.memmap(x, mode='w+')": "write",
    "import json\ndef f(x): json.dump({}, open(x, 'w'))": "write",
    "def f(df): df.to_json('x')": "write",
    "def f(d): d.to_netcdf('x')": "write",
    "import pyarrow.parquet as pq\ndef f(t): pq.write_table(t, 'x')": "write",
    "from pyarrow.parquet import ParquetWriter\ndef f(s): return ParquetWriter('x', s)": "write",
    "import pyarrow.feather\ndef f(t): pyarrow.feather.write_feather(t, 'x')": "write",
    "import pyarrow.dataset as ds\ndef f(t): ds.write_dataset(t, 'x', format='parquet')": "write",
    "import h5py\ndef f(x): return h5py.File(x, 'a')": "write",
    "from pandas import HDFStore\ndef f(x): return HDFStore(x)": "write",
    "import zipfile\ndef f(x): return zipfile.ZipFile(x, 'w')": "write",
    "import gzip\ndef f(x): return gzip.open(x, 'wb')": "write",
    "import shelve\ndef f(x): return shelve.open(x)": "write",
    "import h5py\ndef f(x, m): return h5py.File(x, m)": "write",
    "import h5py\ndef f(x, m='r'): return h5py.File(x, mode=m)": "write",
    "import h5py\nM = 'r'\ndef f(x): return h5py.File(x, M)": "write",
    "import h5py\ndef f(x, m): return h5py.File(x, m + '+')": "write",
    "import pyarrow\ndef f(x, m): return pyarrow.memory_map(x, m)": "write",
    "import pandas as pd\ndef f(x, m): return pd.HDFStore(x, m)": "write",
    "import os\ndef f(x): return os.path.expandvars(x)": "environment",
    "from os.path import expandvars\ndef f(x): return open(expandvars(x))": "environment",
    "import os\ndef f(x): return list(map(os.path.expandvars, x))": "environment",
    "import ntpath\ndef f(x): return ntpath.expandvars(x)": "environment",
    "import ftplib\ndef f(x): return ftplib.FTP(x)": "network",
    "import smtplib\ndef f(x): return smtplib.SMTP(x)": "network",
    "import asyncio\ndef f(x): return asyncio.open_connection(x, 80)": "network",
    "def f(x):\n import psycopg2\n return psycopg2.connect(x)": "network",
    "def f(x):\n import boto3\n return boto3.client('s3')": "network",
    "def f(x):\n from sqlalchemy import create_engine\n return create_engine(x)": "network",
    "import pandas as pd\ndef f(d): return pd.read_parquet(f'{d}/a')": "hidden-file",
    "import tempfile\ndef f(t):\n with tempfile.TemporaryDirectory() as d:\n"
    "  t.to_parquet('x')": "write",
}

PURE = [
    "def f(x): return len(x)",
    "import time\ndef f(): time.sleep(1)",
    "import time\ndef f(x): return time.strftime('%Y', x)",
    "import datetime\ndef f(x): return datetime.datetime(2020, 1, x)",
    "import datetime\ndef f(x): return datetime.datetime.fromisoformat(x)",
    "import random\ndef f(s): return random.Random(s + 1).random()",
    "import random\ndef f(): return random.Random(3).sample([1, 2, 3], 2)",
    "import numpy as np\ndef f(): return np.random.default_rng(3).normal()",
    "import numpy as np\ndef f(x): return np.random.default_rng(seed=x[0]).normal(x, 1, size=3)",
    "import numpy as np\ndef f(x): return np.random.default_rng([x, len(x)])",
    "import numpy as np\nS = 5\ndef f(): return np.random.RandomState(S)",
    "def f(x):\n from numpy.random import default_rng\n return default_rng(x + 1)",
    "import numpy as np\ndef f(x): return np.random.Generator(np.random.PCG64(x + 1))",
    "import numpy as np\ndef f(x): return np.sum(np.asarray(x))",
    "import pandas as pd\ndef f(x): return pd.Timestamp('2020-01-01'), pd.to_datetime(x)",
    "def f(df): return df.sample(frac=0.5, random_state=3)",
    "def f(r): return r.sample([1, 2], 1)",
    "import uuid\ndef f(x): return uuid.uuid5(uuid.NAMESPACE_DNS, x)",
    "class A:\n def __hash__(s): return hash((1, 2))\ndef f(): return A()",
    "import os\ndef f(x): return os.path.join(x, 'a'), os.environ['HOME'], os.getenv('USER')",
    "import os\ndef f(): return os.environ.get('HOME', 'x'), 'HOME' in os.environ",
    "import re\ndef f(x): return re.compile(x)",
    "def f(x): return open(x).read()",
    "def f(x): return open(x, 'rb').read()",
    "def f(df): return df.to_csv()",
    "def f(x): print(x); return x",
    "import logging\ndef f(x): logging.info(x); return x",
    "import tempfile\ndef f(): return tempfile.mkdtemp",
    "import threading\nL = threading.RLock()\ndef f():\n with L: return 1",
    "import datetime as d\ndef f(x): return d.datetime.strptime(x, '%Y')",
    "import time\ndef f(x): return time.strptime(x, '%Y'), time.gmtime(x)",
    "import email.utils\ndef f(x): return email.utils.formatdate(x)",
    "import pandas as pd\ndef f(x): return pd.Timestamp(x), pd.Timestamp(2020, 1, 1)",
    "import random\ndef f(): return random.Random(3).choice([1, 2])",
    "from scipy import stats\ndef f(): return stats.norm.rvs(size=3, random_state=3)",
    "from scipy.stats import qmc\ndef f(n): return qmc.Sobol(2, rng=n).random(4)",
    "from sklearn.utils import check_random_state as c\ndef f(n): return c(n + 1)",
    "class S:\n def sample(self, n): return n\nM = S()\ndef f(): return M.sample(3)",
    "class S:\n def sample(s, n): return n\n def g(self): return self.sample(3)\n"
    "def f(): return S().g()",
    "class S:\n @classmethod\n def to_parquet(c, n): return n\ndef f(): return S.to_parquet(3)",
    "import uuid\ndef f(x): return uuid.uuid3(uuid.NAMESPACE_DNS, x), uuid.UUID(x)",
    "def f(df, limit): return df.query('x > @limit and y < @limit')",
    "def f(df):\n low = 3\n return df.query('x > @low')",
    "def f(x): return [*vars(x), *locals()]",
    "from concurrent.futures import ThreadPoolExecutor as T\n"
    "def f(x):\n with T(2) as p: return list(p.map(len, x))",
    "from joblib import Parallel\ndef f(x): return Parallel(n_jobs=2, prefer='threads')(x)",
    "import h5py\ndef f(x):\n with h5py.File(x, 'r') as h: return h['a'][:]",
    "import h5py\ndef f(x): return h5py.File(x), h5py.File(x, mode='r'), isinstance(x, h5py.File)",
    "import gzip, zipfile\ndef f(x): return gzip.open(x, 'rt'), zipfile.ZipFile(x)",
    # In which mode Python code opens a file shows while it runs.
    "import gzip, numpy as np\ndef f(x, m): return open(x, m), gzip.open(x, m), np.memmap(x, m, m)",
    "import os\ndef f(): return os.path.expandvars('data/a')",
    "import numpy as np\ndef f(x): return np.load(x), np.memmap(x, mode='r')",
    "def f(df): return df.to_json(), df.to_html(), df.to_csv(None)",
    "import sqlite3\ndef f(x): return sqlite3.connect(':memory:')",
    "import warnings\ndef f(x): warnings.warn('x'); return x",
    "import urllib.parse\ndef f(x): return urllib.parse.urlsplit(x)",
    "import os\ndef f(x): return os.listdir(x), os.path.exists(x)",
    "import sys\ndef f(x): print(x, file=sys.stderr); return sys.maxsize, sys.byteorder",
    "from tqdm import tqdm\ndef f(x): return sum(tqdm(x))",
    "import gc\ndef f(x): gc.collect(); return x",
    "import os\ndef f(x): open(os.devnull, 'w').write(x)",
    "def f(x): open('/dev/null', 'w').write(x)",
    # Where Python code writes shows while it runs, so temporary files are told from others then.
    "import tempfile, os\ndef f(x):\n with tempfile.TemporaryDirectory() as d:\n"
    "  with open(os.path.join(d, x), 'w') as g: g.write(x)",
]


@pytest.mark.parametrize("source", IMPURE)
def test_an_impure_name_is_found(source):
    """Aliases, helpers, callbacks and containers do not hide an effect."""
    assert IMPURE[source] in _kinds(source)


@pytest.mark.parametrize("source", PURE)
def test_a_pure_function_has_no_effect(source):
    """A neighbour of an impure name, or an impure name made pure by its argument, is no effect."""
    assert _kinds(source) == set()


@pytest.mark.parametrize("text", ["$HOME/a", "${HOME}/a", "%HOME%"])
@pytest.mark.parametrize("name", ["os.path.expandvars", "expandvars"])
def test_a_variable_in_a_constant_text_is_an_effect(name, text):
    source = f"import os\nfrom os.path import expandvars\ndef f(): return {name}({text!r})"
    assert _kinds(source)


def test_every_kind_is_tested():
    assert set(IMPURE.values()) == EFFECT_KINDS


def test_the_path_tells_how_an_effect_is_reached():
    source = "import time\ndef g(): return time.time()\ndef f(): return g()"
    (effect,) = Identifier().code(_function(source)).effects
    assert (effect.name, effect.path) == ("time.time", "f -> g -> time.time")


def test_allowed_effects_are_not_reported():
    function = _function("import time, random\ndef f(): return time.time(), random.random()")
    identity = Identifier(allow_effects=frozenset({"clock"})).code(function)
    assert {effect.kind for effect in identity.effects} == {"random"}


def test_a_seed_that_may_be_none_is_a_conditional_effect():
    source = "import numpy as np\ndef f(x, seed=None): return np.random.default_rng(seed)"
    identity = Identifier().code(_function(source))
    assert identity.effects == ()
    assert [effect.parameter for effect in identity.conditional] == ["seed"]


def test_a_helper_whose_seed_is_none_by_default_is_an_effect():
    source = "import random\ndef g(s=None): return random.Random(s)\ndef f(): return g()"
    assert _kinds(source) == {"random"}


def test_a_generator_as_an_argument_is_a_value():
    """Only shared generators are consumed from call to call."""
    import numpy as np

    assert Identifier().describe([np.random.default_rng(3)]).effects == ()


def test_a_clock_as_an_argument_is_an_effect():
    import time

    (effect,) = Identifier().describe([1, {"key": time.time}]).effects
    assert effect.kind == "clock"


def test_a_memoized_container_reports_its_effects_again():
    names: dict[str, object] = {}
    source = "import time\nT = [[time.time]] * 2\ndef f(): return T\ndef g(): return T"
    exec(source, names)
    identifier = Identifier()
    assert identifier.code(names["f"]).effects and identifier.code(names["g"]).effects


@pytest.mark.parametrize(
    "source",
    [
        "G = (i for i in range(3))\ndef f(): return list(G)",
        "G = iter([1])\ndef f(): return next(G)",
        "import weakref\nclass A: pass\na = A()\nW = weakref.ref(a)\ndef f(): return W()",
        "import socket\ns = socket.socket()\ns.close()\ndef f(): return s",
    ],
)
def test_what_has_no_certain_identity_is_refused_with_its_path(source, recwarn):
    with pytest.raises(RefusedError) as caught:
        Identifier().code(_function(f"{source}\nh = f\ndef f(): return h()"))
    assert caught.value.path.startswith("f -> f -> global ")


def test_an_open_file_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.touch()
    with path.open() as handle, pytest.raises(RefusedError, match="open file"):
        Identifier().code(lambda: handle)


def test_a_folder_that_an_environment_variable_names_is_no_input(tmp_path, monkeypatch):
    """Its name enters; what is opened there is seen while the function runs."""
    monkeypatch.setenv("SDC_TEST_FOLDER", str(tmp_path))
    first = Identifier().code(_function("import os\ndef f(): return os.environ['SDC_TEST_FOLDER']"))
    assert str(tmp_path) not in first.files
    monkeypatch.setenv("SDC_TEST_FOLDER", "elsewhere")
    other = Identifier().code(_function("import os\ndef f(): return os.environ['SDC_TEST_FOLDER']"))
    assert other.checksum != first.checksum


HOMES = {
    "os.path.expanduser": "import os\ndef f(): return os.path.expanduser('~/settings')",
    "from os.path": "from os.path import expanduser\ndef f(x): return expanduser(x)",
    "Path.home": "from pathlib import Path\ndef f(): return Path.home() / 'settings'",
    "Path.expanduser": "from pathlib import Path\ndef f(x): return Path(x).expanduser()",
}


@pytest.mark.parametrize("name", HOMES)
def test_the_home_folder_enters_where_it_is_asked_for(name, monkeypatch):
    checksums = set()
    for home in ("/home/ada", "/home/bob", "/home/ada"):
        monkeypatch.setenv("HOME", home)
        checksums.add(Identifier().code(_function(HOMES[name])).checksum)
    assert len(checksums) == 2


def test_the_home_folder_is_none_of_the_business_of_others(monkeypatch):
    checksums = set()
    for home in ("/home/ada", "/home/bob"):
        monkeypatch.setenv("HOME", home)
        function = _function("import os\ndef f(x): return os.path.abspath(x)")
        checksums.add(Identifier().code(function).checksum)
    assert len(checksums) == 1
