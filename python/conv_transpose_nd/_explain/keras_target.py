"""Keras layers and models as SavedModels, which is what can be examined."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

_Shapes = Mapping[str, Sequence[int]] | Sequence[int] | None


def load(path: pathlib.Path) -> Any:
    """The model in a `.keras` or `.h5` file.

    Raises:
      ValueError: if Keras cannot read it.
    """
    # Whatever Keras, zipfile and h5py raise for a file that is none.
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        lines = str(error).strip().splitlines() or [repr(error)]
        raise ValueError(f"{path} cannot be loaded by Keras: {lines[0]}") from error


def export(layer: Any, input_shape: _Shapes, folder: pathlib.Path) -> None:
    """Writes a layer or model to `folder`, with one signature.

    Raises:
      ValueError: if the layer was never built and `input_shape` does not say for what.
    """
    if isinstance(input_shape, Mapping):
        raise ValueError("input_shape of a Keras layer or model must be one shape, got a mapping")
    if input_shape is not None and not layer.built:
        layer.build(tuple(input_shape))
    specs = _specs(layer, input_shape)
    archive = keras.export.ExportArchive()
    archive.track(layer)
    archive.add_endpoint("serve", lambda *inputs: _call(layer, inputs), input_signature=specs)
    archive.write_out(str(folder), verbose=False)


def _specs(layer: Any, input_shape: _Shapes) -> list[tf.TensorSpec]:
    inputs = getattr(layer, "inputs", None)
    if inputs is not None and input_shape is None:
        return [tf.TensorSpec(one.shape, one.dtype) for one in inputs]
    if inputs is not None and len(inputs) != 1:
        raise ValueError(
            f"input_shape must be left out for a model of {len(inputs)} inputs, got {input_shape}"
        )
    if input_shape is None:
        raise ValueError(
            f"input_shape (--input-shape) must be given for {layer.name}: a layer, and a model of "
            "which only the weights are known, does not say what it is called with"
        )
    dtype = inputs[0].dtype if inputs else layer.input_dtype
    return [tf.TensorSpec(tuple(input_shape), dtype)]


def _call(layer: Any, inputs: tuple[Any, ...]) -> Any:
    structure = getattr(layer, "input", None)
    if isinstance(structure, (list, dict)):
        packed = tf.nest.pack_sequence_as(structure, inputs)
        return layer(packed, training=False) if isinstance(layer, keras.Model) else layer(packed)
    (one,) = inputs
    return layer(one, training=False) if isinstance(layer, keras.Model) else layer(one)
