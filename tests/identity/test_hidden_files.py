"""Reading what no audit event shows, under a path that stands nowhere as a value, is an effect."""

from __future__ import annotations

import pytest

from seamless_dask_cache.identity import Identifier

IMPORTS = """
import os, os.path, io, glob, pathlib, pickle
from pathlib import Path
import numpy as np
import pandas as pd
import pyarrow as pa, pyarrow.parquet as pq, pyarrow.dataset as ds, pyarrow.feather
import h5py
import sqlite3
import os.path as osp
from os.path import exists, join
from pyarrow.csv import read_csv
FOLDER = "/data"
def helper(x): return x
"""


def _kinds(source: str) -> set[str]:
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(f"{IMPORTS}\n{source}", "<test>", "exec"), names)
    return {effect.kind for effect in Identifier().code(names["f"]).effects}


HIDDEN = [
    "def f(d): return pd.read_parquet(f'{d}/a')",
    "def f(d): return pd.read_parquet(d + '/a')",
    "def f(d): return pd.read_parquet('%s/a' % d)",
    "def f(d): return pd.read_parquet('{}/a'.format(d))",
    "def f(d): return pd.read_parquet(os.path.join(d, 'a'))",
    "def f(d): return pd.read_parquet(join(d, 'a'), columns=['x'])",
    "def f(d): return pd.read_parquet(Path(d) / 'a')",
    "def f(d): return pd.read_parquet(Path(d, 'a'))",
    "def f(d): return pd.read_parquet(Path(d).joinpath('a'))",
    "def f(d): return pd.read_parquet(d.parent)",
    "def f(d): return pd.read_parquet(str(d / 'a'))",
    "def f(d): return pd.read_parquet(path=f'{d}/a')",
    "def f(d): return pd.read_parquet(helper(d))",
    "def f(d): return pd.read_parquet(d[::-1])",
    "def f(d):\n p = f'{d}/a'\n return pd.read_parquet(p)",
    "def f(d):\n p = d\n p += '/a'\n return pd.read_parquet(p)",
    "def f(d):\n p = Path(d) / 'a'\n q = p\n return pd.read_parquet(q.resolve())",
    "def f(d):\n for n in 'ab':\n  p = f'{d}/{n}'\n  helper(pd.read_parquet(p))",
    "def f(d):\n p = f'{d}/a'\n return (lambda: pd.read_parquet(p))()",
    "def f(d):\n p = f'{d}/a'\n def g():\n  return pd.read_parquet(p)\n return g()",
    "def f(d): return [pd.read_parquet(f'{d}/{n}') for n in 'ab']",
    "def f(d): return pq.read_table([f'{d}/a', f'{d}/b'])",
    "def f(d): return pq.ParquetFile(FOLDER + '/a')",
    "def f(d): return ds.dataset(os.path.join(d, 'a'))",
    "def f(d): return pyarrow.feather.read_table(f'{d}/a')",
    "def f(d): return read_csv(f'{d}/a')",
    "def f(d): return pa.memory_map(f'{d}/a')",
    "def f(d): return h5py.File(f'{d}/a', 'r')",
    "def f(d):\n with h5py.File(Path(d) / 'a') as h:\n  return h['x'][:]",
    "def f(d): return pd.read_hdf(f'{d}/a')",
    "def g(d): return pd.read_parquet(f'{d}/a')\ndef f(d): return g(d)",
    "class C:\n def m(self): return pd.read_parquet(f'{self.d}/a')\ndef f(): return C().m()",
    "def f(d): return os.path.exists(f'{d}/a')",
    "def f(d): return exists(d + 'a')",
    "def f(d): return osp.isfile(os.path.join(d, 'a'))",
    "def f(d): return os.path.getmtime(d + '/a')",
    "def f(d): return os.stat(f'{d}/a').st_size",
    "def f(d): return os.access(f'{d}/a', os.R_OK)",
    "def f(d): return (Path(d) / 'a').exists()",
    "def f(d): return Path(d, 'a').is_file()",
    "def f(d): return Path(f'{d}/a').stat()",
    "def f(d): return d.joinpath('a').exists()",
    "def f(d): return d.with_suffix('.x').exists()",
    "def f(d):\n p = d / 'a'\n if p.exists():\n  return 1",
    "def f(): return pd.read_parquet(os.environ['DATA'])",
    "def f():\n p = os.environ.get('DATA')\n return pd.read_parquet(p)",
    "def f(d):\n import pyarrow.orc as o\n return o.read_table(f'{d}/a')",
    "def f(d):\n import polars\n return polars.scan_parquet(f'{d}/a')",
    "def f(d):\n import netCDF4\n return netCDF4.Dataset(f'{d}/a')",
    "def f(d, e):\n c = sqlite3.connect(d)\n c.execute(f\"ATTACH '{e}' AS e\")",
    "def f(d, e):\n with sqlite3.connect(d) as c:\n  c.execute('attach database ? as e', [e])",
    "def f(d, e): sqlite3.connect(d).cursor().execute('  Attach ' + e)",
    "def f(d):\n c = sqlite3.connect(d)\n c.executescript('pragma x;\\n attach \"b\" as b')",
    "def f(d, e):\n c = sqlite3.connect(d)\n q = \"ATTACH '%s' AS e\" % e\n c.execute(q)",
    "def g(c, e): c.execute(f\"ATTACH '{e}' AS e\")\ndef f(d, e): g(sqlite3.connect(d), e)",
    "class C:\n def m(self): self.c.execute(\"ATTACH 'x' AS x\")\ndef f(): return C().m()",
]

