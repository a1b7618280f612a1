"""One ``process`` call in the client.

`session` (the order of things), `run` (what stages share), `liststage` and `itemstage` (the two kinds of stage),
`jobs` (items to Dask nodes), `export` (the merge), `collector` (of garbage, while it goes on).
"""
