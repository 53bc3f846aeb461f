"""`ct.compat.v1.layers` next to TF1's own: TensorFlow's copy and tf_keras, in another process."""

import importlib
import importlib.util
import inspect
import sys

import numpy as np
import oracle
import pytest
import tensorflow as tf
import v1_scenarios

import conv_transpose_nd as ct

v1 = tf.compat.v1
layers = ct.compat.v1.layers
REFERENCE = "tensorflow.python.keras.legacy_tf_layers.convolutional"
NAMES = ["Conv2DTranspose", "Conv3DTranspose", "conv2d_transpose", "conv3d_transpose"]
x = v1_scenarios.x


@pytest.fixture(autouse=True, scope="module")
def _needs_reference():
    try:
        importlib.util.find_spec(REFERENCE)
    except ImportError:
        pytest.skip("this TensorFlow has dropped its copy of TF1's layers, the reference here")


@pytest.fixture(scope="module", params=["tensorflow", "tf_keras"])
def recorded(tmp_path_factory, run_python, request):
    """Folders with observations and checkpoints of this package and of TF1's layers."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    ours, reference = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("reference")
    for scenario in v1_scenarios.SCENARIOS:
        path = ours / scenario.__name__
        np.savez(f"{path}.npz", **v1_scenarios.observe(scenario, layers, checkpoint=str(path)))
    run_python(
        "import sys, v1_scenarios; v1_scenarios.main(*sys.argv[1:])",
        request.param,
        reference,
        ours,
    )
    return ours, reference


def assert_same(ours, reference):
    assert set(ours) == set(reference)
    for key, theirs in reference.items():
        if theirs.dtype.kind != "f":
            assert ours[key].tolist() == theirs.tolist(), key
            continue
        # Two layers at most, each a sum of up to 4 * 4 * 4 products, of values below 2 ** 4; losses
        # sum up to 2 * 8 * 10 * 4 of their squares.
        terms = 640 * 2**8 if "losses" in key else 2 * 64 * 2**8
        oracle.assert_within(ours[key], theirs.astype("d"), terms * 2.0**-24, key)


@pytest.mark.parametrize("scenario", v1_scenarios.SCENARIOS, ids=lambda s: s.__name__)
def test_as_tf1(recorded, scenario):
    """Names, shapes, dtypes, collections, losses and outputs."""
    ours, reference = (np.load(folder / f"{scenario.__name__}.npz") for folder in recorded)
    assert_same(dict(ours), dict(reference))


@pytest.mark.parametrize("scenario", v1_scenarios.SCENARIOS, ids=lambda s: s.__name__)
def test_checkpoints_go_both_ways(recorded, scenario):
    ours, reference = recorded
    there = v1_scenarios.observe(scenario, layers, restore=str(reference / scenario.__name__))
    back = np.load(reference / f"{scenario.__name__}.restored.npz")
    saved = np.load(ours / f"{scenario.__name__}.npz")
    for seen in (there, dict(back)):
        assert_same(seen, {key: saved[key] for key in seen})


@pytest.mark.parametrize("name", NAMES)
def test_signature(name):
    reference = getattr(importlib.import_module(REFERENCE), name)

    def parameters(function):
        found = inspect.signature(function).parameters.values()
        # The initializer of zeros is an object of its own in each.
        return [
            (p.name, p.kind, type(p.default) if p.name == "bias_initializer" else p.default)
            for p in found
        ]

    assert parameters(getattr(layers, name)) == parameters(reference)


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_have_every_part_and_every_argument(name):
    function = getattr(layers, name)
    for part in ("Args:", "Raises:", "Example:", "Reference:"):
        assert part in function.__doc__
    for argument in set(inspect.signature(function).parameters) - {"kwargs"}:
        assert f"\n      {argument}: " in function.__doc__


def test_attributes():
    with tf.Graph().as_default() as graph:
        layer = layers.Conv2DTranspose(4, 3, kernel_regularizer=tf.reduce_sum, name="up")
        assert (layer.name, layer.dtype, layer.built, layer.variables) == ("up", None, False, [])
        with pytest.raises(ValueError, match="scope_name must be read after the first call"):
            _ = layer.scope_name
        with pytest.raises(ValueError, match="count_params must be called after the layer 'up'"):
            layer.count_params()
        with v1.variable_scope("net"):
            layer(x(2, 4, 5, 3))
        assert (layer.dtype, layer.built, layer.graph) == ("float32", True, graph)
        assert layer.scope_name == "net/up"
        assert [v.op.name for v in layer.variables] == ["net/up/kernel", "net/up/bias"]
        assert layer.weights == layer.trainable_weights == layer.trainable_variables
        assert layer.non_trainable_variables == []
        assert layer.count_params() == 3 * 3 * 4 * 3 + 4
        assert layer.losses == v1.get_collection(v1.GraphKeys.REGULARIZATION_LOSSES)
        layer.trainable = False
        assert layer.trainable_weights == []
        assert layer.non_trainable_weights == layer.variables
        loss, update = tf.constant(1.0), tf.no_op()
        layer.add_loss(loss)
        layer.add_update(update)
        assert layer.losses[-1] is loss
        assert layer.updates == v1.get_collection(v1.GraphKeys.UPDATE_OPS) == [update]
        # Names are unique per graph.
        assert layers.Conv2DTranspose(4, 3).name == "conv2d_transpose_1"
        assert layers.Conv2DTranspose(4, 3).name == "conv2d_transpose_2"
    with tf.Graph().as_default():
        assert layers.Conv2DTranspose(4, 3).name == "conv2d_transpose_1"


def test_training_with_a_constraint():
    with tf.Graph().as_default(), v1.Session() as session:
        y = layers.conv2d_transpose(x(1, 3, 4, 2), 2, 3, kernel_constraint=lambda w: 0 * w)
        kernel, _ = v1.trainable_variables()
        session.run([v1.global_variables_initializer()])
        assert np.any(session.run(kernel))
        assert kernel.constraint is not None
        # Small against the curvature of this quadratic, whatever the initial kernel: it descends.
        step = v1.train.GradientDescentOptimizer(1e-4).minimize(tf.reduce_sum(y**2))
        before = session.run(tf.reduce_sum(y**2))
        session.run(step)
        assert session.run(tf.reduce_sum(y**2)) < before
        session.run(kernel.assign(kernel.constraint(kernel)))
        assert not np.any(session.run(kernel))


def test_a_custom_getter_that_casts():
    """How TF1 programs trained in half precision."""

    def half(getter, name, *args, dtype=None, **kwargs):
        return tf.cast(getter(name, *args, dtype=tf.float32, **kwargs), dtype)

    with tf.Graph().as_default(), v1.variable_scope("net", custom_getter=half):
        y = layers.conv2d_transpose(tf.cast(x(1, 3, 4, 2), tf.float16), 2, 3)
        assert y.dtype == tf.float16
        assert [v.dtype.base_dtype for v in v1.trainable_variables()] == [tf.float32] * 2


def test_the_activation_is_in_the_op():
    with tf.Graph().as_default() as graph:
        layers.conv2d_transpose(x(1, 3, 4, 2), 2, 3, activation=tf.nn.relu)
        kinds = {op.type for op in graph.get_operations()}
    assert "ConvTransposeND" in kinds
    assert not kinds & {"Relu", "BiasAdd", "Conv2DBackpropInput"}


def test_groups_dilation_and_output_padding():
    with tf.Graph().as_default(), v1.Session() as session:
        layer = layers.Conv2DTranspose(
            4, 3, 2, "valid", groups=2, dilation_rate=2, output_padding=1, use_bias=False
        )
        y = layer(x(1, 3, 4, 6))
        session.run(v1.global_variables_initializer())
        kernel, output = session.run([layer.kernel, y])
    exact = ct.conv_transpose_nd(
        x(1, 3, 4, 6), kernel, None, 2, "VALID", dilations=2, groups=2, output_padding=1
    )
    assert layer.kernel.shape == [3, 3, 2, 6]
    assert np.array_equal(output, exact)


def test_names_of_keras_objects():
    with tf.Graph().as_default(), v1.Session() as session:
        y = layers.conv2d_transpose(
            x(1, 3, 4, 2), 2, 3, activation="relu", kernel_initializer="ones",
            kernel_regularizer="l2", kernel_constraint="non_neg",
        )  # fmt: skip
        session.run(v1.global_variables_initializer())
        assert session.run(y).min() >= 0
        # Keras' l2 has the factor 0.01; 3 * 3 * 2 * 2 ones.
        losses = session.run(v1.losses.get_regularization_losses())
        np.testing.assert_allclose(losses, [0.36], rtol=2.0**-22)


def test_eager():
    layer = layers.Conv2DTranspose(4, 3, kernel_regularizer=lambda w: tf.reduce_sum(w**2))
    with tf.GradientTape() as tape:
        y = layer(x(2, 4, 5, 3))
    assert [g.shape for g in tape.gradient(y, layer.variables)] == [[3, 3, 4, 3], [4]]
    assert np.array_equal(layer(x(2, 4, 5, 3)), y)
    layer.kernel.assign(tf.ones_like(layer.kernel))
    assert float(layer.losses[0]) == 3 * 3 * 4 * 3
    with pytest.raises(RuntimeError, match="graph must be read while a graph is built"):
        _ = layer.graph
    checkpoint = tf.train.Checkpoint(layer=layer)
    assert set(checkpoint._trackable_children()["layer"]._trackable_children()) == {
        "kernel", "bias"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"filters": 0}, ValueError, "filters must be >= 1, got 0"),
        ({"kernel_size": (3, 0)}, ValueError, r"kernel_size\[1\] must be >= 1, got 0"),
        ({"kernel_size": (3, 3, 3)}, ValueError, "kernel_size must be an int or have 2 values"),
        ({"strides": 1.5}, TypeError, "strides must be an integer, got 1.5"),
        ({"padding": "full"}, ValueError, "padding must be 'valid' or 'same', got 'full'"),
        ({"data_format": "NHWC"}, ValueError, "data_format must be 'channels_last' or"),
        ({"groups": 3}, ValueError, "filters must be a multiple of groups 3, got 4"),
        ({"unknown": 3}, TypeError, "unknown"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with tf.Graph().as_default(), pytest.raises(error, match=words):
        layers.Conv2DTranspose(**({"filters": 4, "kernel_size": 3} | arguments))


def test_wrong_inputs_and_reuse():
    with tf.Graph().as_default():
        with pytest.raises(ValueError, match=r"inputs must have rank 4, got shape \(2, 4, 3\)"):
            layers.conv2d_transpose(x(2, 4, 3), 4, 3)
        unknown = v1.placeholder(tf.float32, [None, 4, 5, None])
        with pytest.raises(ValueError, match="inputs must have a known number of channels"):
            layers.conv2d_transpose(unknown, 4, 3)
        with pytest.raises(ValueError, match="Variable missing/kernel does not exist"):
            layers.conv2d_transpose(x(2, 4, 5, 3), 4, 3, name="missing", reuse=True)
        layers.conv2d_transpose(x(2, 4, 5, 3), 4, 3, name="once")
        with pytest.raises(ValueError, match="Variable once/kernel already exists"):
            layers.conv2d_transpose(x(2, 4, 5, 3), 4, 3, name="once")


def test_tf_keras_is_not_needed():
    assert "tf_keras" not in sys.modules
