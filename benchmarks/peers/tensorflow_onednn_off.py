"""Stock TensorFlow with TF_ENABLE_ONEDNN_OPTS=0; the worker sets it before the import."""

from benchmarks.peers.tensorflow import make

__all__ = ["make"]
