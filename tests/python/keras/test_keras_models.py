"""Models that hold the layers: trained, saved, exported, and loaded in another process."""

import keras
import keras_cases as cases
import numpy as np
import oracle
import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import _library


def decoder(library, **first):
    """Two layers and a batch normalisation between them, with lengths known and unknown."""
    return keras.Sequential(
        [
            keras.Input([None, 5, 3]),
            library.Conv2DTranspose(4, 4, 2, "same", activation="relu", **first),
            keras.layers.BatchNormalization(),
            library.Conv2DTranspose(2, (3, 2), (1, 2), activation="tanh"),
        ]
    )


def batch():
    rng = np.random.default_rng(0)
    x, _ = cases.operands(rng, 2, 3, False)
    return x, rng.standard_normal([2, 10, 20, 2]).astype("f")


def test_fit_follows_keras_layers():
    x, target = batch()
    stock, ours = decoder(keras.layers), decoder(ct.keras.layers)
    ours.set_weights(stock.get_weights())
    losses = []
    for model in (stock, ours):
        model.compile(keras.optimizers.SGD(0.1), "mse")
        losses.append(model.fit(x, target, epochs=5, verbose=0).history["loss"])
    assert losses[1][-1] < losses[1][0]
    # Five steps; each forms the same sums of up to 2 * 10 * 20 * 4 terms in another order.
    np.testing.assert_allclose(losses[1], losses[0], rtol=5 * 1600 * 2.0**-24)
    for own, other in zip(ours.get_weights(), stock.get_weights(), strict=True):
        oracle.assert_within(own, other.astype("d"), 5 * 1600 * 2.0**-24)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_fit_with_mixed_precision(policy):
    x, target = batch()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = decoder(ct.keras.layers)
    finally:
        keras.config.set_dtype_policy(before)
    model.compile("adam", "mse")
    losses = model.fit(x, target, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert model.predict(x, verbose=0).dtype == model.layers[-1].compute_dtype
    assert all(v.dtype == "float32" for v in model.weights)


@pytest.mark.skipif(not _library.has_xla, reason="built without the XLA library")
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_fit_with_jit(policy):
    x, target = batch()
    plain = decoder(ct.keras.layers, dtype=policy)
    jitted = keras.models.clone_model(plain)
    jitted.set_weights(plain.get_weights())
    losses = []
    for model, jit in ((plain, False), (jitted, True)):
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit)
        losses.append(model.fit(x, target, epochs=5, verbose=0).history["loss"])
        assert model.jit_compile is jit
    assert losses[1][-1] < losses[1][0]
    unit = {"float32": 2.0**-24, "mixed_float16": 2.0**-11, "mixed_bfloat16": 2.0**-8}[policy]
    # Five steps. Sums of up to 2 * 10 * 20 * 4 terms, in another order; with mixed precision they
    # are float32's, and some 16 values between them are rounded.
    tolerance = 5 * (1600 * 2.0**-24 + (16 * unit if policy != "float32" else 0))
    np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance)
    assert jitted.predict(x, verbose=0).shape == target.shape


def test_keras_chooses_to_compile_where_it_can():
    model = decoder(ct.keras.layers)
    assert model.layers[0].supports_jit is _library.has_xla
    stock = decoder(keras.layers)
    for either in (model, stock):
        either.compile("sgd", "mse", jit_compile="auto")
    # Keras never does so by itself on CPU alone.
    assert model.jit_compile is (stock.jit_compile and _library.has_xla)


def test_regularizers_and_constraints_apply():
    layer = ct.keras.layers.Conv1DTranspose(
        filters=2,
        kernel_size=3,
        kernel_initializer=keras.initializers.Constant(-0.5),
        bias_initializer="ones",
        kernel_regularizer=keras.regularizers.L2(0.5),
        bias_regularizer=keras.regularizers.L1(2.0),
        activity_regularizer=keras.regularizers.L1(3.0),
        kernel_constraint="non_neg",
    )
    x = np.zeros([1, 2, 1], "f")
    layer(x)
    # 0.5 * 6 * 0.25 of the kernel, 2 * 2 of the bias, 3 * |output| where output = bias.
    assert sorted(map(float, layer.losses)) == [0.75, 4.0, 3 * 4 * 2.0]
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, np.zeros([1, 4, 2]), verbose=0)
    assert not np.any(layer.kernel)


