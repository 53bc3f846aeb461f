"""The layers next to Keras' own: signatures, values, variables, configurations, errors."""

import inspect

import keras
import keras_cases as cases
import numpy as np
import oracle
import pytest
import tensorflow as tf

import conv_transpose_nd as ct

layers = ct.keras.layers
NAMES = ["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"]
FUSED = ["linear", "relu", "relu6", "leaky_relu", "elu", "gelu", "tanh", "silu"]


def layer_class(rank):
    return getattr(layers, f"Conv{rank}DTranspose")


def stock_class(rank):
    return getattr(keras.layers, f"Conv{rank}DTranspose")


def nonzero_bias(layer, rng):
    layer.bias.assign(rng.standard_normal(layer.bias.shape))


@pytest.mark.parametrize("name", NAMES)
def test_signature(name):
    def parameters(cls):
        found = inspect.signature(cls).parameters.values()
        return [(p.name, p.kind, p.default) for p in found]

    *stock, kwargs = parameters(getattr(keras.layers, name))
    *ours, groups, own_kwargs = parameters(getattr(layers, name))
    assert ours == stock
    assert groups == ("groups", inspect.Parameter.POSITIONAL_OR_KEYWORD, 1)
    assert own_kwargs == kwargs
    any_rank = parameters(layers.ConvTransposeND)
    assert [p[0] for p in any_rank[:3]] == ["rank", "filters", "kernel_size"]
    assert {p[0] for p in any_rank[1:]} == {p[0] for p in parameters(getattr(layers, name))}


@pytest.mark.parametrize("cls", [*NAMES, "ConvTransposeND"])
def test_docstrings_have_every_part_and_every_argument(cls):
    cls = getattr(layers, cls)
    for part in ("Args:", "Raises:", "Example:", "Reference:"):
        assert part in cls.__doc__
    for name in set(inspect.signature(cls).parameters) - {"kwargs"}:
        assert f"\n      {name}: " in cls.__doc__


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_values_and_weights_of_keras_layers(rank, data_format):
    rng = np.random.default_rng(rank)
    x, _ = cases.operands(rng, rank, 3, data_format == "channels_first")
    for call in (
        {"kernel_size": 3, "strides": 2, "padding": "same"},
        {"kernel_size": 4, "strides": 2, "padding": "SAME", "output_padding": 1},
        {"kernel_size": 2, "strides": 3, "output_padding": 0, "activation": "relu"},
        {"kernel_size": 3, "dilation_rate": 2, "use_bias": False},
    ):
        stock = stock_class(rank)(4, data_format=data_format, **call)
        ours = layer_class(rank)(4, data_format=data_format, **call)
        theirs = stock(x)
        assert ours.compute_output_shape(x.shape) == tuple(theirs.shape)
        ours.build(x.shape)
        if stock.use_bias:
            nonzero_bias(stock, rng)
        assert [(v.path.split("/")[-1], v.shape) for v in ours.weights] == [
            (v.path.split("/")[-1], v.shape) for v in stock.weights
        ]
        ours.set_weights(stock.get_weights())
        theirs = np.asarray(stock(x), np.float64)
        stock.set_weights([abs(w) for w in stock.get_weights()])
        magnitude = np.asarray(stock(abs(x)), np.float64)
        taps = 3 * call["kernel_size"] ** rank
        oracle.assert_within(ours(x), theirs, 2 * oracle.bound("float32", taps + 1, magnitude))


@pytest.mark.parametrize("activation", [*FUSED, "sigmoid", "softmax", "softplus", "exponential"])
def test_activations(activation):
    """Each is Keras' function, within the op or behind it."""
    rng = np.random.default_rng(10)
    x, _ = cases.operands(rng, 2, 3, False)
    layer = layers.Conv2DTranspose(4, 3, 2, activation=activation)
    plain = layers.Conv2DTranspose(4, 3, 2, name="plain")
    plain.build(x.shape)
    nonzero_bias(plain, rng)
    layer.build(x.shape)
    layer.set_weights(plain.get_weights())
    expected = keras.activations.get(activation)(plain(x)).numpy().astype("d")
    # A few roundings of values below 2 ** 7 in the libraries that both use for exp and tanh.
    assert np.max(expected) < 2**7
    oracle.assert_within(layer(x), expected, 2.0**-14)
    assert (layer(x).dtype, layer(x).shape) == (plain(x).dtype, plain(x).shape)


