"""Where nodes are computed: any Dask cluster, or this process.

`engine` (nodes in, results out), `clusterclient` (a sliding window of nodes on a cluster), `clusters` (which cluster)
and `profiles` (queues), `node` (what a node calls), `deaths` (workers that keep dying). Whether hosts can run a flow
at all: `doctor`, from `hostfacts` to `findings`.
"""
