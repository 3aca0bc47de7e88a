"""The errors of seamless-dask-cache, one tree.

::

    SeamlessDaskCacheError
    +-- CacheMissError            a checksum names a buffer that no store holds
    |   +-- CorruptBufferError    a store holds bytes that do not match their checksum
    +-- CellTypeError             a value or a buffer does not fit its cell type
    |   +-- ConversionError       a conversion between cell types is forbidden or failed
    +-- ExpressionError           the path of an expression leads nowhere
    +-- DatabaseError             a database server answered with an error
    |   +-- DatabaseUnavailableError   a database server did not answer at all
    |   +-- DatabaseConflictError      the server refused a contradictory write (HTTP 409)
    +-- RefusedError              a function or a value has no certain identity
    +-- StoreError                a buffer store could not be written
    +-- DatasetError            a named store has a dataset that can't be used
    |   +-- DatasetNameError         a name that is no safe file name
    |   +-- MissingDatasetError      there is no dataset of that name
    |   +-- CorruptDatasetError      its files are damaged, or not what their checksum says
    +-- ReferenceCountError       a reference to a buffer was taken back that nobody holds
    +-- ConfigurationError        an argument or a setting makes no sense
"""

from __future__ import annotations


class SeamlessDaskCacheError(Exception):
    """Base class of every error that this library raises on purpose."""


class CacheMissError(SeamlessDaskCacheError, KeyError):
    """No configured store holds the buffer of a checksum."""

    __str__ = Exception.__str__


class CorruptBufferError(CacheMissError):
    """A store holds bytes that do not match the checksum that names them."""


class CellTypeError(SeamlessDaskCacheError, ValueError):
    """A value or a buffer does not fit the cell type that was asked for."""


class ConversionError(CellTypeError):
    """A conversion between two cell types is forbidden, or failed for this buffer."""


class ExpressionError(SeamlessDaskCacheError, LookupError):
    """The path of an expression leads nowhere in the value that it starts from."""


class DatabaseError(SeamlessDaskCacheError):
    """A database server answered a request with an error."""


class DatabaseUnavailableError(DatabaseError, ConnectionError):
    """A database server could not be reached, or did not answer in time."""


class DatabaseConflictError(DatabaseError):
    """A database server refused a write that contradicts what it holds (HTTP 409)."""


class RefusedError(SeamlessDaskCacheError, TypeError):
    """A function or a value has no certain identity.

    Parameters
    ----------
    reason : str
        Why, in words that a user can act on.
    path : str, optional
        Where the offending object was found, such as ``"f -> helper -> global LOCK"``.
    """

    def __init__(self, reason: str, path: str = ""):
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.reason} (at {self.path})" if self.path else self.reason


class StoreError(SeamlessDaskCacheError, OSError):
    """A buffer store could not be written."""


class DatasetError(SeamlessDaskCacheError):
    """A named store has a dataset that can't be used."""


class DatasetNameError(DatasetError, ValueError):
    """The name of a dataset is no safe file name."""


class MissingDatasetError(DatasetError, KeyError, FileNotFoundError):
    """A named store has no dataset of that name."""

    __str__ = Exception.__str__


class CorruptDatasetError(DatasetError, ValueError):
    """The files of a dataset are damaged, or are not what their checksum says."""


class ReferenceCountError(SeamlessDaskCacheError, ValueError):
    """A reference to a buffer was taken back that nobody holds."""


class ConfigurationError(SeamlessDaskCacheError, ValueError):
    """An argument or a setting makes no sense; the message names it and what was expected."""
