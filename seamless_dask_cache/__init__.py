"""A persistent, shared, content-addressed memory for Dask programs."""
