"""Where nodes are computed: on any Dask cluster, or in this process."""
