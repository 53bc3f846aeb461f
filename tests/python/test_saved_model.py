"""SavedModels and graphs that hold the op, in processes that have only loaded the library."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import conv_transpose_nd as ct

# What the other process runs: it never imports the package.
PREAMBLE = """
import sys
import numpy as np, tensorflow as tf
tf.load_op_library(sys.argv[1])
folder = sys.argv[2]
x = np.load(folder + "/x.npy")
"""
POSTAMBLE = """
assert "conv_transpose_nd" not in sys.modules
np.save(folder + "/result.npy", result)
"""


class Upscale(tf.Module):
    """Every attribute of the op away from its default, shapes unknown."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(1)
        self.filters = tf.Variable(rng.standard_normal([3, 2, 4, 6]).astype("f"))
        self.bias = tf.Variable(rng.standard_normal([8]).astype("f"))

    @tf.function(input_signature=[tf.TensorSpec([None, 6, None, None])])
    def __call__(self, x):
        y = ct.conv_transpose_nd(
            x,
            self.filters,
            strides=[2, 3],
            padding=[(1, 0), (0, 1)],
            data_format="NCHW",
            dilations=2,
            groups=2,
            bias=self.bias,
            activation="gelu",
        )
        shape = tf.shape(y, out_type=tf.int64) + tf.constant([0, 0, 1, 2], tf.int64)
        return ct.conv_transpose_nd(
            y, tf.ones([2, 3, 8, 8]), shape, padding="VALID", data_format="NC", activation="tanh"
        )


@pytest.fixture(scope="module")
def module():
    return Upscale()


@pytest.fixture
def folder(tmp_path):
    x = np.random.default_rng(2).standard_normal([2, 6, 5, 4]).astype("f")
    np.save(tmp_path / "x.npy", x)
    return tmp_path


def other_process(run_python, folder, code):
    """The result of `code` in a process with the op library only."""
    run_python(PREAMBLE + code + POSTAMBLE, ct.sysconfig.get_lib(), folder)
    return np.load(folder / "result.npy")


def test_round_trip(module, folder, run_python):
    tf.saved_model.save(module, str(folder / "model"))
    result = other_process(run_python, folder, "result = tf.saved_model.load(folder + '/model')(x)")
    assert np.array_equal(result, module(np.load(folder / "x.npy")))


def test_session_of_tensorflow_1(module, folder, run_python):
    signatures = {"serving_default": module.__call__.get_concrete_function()}
    tf.saved_model.save(module, str(folder / "model"), signatures=signatures)
    code = """
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    model = tf.compat.v1.saved_model.load(session, ["serve"], folder + "/model")
    signature = model.signature_def["serving_default"]
    (feed,), (fetch,) = signature.inputs.values(), signature.outputs.values()
    result = session.run(fetch.name, {feed.name: x})
"""
    result = other_process(run_python, folder, code)
    assert np.array_equal(result, module(np.load(folder / "x.npy")))


def test_frozen_graph(module, folder, run_python):
    frozen = convert_variables_to_constants_v2(module.__call__.get_concrete_function())
    graph = frozen.graph.as_graph_def()
    assert "ConvTransposeND" in {node.op for node in graph.node}
    (folder / "graph.pb").write_bytes(graph.SerializeToString())
    names = frozen.inputs[0].name, frozen.outputs[0].name
    code = f"""
graph = tf.compat.v1.GraphDef.FromString(open(folder + "/graph.pb", "rb").read())
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    tf.import_graph_def(graph, name="")
    result = session.run({names[1]!r}, {{{names[0]!r}: x}})
"""
    result = other_process(run_python, folder, code)
    assert np.array_equal(result, module(np.load(folder / "x.npy")))


def test_graph_of_tensorflow_1(folder):
    x_value = np.load(folder / "x.npy")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 6, None, None])
        w = tf.compat.v1.get_variable("w", [3, 3, 2, 6], dtype=tf.float32)
        s = tf.shape(x)
        y = ct.compat.v1.nn.conv2d_transpose(
            x, w, tf.stack([s[0], 2, 2 * s[2], 2 * s[3]]), 2, data_format="NCHW"
        )
        assert y.shape.as_list() == [None, 2, None, None]
        (gradient,) = tf.gradients(y, w)
        session.run(tf.compat.v1.global_variables_initializer())
        values = session.run([y, gradient, w], {x: x_value})
    last = np.moveaxis(x_value, 1, -1)
    stock = tf.nn.conv2d_transpose(last, values[2], [2, 10, 8, 2], 2)
    # Sums of at most 9 * 6 products of values below 4 * 1.
    bound = 2 * 54 * 2.0**-24 * 54 * 4
    assert np.max(np.abs(np.moveaxis(values[0], 1, -1) - stock)) <= bound
    assert values[1].shape == (3, 3, 2, 6)


def test_gradient_where_only_the_library_is_loaded(module, folder, run_python):
    """The library has no gradients, and TensorFlow says for which op. The package has them."""
    tf.saved_model.save(module, str(folder / "model"))
    code = """
import importlib
def gradient():
    model = tf.saved_model.load(folder + "/model")
    with tf.GradientTape() as tape:
        v = tf.constant(x)
        tape.watch(v)
        y = model(v)
    return tape.gradient(y, v)
try:
    gradient()
except LookupError as error:
    assert "ConvTransposeND" in str(error)
else:
    raise AssertionError("a gradient without a registered one")
importlib.import_module("conv_transpose_nd")
np.save(folder + "/result.npy", gradient())
"""
    run_python(PREAMBLE + code, ct.sysconfig.get_lib(), folder)
    x = tf.constant(np.load(folder / "x.npy"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = module(x)
    assert np.array_equal(np.load(folder / "result.npy"), tape.gradient(y, x))
