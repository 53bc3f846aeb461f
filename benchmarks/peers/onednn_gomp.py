"""oneDNN called directly, the build with OpenMP threads: an older version, without SYCL's queue."""

from benchmarks.peers.onednn import make, to_tensorflow

__all__ = ["make", "to_tensorflow"]
