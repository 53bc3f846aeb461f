"""`tf.compat.v1`'s transposed convolutions."""

from __future__ import annotations

import importlib
import types

from conv_transpose_nd.compat.v1 import nn

__all__ = ["nn"]


def __getattr__(name: str) -> types.ModuleType:
    # Loaded on demand: not every program that calls the functions wants the layers.
    if name == "layers":
        return importlib.import_module(f"{__name__}.layers")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
