"""Existing programs on this package's op: TensorFlow's entry points are replaced, and put back."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from conv_transpose_nd import nn
from conv_transpose_nd.compat.v1 import nn as v1_nn

__all__ = ["Replacement", "replace_tensorflow_ops"]

_NAMES = ("conv_transpose", "conv1d_transpose", "conv2d_transpose", "conv3d_transpose")

# Taken when this module is imported. Whoever has replaced them before that gets theirs back.
_ORIGINALS = [
    *((getattr(tf.nn, name), getattr(nn, name)) for name in _NAMES),
    *((getattr(tf.compat.v1.nn, name), getattr(v1_nn, name)) for name in _NAMES),
]


class Replacement:
    """What `replace_tensorflow_ops` has done: `undo()` it, or leave its `with` block."""

    def __init__(self) -> None:
        self._undo: list[tuple[types.ModuleType, str, Callable[..., Any]]] = []
        # TensorFlow has the functions under several names: tf.nn, tf.compat.v2.nn and others.
        ours = {id(original): own for original, own in _ORIGINALS}
        modules = [m for n, m in list(sys.modules.items()) if n.startswith("tensorflow.")]
        for module in modules:
            found = [(n, value) for n, value in vars(module).items() if id(value) in ours]
            for name, original in found:
                setattr(module, name, ours[id(original)])
                self._undo.append((module, name, original))

    def undo(self) -> None:
        """Puts TensorFlow's functions back. A second call does nothing."""
        while self._undo:
            setattr(*self._undo.pop())

    def __enter__(self) -> Replacement:
        """Returns this object; the replacement is done already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Calls `undo`."""
        self.undo()


def replace_tensorflow_ops() -> Replacement:
    """Makes TensorFlow and Keras compute transposed convolutions with this package's op.

        y = tf.nn.conv2d_transpose(x, filters, ...)  is  ct.nn.conv2d_transpose(x, filters, ...)

    and so for `conv_transpose`, `conv1d_transpose` and `conv3d_transpose`, in `tf.nn` and in
    `tf.compat.v1.nn`; `keras.ops.conv_transpose`, Keras' layers and tf_keras' call those. For the
    whole process, all threads, until it is undone; where it is in force already, nothing changes.

    What it does not reach: functions that a program has taken out of `tf.nn` before (`from
    tensorflow.nn import conv2d_transpose`), graphs that have been traced before, and SavedModels. A
    `tf.function` or model that is traced while it is in force keeps the op.

    Returns:
      A `Replacement`, with `undo()`, that also is the context manager of a `with` block.

    Raises:
      ValueError: none itself; the functions raise what those in `ct.nn` raise.

    Example:
      >>> with ct.replace_tensorflow_ops():
      ...     tf.nn.conv2d_transpose is ct.nn.conv2d_transpose
      True
      >>> tf.nn.conv2d_transpose is ct.nn.conv2d_transpose
      False

    Reference:
      `nn`, and `tf.nn` for the arguments of the functions.
    """
    return Replacement()
