"""What runs inside Dask."""
