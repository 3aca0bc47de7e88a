"""``python -m seamless_dask_cache.cli``."""

from seamless_dask_cache.cli import main

main(prog_name="seamless-dask-cache")
