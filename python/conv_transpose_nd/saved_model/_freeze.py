"""The signatures of a SavedModel, with their variables made constants."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def freeze(folder: pathlib.Path) -> None:
    """Replaces the SavedModel in `folder` by one that has its signatures only.

    Raises:
      ValueError: if a signature needs more than variables: tables, for example.
    """
    model = tf.saved_model.load(str(folder))
    frozen = {name: _frozen(name, function) for name, function in model.signatures.items()}
    if not frozen:
        raise ValueError(f"freeze=True needs a signature, and {folder.name} has none")
    shutil.rmtree(folder)
    module = tf.Module()
    tf.saved_model.save(module, str(folder), signatures=frozen)


def _frozen(name: str, function: Any) -> Any:
    constant = convert_variables_to_constants_v2(function)
    if constant.graph.captures:
        left = ", ".join(outer.dtype.name for outer, _ in constant.graph.captures)
        raise ValueError(f"freeze=True: signature {name} captures more than variables: {left}")
    specs = function.structured_input_signature[1]
    order = [tensor.name.split(":")[0] for tensor in constant.inputs]
    outputs = sorted(function.structured_outputs)

    def call(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        by_tensor = _by_placeholder(function, inputs)
        results = tf.nest.flatten(constant(*[by_tensor[placeholder] for placeholder in order]))
        return dict(zip(outputs, results, strict=True))

    named = {key: tf.TensorSpec(s.shape, s.dtype, key) for key, s in specs.items()}
    return tf.function(call, autograph=False).get_concrete_function(**named)


def _by_placeholder(function: Any, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Inputs by the name of their placeholder, which need not be that of the argument."""
    names = sorted(function.structured_input_signature[1])
    placeholders = [tensor.name.split(":")[0] for tensor in function.inputs[: len(names)]]
    found = {p: inputs[n] for n, p in zip(names, placeholders, strict=True)}
    return found | {key: value for key, value in inputs.items() if key in placeholders}