@pytest.mark.parametrize("activation", FUSED)
def test_activations_are_in_the_op(activation):
    layer = layers.Conv2DTranspose(2, 3, activation=activation)
    model = keras.Sequential([keras.Input([4, 4, 3]), layer])
    graph = tf.function(model).get_concrete_function(np.zeros([1, 4, 4, 3], "f"))
    kinds = {operation.type for operation in graph.graph.get_operations()}
    assert "ConvTransposeND" in kinds
    assert not kinds & {"BiasAdd", "AddV2", "Relu", "Relu6", "LeakyRelu", "Elu", "Tanh", "Erf"}


def test_an_activation_of_the_users_own():
    class Unhashable:
        __hash__ = None

        def __call__(self, y):
            return 2 * y

    x, _ = cases.operands(np.random.default_rng(20), 2, 3, False)
    layer = layers.Conv2DTranspose(2, 3, activation=Unhashable())
    layer(x)
    plain = layers.Conv2DTranspose(2, 3)
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    assert np.array_equal(layer(x), 2 * plain(x))


def test_cross_entropy_finds_the_logits_of_sigmoid():
    """-log(1 - sigmoid(z)) is z for large z; of the rounded sigmoid, it is Keras' clip instead."""
    layer = layers.Conv1DTranspose(
        1, 1, activation="sigmoid", kernel_initializer="ones", bias_initializer="zeros"
    )
    y = layer(np.full([1, 1, 1], 50, "f"))
    assert float(keras.losses.binary_crossentropy(np.zeros([1, 1, 1], "f"), y)[0, 0]) == 50


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_groups_and_dilation_with_strides(data_format):
    first = data_format == "channels_first"
    rng = np.random.default_rng(30)
    x, kernel = cases.operands(rng, 2, 3, first, cin=4, cout=6, groups=2)
    layer = layers.Conv2DTranspose(
        6, 3, 2, "same", data_format=data_format, dilation_rate=(2, 1), groups=2, use_bias=False
    )
    layer.build(x.shape)
    assert layer.kernel.shape == (3, 3, 3, 4)
    layer.set_weights([kernel])
    defined = cases.expected(x, kernel, [2, 2], "same", None, first, [2, 1], groups=2)
    oracle.assert_within(layer(x), *defined)
    assert layer.compute_output_shape(x.shape) == tuple(layer(x).shape)


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5, 6])
def test_layer_of_any_rank(rank):
    rng = np.random.default_rng(40)
    x = rng.standard_normal([1, *[2] * (rank - 1), 3, 2]).astype("f")
    layer = layers.ConvTransposeND(rank, 3, 2, 2, output_padding=1)
    layer.build(x.shape)
    nonzero_bias(layer, rng)
    kernel, bias = layer.get_weights()
    exact, bound = cases.expected(x, kernel, [2] * rank, "valid", 1, False, [1] * rank)
    oracle.assert_within(layer(x), exact + bias, bound + 2.0**-23 * (abs(exact) + abs(bias)))
    with pytest.raises(ValueError, match=f"expected ndim={rank + 2}, found ndim={rank + 3}"):
        layer(x[None])


