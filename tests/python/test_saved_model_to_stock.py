"""`ct.saved_model.to_stock`: every form of the op that stock ops can compute, and what they cannot.

The stock models run in another process, which never loads the op library.
"""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import conv_transpose_nd as ct

QUICK = {"seconds": 0.0, "report": lambda line: None}


def op(x, filters, *arguments, dtype="float32", **options):
    """A function of one input of the shape `x`; filters and bias are constants."""
    rng = np.random.default_rng(3)
    weights = tf.constant(rng.integers(-2, 3, filters), dtype)
    if options.pop("bias", False):
        channels = filters[-2] * options.get("groups", 1)
        options["bias"] = tf.constant(rng.integers(-2, 3, [channels]), dtype)

    @tf.function(input_signature=[tf.TensorSpec([None, *x[1:]], dtype)], autograph=False)
    def call(value):
        return ct.conv_transpose_nd(value, weights, *arguments, **options)

    return call, x, dtype


# Small integers, so that sums are exact in every dtype and order.
FORMS = {
    "plain": op([2, 4, 5, 3], [3, 3, 2, 3], None, 2),
    "given_shape": op([2, 4, 5, 3], [3, 3, 2, 3], [2, 8, 9, 2], 2),
    "int64_shape": op([2, 4, 5, 3], [3, 3, 2, 3], tf.constant([2, 8, 9, 2], tf.int64), 2),
    "valid": op([2, 4, 5, 3], [3, 2, 2, 3], None, [1, 3], "VALID", bias=True),
    "output_padding": op([2, 4, 5, 3], [3, 2, 2, 3], None, [2, 3], "VALID", output_padding=1),
    "same_output_padding": op([2, 4, 5, 3], [4, 3, 2, 3], None, 2, "SAME", output_padding=[1, 0]),
    "same_lower": op([2, 4, 5, 3], [4, 3, 2, 3], None, 2, "SAME_LOWER", bias=True),
    "same_lower_long_stride": op([2, 4, 3], [2, 2, 3], None, 5, "SAME_LOWER"),
    "explicit": op([2, 4, 5, 3], [4, 3, 2, 3], None, 2, [(1, 2), (0, 1)]),
    "one_axis": op([2, 4, 3], [4, 2, 3], None, 2, bias=True, activation="relu"),
    "one_axis_explicit": op([2, 4, 3], [4, 2, 3], None, 2, [(1, 0)]),
    "three_axes": op([2, 3, 4, 2, 3], [2, 3, 3, 2, 3], None, [1, 2, 3], activation="relu6"),
    "three_axes_explicit": op([2, 3, 4, 2, 3], [2, 3, 3, 2, 3], None, 2, [(1, 0), (0, 1), (1, 1)]),
    "dilated": op([2, 4, 5, 3], [3, 2, 2, 3], None, [2, 1], dilations=[2, 3]),
    "grouped": op([2, 4, 5, 6], [3, 3, 2, 6], None, 2, groups=3, bias=True),
    "first": op([2, 3, 4, 5], [3, 3, 2, 3], None, 2, data_format="NCHW", bias=True),
    "first_given": op([2, 3, 5], [3, 2, 3], [2, 2, 9], 2, data_format="NCW"),
    "everything": op(
        [2, 6, 3, 4],
        [2, 3, 2, 6],
        None,
        [2, 3],
        [(1, 0), (0, 1)],
        data_format="NCHW",
        dilations=2,
        groups=2,
        bias=True,
        activation="relu",
    ),
    "double": op([2, 3, 4, 4], [3, 3, 2, 3], None, 2, dtype="float64", data_format="NCHW"),
    "double_dilated": op([2, 4, 4, 3], [3, 3, 2, 3], None, 2, dilations=2, dtype="float64"),
    "half": op([2, 4, 4, 3], [3, 3, 2, 3], None, 2, dtype="float16", bias=True),
    "bfloat16": op([2, 4, 4, 3], [3, 3, 2, 3], None, 2, dtype="bfloat16"),
    "int32": op([2, 4, 4, 3], [3, 3, 2, 3], None, 2, dtype="int32", activation="relu"),
}
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "gelu", "gelu_tanh", "sigmoid", "tanh", "silu")
FORMS |= {
    f"{name}_{dtype}": op([1, 4, 3], [1, 2, 3], bias=True, activation=name, dtype=dtype)
    for name in ACTIVATIONS
    for dtype in ("float32", "float16")
    if dtype == "float32" or name in ("leaky_relu", "gelu", "silu")
}


def value(shape, dtype):
    return np.random.default_rng(4).integers(-2, 3, shape).astype(tf.as_dtype(dtype).as_numpy_dtype)


