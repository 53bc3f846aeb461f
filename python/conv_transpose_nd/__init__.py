"""Transposed convolution of any rank for TensorFlow: one op with gradients, bias and activation.

    import conv_transpose_nd as ct
    y = ct.conv_transpose_nd(x, filters, strides=2)          # any rank
    y = ct.nn.conv2d_transpose(x, filters, output_shape, 2)  # as tf.nn has it

Importing this package loads the op library, so that SavedModels that hold the op can be loaded.
Where TensorFlow is not installed, `conv_transpose_nd.core` (the operations on NumPy arrays) and
`conv_transpose_nd.sysconfig` work all the same.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from conv_transpose_nd import sysconfig
from conv_transpose_nd._versions import show_versions

if TYPE_CHECKING:
    from conv_transpose_nd import compat, core, keras, nn, saved_model, weights
    from conv_transpose_nd._explain import explain
    from conv_transpose_nd.ops import conv_transpose_nd
    from conv_transpose_nd.replace import replace_tensorflow_ops

__all__ = [
    "compat",
    "conv_transpose_nd",
    "core",
    "explain",
    "keras",
    "nn",
    "replace_tensorflow_ops",
    "saved_model",
    "show_versions",
    "sysconfig",
    "weights",
]

# What is loaded on demand: functions with the module that has them, and modules.
_FUNCTIONS = {
    "conv_transpose_nd": "ops",
    "explain": "_explain",
    "replace_tensorflow_ops": "replace",
}
_MODULES = ("compat", "core", "keras", "nn", "ops", "saved_model", "weights")
_WITHOUT_TENSORFLOW = ("core", "weights")


def _load_ops() -> bool:
    """Loads the op library and registers the gradients; False if TensorFlow is not installed."""
    try:
        importlib.import_module("tensorflow")
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        return False
    importlib.import_module("conv_transpose_nd._gradients")
    importlib.import_module("conv_transpose_nd._vectorize")
    importlib.import_module("conv_transpose_nd._statistics")
    # TensorFlow imports Keras, but for its legacy one. Registers the layers, for saved models.
    if "keras" in sys.modules and sys.modules["keras"].config.backend() == "tensorflow":
        importlib.import_module("conv_transpose_nd.keras")
    return True


_has_tensorflow = _load_ops()


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _has_tensorflow and name not in _WITHOUT_TENSORFLOW:
        raise ImportError(
            f"conv_transpose_nd.{name} needs TensorFlow, which is not installed "
            "(conv_transpose_nd.core does not need it). Repair: pip install tensorflow",
            name="tensorflow",
        )
    module = importlib.import_module(f"{__name__}.{_FUNCTIONS.get(name, name)}")
    value = getattr(module, name) if name in _FUNCTIONS else module
    setattr(sys.modules[__name__], name, value)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
