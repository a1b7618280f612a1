"""Decided before anything runs, by pure functions over frozen records.

`tasks` (what a decorated function says of itself) and `registry` (all of them), `settings` (what a flow was
asked for), `listing` (what an extract task returned), `roots` (a stage's items), `wiring` (who feeds whom), `fanout`
(once or once an item), `batching` (how many a batch), `batch` (what a Dask node is sent), `nodenames`.
"""
