"""`ct.saved_model.accelerate`: SavedModels that stock TensorFlow wrote, on this op.

Every model is built and saved by stock TensorFlow, rewritten on disk, loaded again and compared.
"""

import hashlib
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from conftest import child_environment
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

import conv_transpose_nd as ct
from conv_transpose_nd import _library
from conv_transpose_nd.cli import main
from conv_transpose_nd.saved_model import _accelerate

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
MODELS = ("dcgan", "unet", "vocoder")
QUICK = {"seconds": 0.0, "report": lambda line: None}
STOCK = {"Conv2DBackpropInput", "Conv3DBackpropInputV2"}


def message(folder):
    return saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())


def nodes(folder):
    graph = message(folder).meta_graphs[0].graph_def
    return [*graph.node, *(n for f in graph.library.function for n in f.node_def)]


def ops(folder):
    return {node.op for node in nodes(folder)}


def digest(folder):
    """Names and contents of all files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(f.relative_to(folder), hashlib.sha256(f.read_bytes()).digest()) for f in files]


def close(a, b, terms, largest=1.0):
    """Within the roundings of `terms` products, each side's own, of numbers below `largest`."""
    np.testing.assert_allclose(a, b, rtol=0, atol=2 * terms * 2.0**-24 * largest)


@pytest.fixture(scope="module")
def stock_models(tmp_path_factory):
    """Written by stock Keras in a process of its own, which has no path to this package."""
    folder = tmp_path_factory.mktemp("stock")
    environment = child_environment()
    del environment["PYTHONPATH"]
    command = [sys.executable, str(EXAMPLES / "stock_models.py"), str(folder)]
    subprocess.run(command, env=environment, check=True, timeout=300, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def accelerated(stock_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accelerated")
    before = digest(stock_models)
    reports = {}
    for name in MODELS:
        reports[name] = ct.saved_model.accelerate(
            stock_models / name, folder / name, seconds=0.05, report=lambda line: None
        )
    assert digest(stock_models) == before
    return folder, reports


@pytest.mark.parametrize("name", MODELS)
def test_no_stock_op_is_left_and_what_was_done_is_said(accelerated, name):
    folder, reports = accelerated
    assert not ops(folder / name) & STOCK
    report = reports[name]
    assert report.rewritten == len(report.ops) == {"dcgan": 4, "unet": 3, "vocoder": 4}[name]
    taken_over = [op.what.split(", ", 1)[1] for op in report.ops]
    assert (
        taken_over
        == {
            "dcgan": ["2-D, filter that may change"] * 3
            + ["2-D, bias, tanh, filter that may change"],
            "unet": ["2-D, bias, relu, filter that may change"] * 3,
            "vocoder": ["1-D, bias, filter that may change"] * 4,
        }[name]
    )
    assert {timing.name for timing in report.timings} == {"serve", "serving_default"}
    for timing in report.timings:
        assert timing.before_s > 0
        assert timing.after_s > 0
        assert timing.difference <= timing.tolerance == 2.0**-14
        assert f"{timing.before_s / timing.after_s:.2f} times as fast" in str(report)


@pytest.mark.parametrize(
    ("name", "shape"), [("dcgan", [3, 100]), ("unet", [1, 24, 40, 3]), ("vocoder", [2, 9, 80])]
)
def test_outputs_and_gradients_are_those_of_the_stock_model(stock_models, accelerated, name, shape):
    before = tf.saved_model.load(str(stock_models / name))
    after = tf.saved_model.load(str(accelerated[0] / name))
    x = tf.random.stateless_normal(shape, [1, 2])
    values = []
    for model in (before, after):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model.serve(x)
            loss = tf.reduce_sum(tf.square(y))
        values.append((y, *tape.gradient(loss, [x, *model.trainable_variables])))
    assert len(values[0]) == len(values[1]) > 8
    for stock, ours in zip(*values, strict=True):
        # As in `accelerate`: 1024 roundings of the largest number, here of gradients too.
        assert ours is not None
        close(ours, stock, 512, np.max(np.abs(stock)))


def test_round_trip_through_stock_ops(stock_models, accelerated, tmp_path):
    folder = accelerated[0]
    for name in MODELS:
        report = ct.saved_model.to_stock(folder / name, tmp_path / name, **QUICK)
        assert report.rewritten == len(accelerated[1][name].ops)
        assert not [op for op in ops(tmp_path / name) if op.startswith("ConvTranspose")]
        again = ct.saved_model.accelerate(tmp_path / name, tmp_path / f"{name}_again", **QUICK)
        assert [op.what for op in again.ops] == [op.what for op in accelerated[1][name].ops]
    x = tf.random.stateless_normal([1, 5, 80], [3, 4])
    models = [tf.saved_model.load(str(f / "vocoder")) for f in (stock_models, tmp_path)]
    assert np.array_equal(models[0].serve(x), models[1].serve(x))


# What is said of each function of Forms.
WHAT = {
    "channels_first": "ConvTransposeND, 2-D, bias, relu6, constant filter",
    "three_axes": "ConvTransposeND, 3-D, bias, elu, constant filter",
    "one_axis": "ConvTransposeND, 1-D, bias, sigmoid, constant filter",
    "one_axis_first": "ConvTransposeND, 1-D, constant filter",
    "one_axis_by_hand": "ConvTransposeND, 1-D, bias, relu, constant filter",
    "dynamic": "ConvTransposeND, 2-D, filter that may change",
    "explicit": "ConvTransposeND, 2-D, gelu, constant filter",
    "gelu_tanh": "ConvTransposeND, 2-D, bias, gelu_tanh, constant filter",
    "swish": "ConvTransposeND, 2-D, bias, silu, constant filter",
    "added": "ConvTransposeND, 2-D, bias, leaky_relu, constant filter",
    "grouped": "ConvTransposeND, 2-D, groups 2, constant filter",
    "steeper": "ConvTransposeND, 2-D, bias, constant filter",
    "read_twice": "ConvTransposeND, 2-D, constant filter",
    "unit_height": "ConvTransposeND, 2-D, constant filter",
    "while_loop": "ConvTransposeND, 1-D, constant filter",
}


class Forms(tf.Module):
    """Stock calls that the rewrite must see through, and what it says of each."""

    def __init__(self):
        super().__init__()
        self.filters = tf.Variable(self.array(3, 3, 4, 3))

    @staticmethod
    def array(*shape):
        return np.random.default_rng(5).standard_normal(shape).astype("f")

    def spec(*shape):
        return tf.function(input_signature=[tf.TensorSpec(shape)], autograph=False)

    @spec(None, 3, None, None)
    def channels_first(self, x):
        n, _, h, w = tf.unstack(tf.shape(x))
        shape = tf.stack([n, 4, 2 * h, 3 * w])
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), shape, [2, 3], data_format="NCHW")
        return tf.nn.relu6(tf.nn.bias_add(y, self.array(4), "NCHW"))

    @spec(None, None, None, None, 3)
    def three_axes(self, x):
        shape = tf.shape(x) * [1, 2, 1, 3, 0] + [0, 0, 0, 0, 4]
        y = tf.nn.conv3d_transpose(x, self.array(2, 3, 2, 4, 3), shape, [2, 1, 3])
        return tf.nn.elu(tf.nn.bias_add(y, self.array(4)))

    @spec(None, None, 3)
    def one_axis(self, x):
        shape = tf.shape(x) * [1, 2, 0] + [0, 1, 4]
        y = tf.nn.conv1d_transpose(x, self.array(3, 4, 3), shape, 2, "VALID")
        return tf.sigmoid(tf.nn.bias_add(y, self.array(4)))

    @spec(2, 3, 5)
    def one_axis_first(self, x):
        return tf.nn.conv1d_transpose(x, self.array(3, 4, 3), [2, 4, 10], 2, data_format="NCW")

    @spec(2, 5, 3)
    def one_axis_by_hand(self, x):
        """The unit axis behind the other one, put in and taken out by tf.reshape."""
        filters = self.array(3, 1, 4, 3)
        x = tf.reshape(x, [2, 5, 1, 3])
        y = tf.nn.conv2d_transpose(
            x, tf.reshape(filters[:, 0], [3, 1, 4, 3]), [2, 10, 1, 4], [2, 1]
        )
        return tf.reshape(tf.nn.relu(tf.nn.bias_add(y, self.array(4))), [2, 10, 4])

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([4], "int32")]
    )
    def dynamic(self, x, output_shape):
        return tf.nn.conv2d_transpose(x, self.filters, output_shape, 2)

    @spec(2, 6, 6, 3)
    def explicit(self, x):
        pads = [[0, 0], [1, 2], [0, 1], [0, 0]]
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 10, 12, 4], 2, pads)
        return tf.nn.gelu(y)

    @spec(2, 6, 6, 3)
    def gelu_tanh(self, x):
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 12, 12, 4], 2)
        return tf.nn.gelu(tf.nn.bias_add(y, self.array(4)), approximate=True)

    @spec(2, 6, 6, 3)
    def swish(self, x):
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 12, 12, 4], 2)
        return tf.nn.silu(tf.nn.bias_add(y, self.array(4)))

    @spec(2, 6, 6, 3)
    def added(self, x):
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 12, 12, 4], 2)
        return tf.nn.leaky_relu(self.array(4) + y)

    @spec(2, 6, 6, 4)
    def grouped(self, x):
        return tf.nn.conv2d_transpose(x, self.array(3, 3, 2, 4), [2, 12, 12, 4], 2)

    @spec(2, 6, 6, 3)
    def steeper(self, x):
        """Not the op's leaky_relu, and a near miss: its slope is 0.1."""
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 12, 12, 4], 2)
        return tf.nn.leaky_relu(tf.nn.bias_add(y, self.array(4)), 0.1)

    @spec(2, 6, 6, 3)
    def read_twice(self, x):
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 12, 12, 4], 2)
        return tf.nn.relu(tf.nn.bias_add(y, self.array(4))) + y

    @spec(2, 5, 3)
    def unit_height(self, x):
        """Without anybody who takes the unit axis out again."""
        return tf.nn.conv2d_transpose(x[:, None], self.array(1, 3, 4, 3), [2, 1, 10, 4], [1, 2])

    @spec(2, 5, 3)
    def while_loop(self, x):
        def longer(i, y):
            shape = tf.stack([2, 2 * tf.shape(y)[1], 3])
            return i + 1, tf.nn.conv1d_transpose(y, self.array(3, 3, 3), shape, 2)

        invariants = [tf.TensorShape([]), tf.TensorShape([2, None, 3])]
        return tf.while_loop(lambda i, y: i < 2, longer, [0, x], invariants)[1]