KNOWN = [
    "def f(d): return pd.read_parquet(d)",
    "def f(d): return pd.read_parquet('/data/a')",
    "def f(): return pd.read_parquet(FOLDER, columns=['a'])",
    "def f(d): return pd.read_parquet(d, **{})",
    "def f(d): return pd.read_parquet(str(d))",
    "def f(d): return pd.read_parquet(Path(d))",
    "def f(d): return pd.read_parquet(os.fspath(d))",
    "def f(d): return pd.read_parquet(Path(d).expanduser().resolve())",
    "def f(d):\n d = str(d)\n return pd.read_parquet(d)",
    "def f(d):\n p = d\n return pd.read_parquet(p)",
    "def f(d): return pd.read_parquet(d[0])",
    "def f(d): return pd.read_parquet(d['path'])",
    "def f(d): return pd.concat([pd.read_parquet(p) for p in d])",
    "def f(d):\n for p in d:\n  helper(pd.read_parquet(p))",
    "def f(d): return list(map(pd.read_parquet, d))",
    "def f(d): return pq.read_table([d, d])",
    "class C:\n def m(self): return pd.read_parquet(self.p)\ndef f(): return C().m()",
    "def f(d): return pd.read_parquet(io.BytesIO(d))",
    "def f(d):\n b = io.BytesIO(d)\n return pd.read_parquet(b)",
    "def f(d):\n with open(f'{d}/a', 'rb') as g:\n  return pd.read_parquet(g)",
    "def f(d): return pq.read_table(pa.BufferReader(d))",
    "def f(d): return pd.read_csv(f'{d}/a')",
    "def f(d): return np.load(os.path.join(d, 'a'))",
    "def f(d): return open(f'{d}/a').read()",
    "def f(d): return os.listdir(f'{d}/a'), glob.glob(f'{d}/*')",
    "def f(d): return os.path.exists(d), os.path.getsize(FOLDER), Path(d).exists(), d.exists()",
    "def f(d):\n p = Path(d)\n return p.exists()",
    "def f(d):\n q = helper(d)\n return q.exists(), q.stat()",
    "def f(a, b): return (a / b).sum()",
    "def f(d): return pd.read_sql(f'select {d}', None)",
    "def f(d): return os.path.join(d, 'a'), Path(d) / 'a'",
    "def f(d):\n h = h5py.File(d)\n return h[f'{d}/x']",
    "def f(d): return sqlite3.connect(f'{d}/a').execute('select attach from x').fetchall()",
    "def f(d): return sqlite3.connect(d).execute(\"ATTACH ':memory:' AS scratch\")",
    "def f(d): return sqlite3.connect(d).execute('detach x'), 'ATTACHED'",
    "def f(d): return len('ATTACH x'), d.exists()",
]


@pytest.mark.parametrize("source", HIDDEN)
def test_a_path_put_together_in_the_code_is_an_effect(source):
    assert "hidden-file" in _kinds(source)


@pytest.mark.parametrize("source", KNOWN)
def test_a_path_whose_value_is_known_is_no_effect(source):
    assert "hidden-file" not in _kinds(source)


def test_the_reason_says_what_to_do():
    names: dict[str, object] = {"__name__": "__main__"}
    exec(f"{IMPORTS}\ndef f(d): return pd.read_parquet(f'{{d}}/a')", names)
    (effect,) = Identifier().code(names["f"]).effects
    assert "File" in effect.name and "cached(files=...)" in effect.name
    assert "pandas" in effect.name


def test_a_variable_that_is_made_of_itself_ends():
    assert "hidden-file" in _kinds(
        "def f(d):\n p = q = d\n while d:\n  p, q = q, p\n  p = q\n  q = p + '/a'\n"
        " return pd.read_parquet(p)"
    )
