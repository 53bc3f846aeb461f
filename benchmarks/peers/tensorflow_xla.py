"""Stock TensorFlow, compiled by XLA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers import tensorflow
from benchmarks.workload import Case

to_tensorflow = tensorflow.to_tensorflow


def make(case: Case, constant: bool) -> Callable[[], Any]:
    """The stock function with jit_compile."""
    return tensorflow.make(case, constant, jit_compile=True)
