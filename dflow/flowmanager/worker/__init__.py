"""On a worker: a batch goes in, one record an item comes out, whatever the items do.

* In the worker process: `worker` (a batch), `isolation` (the supervisor of a child), `watch` (one request: time,
  memory, life), `ahead` (how many requests a child is sent at once), `processes` (starting and ending them), `outcome`
  (what becomes of an item), `limits`, `logtail`, `inflight` (what is being worked on now).
* The two processes below it: `nursery` (has the kernel loaded, forks) and `child`; `wire` is what is said to them.
* In the child, at the user's function: `execution`, `injection` (its arguments), `samples` (its store),
  `surroundings` (what the item before left in the process); what went wrong, in one word: `faults`.
"""
