"""The database server of seamless-dask-cache."""
