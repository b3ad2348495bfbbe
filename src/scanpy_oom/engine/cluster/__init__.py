"""Passes on a Dask cluster: each worker reads, transforms and reduces runs of rows, and results are merged in order.

`executor` is on the client, `worker` and `shard` are on the workers; `payload` is what travels. Modules here import the
modules of `engine` above, and are the only ones that import Dask.
"""