# Random values are no output_shape.
INPUTS = {"dynamic": [Forms.array(2, 5, 5, 3), [2, 9, 10, 4]]}
SHAPES = {"one_axis": [2, 5, 3], "three_axes": [2, 3, 4, 2, 3], "channels_first": [2, 3, 5, 4]}


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    tf.saved_model.save(Forms(), str(folder / "stock"))
    report = ct.saved_model.accelerate(folder / "stock", folder / "ours", inputs=INPUTS, **QUICK)
    return folder, report


def test_forms_are_all_rewritten(forms):
    folder, report = forms
    assert not ops(folder / "ours") & STOCK
    said = {op.function: op.what for op in report.ops}
    for name, what in WHAT.items():
        matching = [w for f, w in said.items() if re.fullmatch(rf"__inference_{name}_\d+", f)]
        if name == "while_loop":
            matching = [w for f, w in said.items() if f.startswith("while_body")]
        assert matching == [what], name
    assert report.rewritten == len(report.ops) == len(WHAT)
    assert {timing.name for timing in report.timings} == set(WHAT)


@pytest.mark.parametrize("name", WHAT)
def test_forms_compute_the_same(forms, name):
    before, after = (tf.saved_model.load(str(forms[0] / side)) for side in ("stock", "ours"))
    signature = getattr(Forms, name).input_signature
    shape = SHAPES.get(name) or [
        d or (2 if i == 0 else 5) for i, d in enumerate(signature[0].shape)
    ]
    x = Forms.array(*shape)
    arguments = [x, [2, 9, 10, 4]] if name == "dynamic" else [x]
    arguments = [tf.constant(a) for a in arguments]
    expected, got = getattr(before, name)(*arguments), getattr(after, name)(*arguments)
    assert got.shape == expected.shape
    # At most 36 products of normal numbers; the loop runs two such sums, on sums of 9.
    close(got, expected, 64, 64.0)


