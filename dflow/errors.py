"""Every error that dflow raises, in one tree.

::

    DflowError
    ├── FlowError
    │   ├── SettingError (ValueError)              an invalid argument of `create_flow`
    │   ├── TaskDefinitionError (TypeError)        a function that is not a task, or a task that cannot work
    │   ├── WiringError (ValueError)               inputs and outputs of the tasks do not fit together
    │   ├── EmptySourceError (ValueError)          nothing to work on
    │   ├── SourceNotFoundError (FileNotFoundError)
    │   ├── OutputFolderError (OSError)            the output folder cannot be written
    │   ├── FlowBusyError (RuntimeError)           another live flow owns the folder
    │   ├── FlowFileError (ValueError)             a missing .flow file, or one of another program
    │   │   └── DamagedFlowFileError (DamagedDatasetError)
    │   ├── FlowCancelledError (RuntimeError)
    │   ├── TooManyFailuresError (RuntimeError)    more failures than max_failures, or all alike
    │   └── ClusterError (RuntimeError)            no scheduler, no workers, workers that cannot see the files
    ├── SchemaError (ValueError)                   a schema that contradicts itself, or data that contradicts it
    ├── StorageError
    │   ├── KeyNotFoundError (KeyError)
    │   ├── BadKeyError (ValueError)               an invalid key, or one of an array and a group at once
    │   ├── UnsupportedDataError (TypeError)       data that no storage can hold
    │   ├── NonFiniteError (ValueError)            NaN or inf where the array does not document it
    │   ├── DamagedStoreError (ValueError)         truncated, foreign or corrupted .data
    │   └── StoreLimitError (ValueError)           a decompression bomb, an enormous array
    ├── DatasetError
    │   ├── DatasetNotFoundError (FileNotFoundError)
    │   ├── DamagedDatasetError (ValueError)
    │   ├── UnknownKeyError (KeyError)             no such group, array, file id
    │   ├── QueryError (ValueError)                a condition that cannot be evaluated
    │   └── SplitError (ValueError)
    ├── ServerError (OSError)                      a page that cannot be served: the port is in use
    ├── VendorOnlyError (NotImplementedError)      what only HOOPS AI's closed parts can do
    └── CadError
        ├── UnreadableFileError (ValueError)       empty, truncated, or not CAD
        ├── NoGeometryError (ValueError)           readable, but holds no shape
        ├── KernelError (RuntimeError)             the kernel raised
        ├── KernelMissingError (ImportError)       the kernel, or a library that it needs, is not installed
        ├── GeometryError (ValueError)             a value not defined for the shape, or a defect in a strict flow
        ├── RecipeError (ValueError)               no such recipe or option of the encoder
        ├── LabelError (ValueError)                labels that do not fit the faces
        └── TooBigError (MemoryError)              refused before allocating

`kind` is the stable word in ``error_summary.json``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from dflow.plaintext import plain, plain_lines


class DflowError(Exception):
    """Base of every error that dflow raises on purpose."""

    kind: ClassVar[str] = "error"

    def __reduce__(self) -> tuple[Any, ...]:
        # Defined here so that tblib, which distributed pickles exceptions with, calls the class with `args`. It calls
        # `__new__` of other exceptions, which fails for those that are also a MemoryError.
        reduced: tuple[Any, ...] = super().__reduce__()  # type: ignore[assignment]
        return reduced

    has_lines: ClassVar[bool] = False
    """Whether a message may have several lines."""

    def __str__(self) -> str:
        # KeyError would show the repr of its argument. Names of files are escaped: a terminal obeys what is in them.
        if not self.args:
            return type(self).__name__
        return plain_lines(self.args[0]) if self.has_lines else plain(self.args[0])


class FlowError(DflowError):
    """Base of the errors of a flow, its tasks or its folder."""

    kind = "flow"


class SettingError(FlowError, ValueError):
    """An invalid argument of `create_flow`."""

    kind = "setting"


class TaskDefinitionError(FlowError, TypeError):
    """A function that is not a task, or a task whose definition cannot work."""

    kind = "task_definition"


class WiringError(FlowError, ValueError):
    """Inputs and outputs of the tasks do not fit together; the message names the gap."""

    kind = "wiring"


class EmptySourceError(FlowError, ValueError):
    """No items to work on."""

    kind = "empty_source"


class SourceNotFoundError(FlowError, FileNotFoundError):
    """A source that does not exist."""

    kind = "source_not_found"


class OutputFolderError(FlowError, OSError):
    """The output folder cannot be created or written."""

    kind = "output_folder"


class FlowBusyError(FlowError, RuntimeError):
    """Another live process is writing to this flow's folder."""

    kind = "flow_busy"