def test_config_round_trip():
    full = {
        "filters": 6,
        "kernel_size": (4, 2),
        "strides": (2, 1),
        "padding": "same",
        "output_padding": (1, 0),
        "data_format": "channels_first",
        "dilation_rate": (1, 2),
        "activation": "gelu",
        "use_bias": False,
        "kernel_initializer": ct.keras.initializers.ICNR("he_normal", (2, 1)),
        "bias_initializer": "ones",
        "kernel_regularizer": keras.regularizers.L2(0.5),
        "bias_regularizer": "l1",
        "activity_regularizer": "l2",
        "kernel_constraint": "max_norm",
        "bias_constraint": "non_neg",
        "groups": 3,
        "name": "up",
        "trainable": False,
        "dtype": "mixed_bfloat16",
    }
    config = layers.Conv2DTranspose(**full).get_config()
    assert set(config) == set(full)
    again = layers.Conv2DTranspose.from_config(config)
    assert again.get_config() == config
    assert isinstance(again.kernel_initializer, ct.keras.initializers.ICNR)
    any_rank = layers.ConvTransposeND(2, **full).get_config()
    assert any_rank.pop("rank") == 2
    assert any_rank == config
    # Keras' own configuration makes our layer.
    stock = keras.layers.Conv2DTranspose(3, 4, 2, activation="relu").get_config()
    ours = layers.Conv2DTranspose.from_config(stock).get_config()
    assert ours.pop("groups") == 1
    assert ours == stock


@pytest.mark.parametrize(("policy", "dtype"), [("mixed_float16", "float16"),
                                               ("mixed_bfloat16", "bfloat16"),
                                               ("float64", "float64")])  # fmt: skip
def test_dtype_policies(policy, dtype):
    rng = np.random.default_rng(50)
    x, _ = cases.operands(rng, 2, 3, False)
    layer = layers.Conv2DTranspose(4, 3, 2, "same", dtype=policy, use_bias=False)
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert layer.kernel.dtype == ("float64" if policy == "float64" else "float32")
    x, kernel = (keras.ops.cast(v, dtype).numpy() for v in (x, layer.kernel.value))
    oracle.assert_within(y, *cases.expected(x, kernel, [2, 2], "same", None, False, [1, 1]))
    assert layer(keras.KerasTensor(x.shape)).dtype == dtype


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"filters": 0}, ValueError, "filters must be >= 1, got 0"),
        ({"filters": None}, TypeError, "filters must be an integer, got None"),
        ({"kernel_size": (3, 0)}, ValueError, r"kernel_size\[1\] must be >= 1, got 0"),
        ({"kernel_size": (3, 3, 3)}, ValueError, "kernel_size must be an int or have 2 values"),
        ({"strides": 0}, ValueError, "strides must be >= 1, got 0"),
        ({"strides": 2, "output_padding": (1, 2)}, ValueError,
         r"output_padding\[1\] must be < strides\[1\] = 2, got 2"),
        ({"padding": "causal"}, ValueError, "padding must be 'valid' or 'same', got 'causal'"),
        ({"groups": 0}, ValueError, "groups must be >= 1, got 0"),
        ({"groups": 3}, ValueError, "filters must be a multiple of groups 3, got 4"),
    ],
)  # fmt: skip
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        layers.Conv2DTranspose(**({"filters": 4, "kernel_size": 3} | arguments))


def test_wrong_inputs():
    with pytest.raises(ValueError, match="input channels must be a multiple of groups 2, got 3"):
        layers.Conv2DTranspose(4, 3, groups=2).build([1, 4, 4, 3])
    with pytest.raises(ValueError, match="inputs must have a known number of channels"):
        layers.Conv2DTranspose(4, 3).build([1, 4, 4, None])
    layer = layers.Conv2DTranspose(4, 3)
    layer.build([1, 4, 4, 3])
    with pytest.raises(ValueError, match=r"expected axis -1 .* value 3, but received"):
        layer(np.ones([1, 4, 4, 2], "f"))
    with pytest.raises(ValueError, match=r"rank must be in \[1, 6\], got 7"):
        layers.ConvTransposeND(7, 4, 3)
    # Keras' layer shows a shape for this one and fails when it runs.
    layer = layers.Conv1DTranspose(4, 2, 2, "same", output_padding=0)
    for value in (np.ones([1, 4, 3], "f"), keras.KerasTensor([1, 4, 3])):
        with pytest.raises(ValueError, match=r"output_padding\[0\] must be in \[1, 2\]"):
            layer(value)