def test_the_filter_of_a_function_that_trains_is_not_marked(forms):
    convolutions = [n for n in nodes(forms[0] / "ours") if n.op == "ConvTransposeND"]
    marked = [node.attr["filter_is_constant"].b for node in convolutions]
    assert sorted(marked) == [False] + [True] * (len(WHAT) - 1)
    after = tf.saved_model.load(str(forms[0] / "ours"))
    x, shape = tf.ones([1, 3, 3, 3]), tf.constant([1, 6, 6, 4])
    first = after.dynamic(x, shape)
    after.filters.assign(2 * after.filters)
    assert np.array_equal(after.dynamic(x, shape), 2 * first)


def test_left_alone_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(_library, "has_xla", False)

    class Others(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 3])], jit_compile=True)
        def compiled(self, x):
            return tf.nn.conv2d_transpose(x, tf.ones([3, 3, 4, 3]), [1, 8, 8, 4], 2)

        @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 3])])
        def placed(self, x):
            with tf.device("/device:GPU:0"):
                return tf.nn.conv2d_transpose(x, tf.ones([3, 3, 4, 3]), [1, 8, 8, 4], 2)

        @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 3]), tf.TensorSpec(None)])
        def any_filter(self, x, filters):
            shape = tf.shape(x) * [1, 2, 2, 1]
            return tf.nn.conv2d_transpose(x, filters, shape, 2)

        @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 3])])
        def depthwise(self, x):
            return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=[1, 8, 8, 3],
                filter=tf.ones([3, 3, 3, 1]),
                out_backprop=x,
                strides=[1, 2, 2, 1],
                padding="SAME",
            )

    tf.saved_model.save(Others(), str(tmp_path / "stock"))
    lines = []
    report = ct.saved_model.accelerate(
        tmp_path / "stock", tmp_path / "copy", check=False, report=lines.append
    )
    reasons = {op.function.split("_")[3]: op.what for op in report.ops}
    assert report.rewritten == 0
    assert reasons.keys() == {"compiled", "placed", "any", "depthwise"}
    assert "in a function for XLA, which the op was built without" in reasons["compiled"]
    assert "placed on /device:GPU:0" in reasons["placed"]
    assert "only a run can tell the groups" in reasons["any"]
    assert "depthwise" in reasons["depthwise"]
    assert lines == [*map(str, report.ops), *report.notes]


