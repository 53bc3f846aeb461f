"""Saves the trained generator as a SavedModel with dynamic batch and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from conv_transpose_nd.cli.demo.model import FEATURES, Generator, stock_transpose


class Servable(tf.Module):
    """The generator's traced functions.

    `upscale` is the serving signature. `features` and `reconstruct` are its two halves, so that the
    last layer can be timed alone.
    """

    def __init__(self, model: Generator) -> None:
        super().__init__()
        self.model = model
        picture = tf.TensorSpec([None, None, None, 1], tf.float32, name="pictures")
        features = tf.TensorSpec([None, None, None, FEATURES], tf.float32, name="features")
        self.upscale = tf.function(model.__call__, input_signature=[picture])
        self.features = tf.function(model.padded_features, input_signature=[picture])
        self.reconstruct = tf.function(model.reconstruct, input_signature=[features])


def save(model: Generator, directory: Path) -> tuple[Path, Path]:
    """Writes `fsrcnn` (this op) and `fsrcnn_stock` (stock TensorFlow), with equal weights.

    Args:
      model: the trained generator.
      directory: exists; both SavedModels are written below it.

    Returns:
      Their paths.
    """
    ours, stock = directory / "fsrcnn", directory / "fsrcnn_stock"
    _save(Servable(model), ours)
    _save(Servable(model.with_transpose(stock_transpose)), stock)
    return ours, stock


def _save(servable: Any, path: Path) -> None:
    signature = servable.upscale.get_concrete_function()
    tf.saved_model.save(servable, str(path), signatures={"serving_default": signature})
