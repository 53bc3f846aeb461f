"""The peers: one row of a table each, one process each.

A module has `make(case, constant)`, which returns a call that returns the result, and, unless the
result is an array as TensorFlow has it, `to_tensorflow(result, case)`, which is not timed. It
raises UnsupportedError for a case that the library lacks.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Mapping

ROOT = pathlib.Path(__file__).parent.parent.parent
# Virtual environments, one per library, because their requirements contradict each other.
FOLDER = ROOT / "build" / "peers"


class UnsupportedError(Exception):
    """The peer has no such case."""


@dataclasses.dataclass(frozen=True)
class PeerInfo:
    """How to start a peer, and what its row means."""

    module: str
    library: str
    layout: str
    constant: bool = False  # the filter never changes, and may be prepared once
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    requirements: tuple[str, ...] = ()  # of its own environment; none: runs in this one
    pins: bool = False  # takes its number of threads from the processors it may use

    def python(self) -> str:
        """The interpreter to run it with."""
        own = FOLDER / self.module / "bin" / "python"
        return str(own) if self.requirements and own.exists() else sys.executable

    def variables(self) -> dict[str, str]:
        """The environment to run it in."""
        prefix = pathlib.Path(self.python()).parent.parent
        return {name: text.format(prefix=prefix) for name, text in self.environment.items()}


_TENSORFLOW = "channels last, filter [k..., out, in]"
_ARRAYS = ("numpy", "ml_dtypes")

PEERS = {
    "op": PeerInfo("op", "conv_transpose_nd", _TENSORFLOW),
    "op_constant": PeerInfo("op", "conv_transpose_nd", _TENSORFLOW, constant=True),
    "core": PeerInfo("core", "conv_transpose_nd", _TENSORFLOW),
    "core_constant": PeerInfo("core", "conv_transpose_nd", _TENSORFLOW, constant=True),
    "tensorflow": PeerInfo("tensorflow", "tensorflow", _TENSORFLOW),
    "tensorflow_onednn_off": PeerInfo(
        "tensorflow", "tensorflow", _TENSORFLOW, environment={"TF_ENABLE_ONEDNN_OPTS": "0"}
    ),
    "tensorflow_xla": PeerInfo("tensorflow_xla", "tensorflow", _TENSORFLOW),
    "tensorflow_constant": PeerInfo("tensorflow", "tensorflow", _TENSORFLOW, constant=True),
    "tensorflow_xla_constant": PeerInfo("tensorflow_xla", "tensorflow", _TENSORFLOW, constant=True),
    "pytorch": PeerInfo(
        "pytorch",
        "torch",
        "channels_last tensors, filter [in, out, k...]",
        requirements=("torch", *_ARRAYS),
    ),
    "pytorch_channels_first": PeerInfo(
        "pytorch",
        "torch",
        "contiguous (channels first) tensors, filter [in, out, k...]",
        environment={"BENCHMARK_CHANNELS_FIRST": "1"},
        requirements=("torch", *_ARRAYS),
    ),
    "onnxruntime": PeerInfo(
        "onnxruntime",
        "onnxruntime",
        "channels first, filter [in, out, k...] as initializer",
        constant=True,
        requirements=("onnxruntime", "onnx", *_ARRAYS),
    ),
    "openvino": PeerInfo(
        "openvino",
        "openvino",
        "channels first, filter [in, out, k...] as Constant",
        constant=True,
        requirements=("openvino", *_ARRAYS),
    ),
    "jax": PeerInfo(
        "jax",
        "jax",
        "channels last, filter reversed to [k..., in, out] beforehand",
        requirements=("jax",),
        pins=True,
    ),
    "jax_constant": PeerInfo(
        "jax",
        "jax",
        "channels last, filter reversed to [k..., in, out] beforehand",
        constant=True,
        requirements=("jax",),
        pins=True,
    ),
    "litert": PeerInfo(
        "litert",
        "ai-edge-litert",
        "channels last, filter [out, k..., in] in the model",
        constant=True,
        requirements=("ai-edge-litert", *_ARRAYS),
    ),
    "onednn": PeerInfo(
        "onednn",
        "onednn",
        "channels last, filter as the primitive wants it",
        constant=True,
        # Its threads are those of a SYCL queue on Intel's OpenCL driver for CPUs.
        environment={
            "LD_LIBRARY_PATH": "{prefix}/lib",
            "OCL_ICD_FILENAMES": "{prefix}/lib/libintelocl.so",
        },
        requirements=("onednn", *_ARRAYS),
        pins=True,
    ),
    "onednn_gomp": PeerInfo(
        "onednn_gomp",
        "onednn-cpu-gomp",
        "channels last, filter as the primitive wants it",
        constant=True,
        requirements=("onednn-cpu-gomp", *_ARRAYS),
    ),
}
OURS = ("op", "op_constant", "core", "core_constant")
ORACLE = "core"
# Rows that only --constant-filter adds: the same libraries, whose filter need not be an argument.
CONSTANT_VARIANTS = ("tensorflow_constant", "tensorflow_xla_constant", "jax_constant")
DEFAULT = tuple(name for name in PEERS if name not in CONSTANT_VARIANTS)
TENSORFLOW = ("tensorflow", "tensorflow_onednn_off", "tensorflow_xla")