class FlowFileError(FlowError, ValueError):
    """A `.flow` file that is missing, damaged or of another format."""

    kind = "flow_file"


class FlowCancelledError(FlowError, RuntimeError):
    """The flow was cancelled; what was finished is kept and a re-run resumes."""

    kind = "cancelled"


class TooManyFailuresError(FlowError, RuntimeError):
    """More items failed than `max_failures` allows, or the first ones all failed alike; what was finished is kept."""

    kind = "too_many_failures"
    has_lines = True  # with a traceback


class ClusterError(FlowError, RuntimeError):
    """No scheduler, no workers, or workers that cannot run the flow."""

    kind = "cluster"


class SchemaError(DflowError, ValueError):
    """A schema that contradicts itself, or data that contradicts the schema."""

    kind = "schema"


class StorageError(DflowError):
    """Base of the errors of a sample's store."""

    kind = "storage"


class KeyNotFoundError(StorageError, KeyError):
    """No data or metadata under this key."""

    kind = "key_not_found"


class BadKeyError(StorageError, ValueError):
    """An invalid key, or one that would name an array and a group at once."""

    kind = "bad_key"


class UnsupportedDataError(StorageError, TypeError):
    """Data or metadata of a type that no storage can hold: objects, dates in arrays, ragged lists."""

    kind = "unsupported_data"


class NonFiniteError(StorageError, ValueError):
    """NaN or inf in an array whose definition does not allow them."""

    kind = "non_finite"


class DamagedStoreError(StorageError, ValueError):
    """A `.data` file that is truncated, corrupted or not written by dflow."""

    kind = "damaged_store"


class StoreLimitError(StorageError, ValueError):
    """A store that would expand beyond the allowed size."""

    kind = "store_limit"


class DatasetError(DflowError):
    """Base of the errors of a merged dataset."""

    kind = "dataset"


class DatasetNotFoundError(DatasetError, FileNotFoundError):
    """A `.dataset`, `.infoset` or `.attribset` that does not exist."""

    kind = "dataset_not_found"


class DamagedDatasetError(DatasetError, ValueError):
    """A dataset whose manifest, shards or tables do not agree."""

    kind = "damaged_dataset"


class UnknownKeyError(DatasetError, KeyError):
    """No group, array, column or file id of that name."""

    kind = "unknown_key"


class DamagedFlowFileError(FlowFileError, DamagedDatasetError):
    """A `.flow` file that was damaged or changed since it was written."""

    kind = "damaged_flow_file"


class QueryError(DatasetError, ValueError):
    """A condition that cannot be evaluated."""

    kind = "query"


class SplitError(DatasetError, ValueError):
    """A split that cannot be made."""

    kind = "split"


class ServerError(DflowError, OSError):
    """A page that cannot be served: the port is in use, or the address is not this machine's."""

    kind = "server"


class VendorOnlyError(DflowError, NotImplementedError):
    """What only HOOPS AI's closed parts can do: readers of native formats, feature trees, trained weights. The message
    names the open way.
    """

    kind = "vendor_only"


class CadError(DflowError):
    """Base of the errors of a CAD file or its shape."""

    kind = "cad"


class UnreadableFileError(CadError, ValueError):
    """Empty, truncated, or not a CAD file that dflow reads."""

    kind = "unreadable"


class NoGeometryError(CadError, ValueError):
    """A readable file that holds no shape."""

    kind = "no_geometry"


class KernelError(CadError, RuntimeError):
    """The CAD kernel raised."""

    kind = "kernel_error"


class KernelMissingError(CadError, ImportError):
    """The CAD kernel, or a system library that it needs, is not installed."""

    kind = "kernel_missing"


class GeometryError(CadError, ValueError):
    """A value that is not defined for the shape; with ``strict_geometry``, a shape with a defect
    (`CadModel.find_defects`).
    """

    kind = "geometry"


class RecipeError(CadError, ValueError):
    """No such recipe or option of the encoder, or an invalid value of an option."""

    kind = "recipe"


class LabelError(CadError, ValueError):
    """Labels that do not fit the faces of their part, or that cannot be read (`dflow.labels.join`)."""

    kind = "labels"


class TooBigError(CadError, MemoryError):
    """Refused before allocating: face-pair arrays would exceed their limit, which follows the memory that a file may
    take. Raise ``memory_limit``, or pass ``encode(…, too_big="leave_out")``, which keeps the other arrays.
    """

    kind = "too_big"