def test_weight_files_go_both_ways(tmp_path):
    x, _ = batch()
    stock, ours = decoder(keras.layers), decoder(ct.keras.layers)
    stock.save_weights(tmp_path / "stock.weights.h5")
    ours.load_weights(tmp_path / "stock.weights.h5")
    for own, other in zip(ours.get_weights(), stock.get_weights(), strict=True):
        assert np.array_equal(own, other)
    ours.layers[0].kernel.assign_add(np.ones(ours.layers[0].kernel.shape))
    ours.save_weights(tmp_path / "ours.weights.h5")
    stock.load_weights(tmp_path / "ours.weights.h5")
    assert np.array_equal(stock.layers[0].kernel, ours.layers[0].kernel)
    # tanh has slope <= 1; two layers of 4 * 4 * 3 and 3 * 2 * 4 products of values below 2 ** 5.
    oracle.assert_within(ours(x), stock(x).numpy().astype("d"), 72 * 2.0**-23 * 2**5)


def test_save_load_and_export_in_other_processes(tmp_path, run_python):
    x, _ = batch()
    icnr = ct.keras.initializers.ICNR("glorot_uniform", 2)
    model = decoder(ct.keras.layers, kernel_initializer=icnr, dilation_rate=2)
    expected = np.asarray(model(x))
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    np.savez(tmp_path / "values.npz", x=x, y=expected)
    # The package alone, no part of it by name: importing it registers the layers.
    run_python(
        """
import sys
import numpy as np
import tensorflow as tf
import conv_transpose_nd
import keras
values = np.load(sys.argv[1] + "/values.npz")
model = keras.models.load_model(sys.argv[1] + "/model.keras")
assert type(model.layers[0]) is conv_transpose_nd.keras.layers.Conv2DTranspose
assert np.array_equal(model(values["x"]), values["y"])
exported = tf.saved_model.load(sys.argv[1] + "/exported")
np.save(sys.argv[1] + "/served.npy", exported.serve(values["x"]))
""",
        tmp_path,
    )
    # A graph may fold the normalisation otherwise; see above for the sums behind it.
    served = np.load(tmp_path / "served.npy")
    oracle.assert_within(served, expected.astype("d"), 72 * 2.0**-23 * 2**5)


def test_clone_and_summary():
    model = decoder(ct.keras.layers)
    lines = []
    keras.models.clone_model(model).summary(print_fn=lines.append)
    text = "\n".join(map(str, lines))
    assert "Conv2DTranspose" in text
    assert model.count_params() == decoder(keras.layers).count_params()


def test_quantization_passes_the_layers_over_as_it_does_with_keras():
    errors = []
    for library in (keras.layers, ct.keras.layers):
        layer = library.Conv2DTranspose(2, 3)
        layer.build([1, 4, 4, 3])
        with pytest.raises(NotImplementedError) as error:
            layer.quantize("int8")
        errors.append(str(error.value).split("Layer")[0])
    assert errors[0] == errors[1]


def test_a_model_in_a_function_of_the_users_own():
    """Without warnings (they are errors here) from AutoGraph, which converts what it is given."""
    x, _ = batch()
    layer = ct.keras.layers.Conv2DTranspose(2, 3, 2, activation="relu")
    layer.build(x.shape)

    assert np.array_equal(tf.function(layer)(x), layer(x))
    assert np.array_equal(tf.function(lambda v: ct.keras.ops.conv_transpose(v, layer.kernel))(x),
                          ct.keras.ops.conv_transpose(x, layer.kernel))  # fmt: skip
