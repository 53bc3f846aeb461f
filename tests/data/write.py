"""Writes what test_format_stability.py reads: op definitions, and a SavedModel as text.

python tests/data/write.py op-definitions   # after an attribute was added
python tests/data/write.py saved-model      # once per release: the folder is named by the version
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.framework import op_def_registry

from conv_transpose_nd import _build_info, _library

FOLDER = pathlib.Path(__file__).resolve().parent
OPS = ("ConvTransposeND", "ConvTransposeNDInputGrad", "ConvTransposeNDFilterGrad")


def op_definitions():
    """The registered definitions, without the documentation."""
    found = op_def_pb2.OpList()
    for name in OPS:
        definition = found.op.add()
        definition.CopyFrom(op_def_registry.get(name))
        definition.ClearField("summary")
        definition.ClearField("description")
        for argument in (*definition.input_arg, *definition.output_arg, *definition.attr):
            argument.ClearField("description")
    return found


def integers(*shape):
    """Small ones, so that sums are exact."""
    return (np.arange(np.prod(shape)) % 5 - 2).reshape(shape).astype("f")


def outputs(library, x):
    """Each op with its attributes away from their defaults, then with all defaults."""
    filters, bias = tf.constant(integers(3, 2, 4, 6)), tf.constant(integers(8))
    shared = {
        "strides": [1, 1, 2, 3],
        "dilations": [1, 1, 2, 1],
        "padding": "EXPLICIT",
        "explicit_paddings": [0, 0, 0, 0, 1, 0, 0, 1],
        "data_format": "CHANNELS_FIRST",
        "groups": 2,
    }
    shape = tf.constant([], tf.int64)
    y = library.conv_transpose_nd(
        x,
        filters,
        shape,
        [bias],
        output_padding=[1, 2],
        activation="relu6",
        filter_is_constant=True,
        **shared,
    )
    plain = {"strides": [1, 1, 1], "padding": "SAME"}
    z = library.conv_transpose_nd(
        tf.reshape(x, [-1, 4, 6]), filters[0], tf.constant([10, 4, 4]), [], **plain
    )
    return {
        "everything": y,
        "input_grad": library.conv_transpose_nd_input_grad(y, filters, **shared),
        "filter_grad": library.conv_transpose_nd_filter_grad(x, [3, 2, 4, 6], y, **shared),
        "defaults": z,
    }


def save(folder):
    """Writes the SavedModel with a signature `serving_default`, and what it computes."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 6, 5, 4], "x")
        results = {key: tf.identity(y, key) for key, y in outputs(_library.library, x).items()}
        builder = v1.saved_model.Builder(str(folder))
        info = v1.saved_model.build_tensor_info
        signature = v1.saved_model.signature_def_utils.build_signature_def(
            {"x": info(x)}, {k: info(y) for k, y in results.items()}, "tensorflow/serving/predict"
        )
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, strip_default_attrs=True
        )
        builder.save(as_text=True)
        values = session.run(results, {x: integers(2, 6, 5, 4)})
    text = json.dumps({k: [list(v.shape), v.ravel().tolist()] for k, v in values.items()})
    (folder / "expected.json").write_text(text + "\n")
    shutil.rmtree(folder / "variables", ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["op-definitions"]:
        text = text_format.MessageToString(op_definitions())
        (FOLDER / "op_definitions.pbtxt").write_text(text)
    elif sys.argv[1:] == ["saved-model"]:
        save(FOLDER / f"saved_model_{_build_info.VERSION}")
    else:
        sys.exit(__doc__)