@pytest.fixture(scope="module")
def results(tmp_path_factory, run_python):
    """By name: what the op gives, and what the stock model gives elsewhere."""
    folder = tmp_path_factory.mktemp("forms")
    module = tf.Module()
    for name, (function, _, _) in FORMS.items():
        setattr(module, name, function)
    tf.saved_model.save(module, str(folder / "ours"))
    report = ct.saved_model.to_stock(folder / "ours", folder / "stock", **QUICK)
    assert report.rewritten == len(FORMS)
    assert {timing.name for timing in report.timings} == set(FORMS)
    inputs = {n: value(x, d).astype("f8") for n, (_, x, d) in FORMS.items()}
    np.savez(folder / "inputs.npz", **inputs)
    code = """
import sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1] + "/stock")
results = {}
for name, x in np.load(sys.argv[1] + "/inputs.npz").items():
    function = getattr(model, name)
    dtype = function.concrete_functions[0].inputs[0].dtype
    results[name] = tf.cast(function(tf.cast(x, dtype)), tf.float64).numpy()
np.savez(sys.argv[1] + "/results.npz", **results)
assert "conv_transpose_nd" not in sys.modules
"""
    # Without oneDNN, as on other processors: no groups, no dilations, no channels first.
    run_python(code, folder, TF_ENABLE_ONEDNN_OPTS="0", PYTHONPATH="")
    stock = dict(np.load(folder / "results.npz"))
    ours = {
        n: tf.cast(f(tf.constant(value(x, d))), tf.float64).numpy()
        for n, (f, x, d) in FORMS.items()
    }
    return ours, stock


@pytest.mark.parametrize("name", FORMS)
def test_the_stock_ops_compute_the_same(results, name):
    ours, stock = results[0][name], results[1][name]
    assert ours.shape == stock.shape
    if name.rsplit("_", 1)[0] not in ACTIVATIONS:
        assert np.array_equal(ours, stock)
        return
    # Sums are exact; the two forms of an activation differ by some roundings of a result below 16.
    eps = 2.0**-11 if name.endswith("float16") else 2.0**-24
    np.testing.assert_allclose(stock, ours, rtol=0, atol=8 * eps * 16)


def test_what_cannot_be_expressed_is_listed_with_reasons(tmp_path):
    module = tf.Module()
    module.four = op([1, 2, 2, 2, 2, 3], [2, 2, 2, 2, 2, 3])[0]
    module.integers = op([1, 2, 2, 2, 3], [2, 2, 2, 2, 3], dtype="int32")[0]
    module.fine = op([1, 2, 3], [2, 2, 3])[0]
    module.any_filter = tf.function(
        lambda x, w: ct.conv_transpose_nd(x, w),
        input_signature=[tf.TensorSpec([1, 4, 3]), tf.TensorSpec([None, None, 3])],
    )
    module.any_shape = tf.function(
        lambda x, s: ct.conv_transpose_nd(x, tf.ones([2, 2, 3]), s),
        input_signature=[tf.TensorSpec([1, 4, 3]), tf.TensorSpec([None], tf.int32)],
    )

    @tf.function(input_signature=[tf.TensorSpec([1, 4, 3])])
    def gradient(x):
        return tf.gradients(ct.conv_transpose_nd(x, tf.ones([2, 2, 3])), x)

    module.gradient = gradient
    tf.saved_model.save(module, str(tmp_path / "ours"))
    with pytest.raises(ValueError, match="stock TensorFlow cannot express 6 of the") as caught:
        ct.saved_model.to_stock(tmp_path / "ours", tmp_path / "stock", **QUICK)
    lines = str(caught.value).splitlines()[1:]
    reasons = [line.split(": ", 2)[2] for line in lines]
    assert sorted(reasons) == [
        "4 spatial axes, and no stock op has more than 3",
        *["a gradient: export the forward function alone"] * 2,
        "int32 with 3 spatial axes, which the stock op lacks",
        "its filter has no static shape",
        "its output_shape has no static length, and may be empty",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


@pytest.fixture(scope="module")
def servable(tmp_path_factory):
    """A small network with the op, on stock ops."""
    folder = tmp_path_factory.mktemp("servable")
    module = tf.Module()
    module.filters = [
        tf.Variable(tf.random.stateless_normal([4, 4, 6, 3], [1, 1])),
        tf.Variable(tf.random.stateless_normal([4, 4, 2, 6], [1, 2])),
    ]

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3], name="x")])
    def serve(x):
        for filters, activation in zip(module.filters, ("relu", "tanh"), strict=True):
            bias = tf.ones([filters.shape[-2]])
            x = ct.conv_transpose_nd(x, filters, strides=2, bias=bias, activation=activation)
        return x

    module.serve = serve
    tf.saved_model.save(module, str(folder / "ours"), signatures=serve)
    ct.saved_model.to_stock(folder / "ours", folder / "stock", **QUICK)
    x = np.random.default_rng(1).standard_normal([1, 8, 8, 3]).astype("f")
    return folder, x, serve(x)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_tflite_converts_and_runs_it(servable):
    folder, x, expected = servable
    content = tf.lite.TFLiteConverter.from_saved_model(str(folder / "stock")).convert()
    interpreter = tf.lite.Interpreter(model_content=content)
    names = {details["op_name"] for details in interpreter._get_ops_details()}
    assert "TRANSPOSE_CONV" in names
    assert not [name for name in names if name.startswith(("Flex", "CUSTOM"))]
    run = interpreter.get_signature_runner()
    (result,) = run(x=x).values()
    # 4 taps per phase and axis pair, 3 and 6 channels: 48 and 96 products, then tanh below 1.
    # The first layer's sums reach some 30, and 96 of them add up.
    np.testing.assert_allclose(result, expected, rtol=0, atol=2 * 144 * 2.0**-24 * 30)


def test_nothing_but_stock_ops_is_left(servable):
    content = (servable[0] / "stock/saved_model.pb").read_bytes()
    meta = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    listed = {definition.name for definition in meta.meta_info_def.stripped_op_list.op}
    assert "Conv2DBackpropInput" in listed
    assert "ConvTransposeND" not in listed
    assert b"ConvTransposeND" not in content
