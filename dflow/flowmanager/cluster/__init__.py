"""Where nodes are computed: any Dask cluster, or this process.

`engine` (nodes in, results out), `clusterclient` (a sliding window of nodes on a cluster), `clusters` (which cluster),
`profiles` (queues) and `queuejobs` (jobs that are replaced), `node` (what a node calls), `guard` (workers that may not
call it), `deaths` (workers that keep dying). Whether hosts can run a flow at all: `doctor`, from `hostfacts` to
`findings`.
"""
