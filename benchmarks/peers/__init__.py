"""One module per peer: `make(workload, operation, threads)` returns a call that returns an array.

A module that cannot run a case raises UnsupportedError; one whose library is missing, ImportError.
"""


class UnsupportedError(Exception):
    """The peer has no such case."""