def test_nothing_to_rewrite_is_copied_and_said(tmp_path):
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([None])])
    tf.saved_model.save(module, str(tmp_path / "stock"))
    report = ct.saved_model.accelerate(tmp_path / "stock", tmp_path / "copy", **QUICK)
    assert report.notes == ("nothing to rewrite: copied as it is",)
    assert digest(tmp_path / "copy") == digest(tmp_path / "stock")
    report = ct.saved_model.to_stock(tmp_path / "stock", tmp_path / "other", **QUICK)
    assert report.notes == ("nothing to rewrite: copied as it is",)
    assert digest(tmp_path / "other") == digest(tmp_path / "stock")


def tensorflow_1(folder, frozen):
    """As TF1 wrote them: no functions, a signature, an asset; constants or variables."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4, 4, 3], "pictures")
        value = Forms.array(3, 3, 4, 3)
        w = tf.constant(value) if frozen else v1.get_variable("w", initializer=value)
        shape = tf.stack([tf.shape(x)[0], 8, 8, 4])
        y = v1.nn.conv2d_transpose(x, w, shape, 2, name="up")
        y = tf.nn.tanh(tf.nn.bias_add(y, Forms.array(4)), name="result")
        session.run(v1.global_variables_initializer())
        path = folder.parent / "words.txt"
        path.write_text("a\nb\n")
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(path)))
        info = v1.saved_model.build_tensor_info
        signature = v1.saved_model.signature_def_utils.build_signature_def(
            {"pictures": info(x)}, {"result": info(y)}, "tensorflow/serving/predict"
        )
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"upscale": signature},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        )
        builder.save()
    return folder


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "variables"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorflow_1(tmp_path, frozen):
    stock = tensorflow_1(tmp_path / "stock", frozen)
    report = ct.saved_model.accelerate(stock, tmp_path / "ours", **QUICK)
    filters = "constant filter" if frozen else "filter that may change"
    assert [op.what for op in report.ops] == [f"ConvTransposeND, 2-D, bias, tanh, {filters}"]
    (op,) = (node for node in nodes(tmp_path / "ours") if node.op == "ConvTransposeND")
    assert op.name == "result"
    assert op.attr["filter_is_constant"].b == frozen
    assert not ops(tmp_path / "ours") & STOCK
    assert (tmp_path / "ours/assets/words.txt").read_text() == "a\nb\n"
    results = []
    for folder in (stock, tmp_path / "ours"):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            model = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
            signature = model.signature_def["upscale"]
            feed = {signature.inputs["pictures"].name: Forms.array(2, 4, 4, 3)}
            results.append(session.run(signature.outputs["result"].name, feed))
    close(results[1], results[0], 28, 10.0)


def test_tables_assets_and_random_outputs(tmp_path):
    """A table read from an asset, and a function that draws numbers: not compared, and said so."""
    tf.random.set_seed(None)  # with the seed of another test both models draw the same
    (tmp_path / "words.txt").write_text("a\nb\nc\n")
    module = tf.Module()
    module.asset = tf.saved_model.Asset(str(tmp_path / "words.txt"))
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            module.asset,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.string, name="words")])
    def speak(words):
        x = tf.one_hot(module.table.lookup(words), 3)
        shape = tf.stack([tf.shape(x)[0], 8, 5])
        return tf.nn.conv1d_transpose(x, Forms.array(3, 5, 3), shape, 2)

    @tf.function(input_signature=[tf.TensorSpec([2, 4, 3])])
    def dropped(x):
        return tf.nn.dropout(tf.nn.conv1d_transpose(x, Forms.array(3, 5, 3), [2, 8, 5], 2), 0.5)

    module.speak, module.dropped = speak, dropped
    tf.saved_model.save(module, str(tmp_path / "stock"), signatures=speak)
    with pytest.raises(ValueError, match="signature serving_default rejects the random inputs"):
        ct.saved_model.accelerate(tmp_path / "stock", tmp_path / "ours", **QUICK)
    given = {"serving_default": {"words": [["a", "c", "?", "b"]]}}
    lines = []
    ct.saved_model.accelerate(
        tmp_path / "stock", tmp_path / "ours", inputs=given, seconds=0, report=lines.append
    )
    assert "dropped: not compared, for equal inputs give it different outputs" in lines
    assert (tmp_path / "ours/assets/words.txt").read_text() == "a\nb\nc\n"
    words = tf.constant([["b", "b", "a", "c"]])
    close(tf.saved_model.load(str(tmp_path / "ours")).speak(words), speak(words), 9, 16.0)


def test_freeze_marks_filters_and_drops_the_variables(stock_models, tmp_path):
    report = ct.saved_model.accelerate(
        stock_models / "vocoder", tmp_path / "frozen", freeze=True, **QUICK
    )
    assert report.rewritten == len(report.ops) == 8  # the two signatures, each by itself
    assert all("constant filter" in op.what for op in report.ops)
    x = tf.random.stateless_normal([2, 9, 80], [1, 2])
    stock = tf.saved_model.load(str(stock_models / "vocoder"))
    before = stock.signatures["serving_default"]
    loaded = tf.saved_model.load(str(tmp_path / "frozen"))
    after = loaded.signatures["serving_default"]
    key = next(iter(before.structured_input_signature[1]))
    assert after.structured_input_signature[1].keys() == {key}
    expected, got = before(**{key: x}), after(**{key: x})
    assert expected.keys() == got.keys()
    close(got["output_0"], expected["output_0"], 512)
    assert not after.variables


DAMAGES = {
    "missing": (lambda f: (f / "saved_model.pb").unlink(), FileNotFoundError, "must hold"),
    "truncated": (
        lambda f: (f / "saved_model.pb").write_bytes((f / "saved_model.pb").read_bytes()[:3000]),
        ValueError,
        "saved_model.pb is damaged, or no SavedModel",
    ),
    "empty": (lambda f: (f / "saved_model.pb").write_bytes(b""), ValueError, "holds no graph"),
    "noise": (
        lambda f: (f / "saved_model.pb").write_bytes(np.random.default_rng(1).bytes(5000)),
        ValueError,
        "is damaged",
    ),
    "no variables": (
        lambda f: (f / "variables/variables.index").unlink(),
        FileNotFoundError,
        "has variables, but no variables/variables.index",
    ),
    "no data": (
        lambda f: (f / "variables/variables.data-00000-of-00001").unlink(),
        ValueError,
        "cannot be loaded: .*variables",
    ),
    "truncated data": (
        lambda f: (f / "variables/variables.data-00000-of-00001").write_bytes(b"1234"),
        ValueError,
        "cannot be loaded: ",
    ),
    "unknown ops": (
        lambda f: (f / "saved_model.pb").write_bytes(
            (f / "saved_model.pb")
            .read_bytes()
            .replace(b"Conv2DBackpropInput", b"Conv2DBackpropOther")
        ),
        ValueError,
        "ops that this TensorFlow does not know: Conv2DBackpropOther.*load_op_library",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("rewrite", ["accelerate", "to_stock"])
def test_damaged_models_are_named_and_leave_nothing(forms, tmp_path, name, rewrite):
    damage, error, words = DAMAGES[name]
    (tmp_path / "stock").mkdir()
    for path, _ in digest(forms[0] / "stock"):
        (tmp_path / "stock" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "stock" / path).write_bytes((forms[0] / "stock" / path).read_bytes())
    damage(tmp_path / "stock")
    with pytest.raises(error, match=f"(?s){words}"):
        getattr(ct.saved_model, rewrite)(tmp_path / "stock", tmp_path / "ours", **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]


def test_places_that_cannot_be_written(forms, tmp_path):
    stock = forms[0] / "stock"
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match=r"dst must not exist, got .*there"):
        ct.saved_model.accelerate(stock, tmp_path / "there", **QUICK)
    with pytest.raises(FileNotFoundError, match="dst must lie in a folder that exists"):
        ct.saved_model.accelerate(stock, tmp_path / "no/where", **QUICK)
    with pytest.raises(ValueError, match="dst must not lie in src"):
        ct.saved_model.accelerate(stock, stock / "variables" / "ours", **QUICK)
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_a_wrong_rewrite_is_not_written(forms, tmp_path, monkeypatch):
    """The comparison can fail: an op with another activation is found out."""
    right = _accelerate._op

    def wrong(graph, found):
        op = right(graph, found)
        if found.activation == "elu":
            op.attr["activation"].s = b"relu"
        return op

    monkeypatch.setattr(_accelerate, "_op", wrong)
    with pytest.raises(ValueError, match=r"three_axes gives other outputs .*Nothing was written"):
        ct.saved_model.accelerate(forms[0] / "stock", tmp_path / "ours", inputs=INPUTS, **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_groups_that_only_a_run_can_tell(tmp_path):
    """Taken for one, which the run refuses: nothing is written."""
    module = tf.Module()
    module.grouped = tf.function(
        lambda x, shape: tf.nn.conv2d_transpose(x, tf.ones([3, 3, 2, 4]), shape, 2),
        input_signature=[tf.TensorSpec([None, 6, 6, 4]), tf.TensorSpec([4], "int32")],
    )
    tf.saved_model.save(module, str(tmp_path / "stock"))
    inputs = {"serving_default": {"x": tf.ones([2, 6, 6, 4]), "shape": [2, 12, 12, 4]}}
    with pytest.raises(
        ValueError, match=r"(?s)serving_default fails after the rewrite.*groups\), got 4"
    ):
        ct.saved_model.accelerate(tmp_path / "stock", tmp_path / "ours", inputs=inputs, **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]


def test_inputs_and_tolerance_of_the_caller(stock_models, tmp_path):
    source = stock_models / "unet"
    key = next(
        iter(tf.saved_model.load(str(source)).signatures["serve"].structured_input_signature[1])
    )
    given = {name: {key: np.ones([1, 16, 8, 3], "f")} for name in ("serve", "serving_default")}
    report = ct.saved_model.accelerate(source, tmp_path / "ours", inputs=given, **QUICK)
    assert {timing.shapes for timing in report.timings} == {"[1, 16, 8, 3]"}
    given["serve"] = {
        key: np.ones([1, 15, 8, 3], "f")
    }  # skips have other lengths than what comes up
    with pytest.raises(ValueError, match="signature serve rejects"):
        ct.saved_model.accelerate(source, tmp_path / "other", inputs=given, **QUICK)
    with pytest.raises(ValueError, match=r"tolerance must be >= 0, got -1"):
        ct.saved_model.accelerate(source, tmp_path / "other", tolerance=-1, **QUICK)
    with pytest.raises(ValueError, match=r"gives other outputs .* allowed are 0; .*Nothing was"):
        ct.saved_model.accelerate(
            stock_models / "vocoder", tmp_path / "other", tolerance=0, **QUICK
        )
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_interrupted_while_it_runs(forms, tmp_path):
    def interrupt(line):
        if "times as fast" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ct.saved_model.accelerate(
            forms[0] / "stock", tmp_path / "ours", seconds=0.0, report=interrupt
        )
    assert list(tmp_path.iterdir()) == []


def test_terminated_while_it_runs(stock_models, tmp_path):
    """SIGTERM in the middle of the timing: no dst, and no copy either."""
    command = [sys.executable, "-m", "conv_transpose_nd", "accelerate", "--seconds", "600"]
    process = subprocess.Popen(
        [*command, str(stock_models / "unet"), str(tmp_path / "ours")],
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert "ConvTransposeND" in process.stdout.readline()
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.iterdir())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_text_format(forms, tmp_path):
    """A SavedModel may be text: saved_model.pbtxt."""
    (tmp_path / "stock").mkdir()
    for path, _ in digest(forms[0] / "stock"):
        (tmp_path / "stock" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "stock" / path).write_bytes((forms[0] / "stock" / path).read_bytes())
    text = text_format.MessageToString(message(tmp_path / "stock"))
    (tmp_path / "stock/saved_model.pbtxt").write_text(text)
    for name in ("saved_model.pb", "fingerprint.pb"):
        (tmp_path / "stock" / name).unlink()
    report = ct.saved_model.accelerate(
        tmp_path / "stock", tmp_path / "ours", inputs=INPUTS, **QUICK
    )
    assert report.rewritten == len(WHAT)
    written = text_format.Parse(
        (tmp_path / "ours/saved_model.pbtxt").read_text(), saved_model_pb2.SavedModel()
    )
    assert written == message(forms[0] / "ours")


def test_command_line(forms, stock_models, tmp_path, capsys):
    stock, ours = str(stock_models / "vocoder"), str(tmp_path / "ours")
    assert main(["accelerate", stock, ours, "--seconds", "0"]) == 0
    assert capsys.readouterr().out.count("ConvTransposeND, 1-D, bias") == 4
    assert main(["to-stock", ours, str(tmp_path / "back"), "--no-check"]) == 0
    assert capsys.readouterr().out.count("ConvTransposeND -> ") == 4
    assert main(["accelerate", stock, ours]) == 1
    assert "dst must not exist" in capsys.readouterr().err
