"""The worker's part of a flow: takes a batch and returns one record per item, whatever the items do.

* In the worker's process: `worker` (a batch), `pool` (the process's supervisors), `conversation` (one request, one
  answer), `processes` (handles of the processes below), `outcome` (the record of an item), `memory`.
* The two processes below it: `forkserver` (has the kernel loaded, forks) and `child`; `wire` is their messages.
* In the child: `execution` (an item), `injection` (the function's arguments), `samples` (its store), `faults` (what
  went wrong).
"""
