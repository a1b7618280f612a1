"""For clusters that start workers by hand: ``dask worker tcp://… --preload cluster/preload.py``.

The same as ``--preload dflow.flowmanager.preload``, as a file to edit where a site needs more.
"""

from dflow.flowmanager.preload import dask_setup

__all__ = ["dask_setup"]
