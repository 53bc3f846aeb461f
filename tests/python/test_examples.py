"""examples/*.py: each is short, runs, and does what it says; examples/c has tests of its own."""

import runpy
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_weights import by_definition

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# Programs of other tests: their subjects are processes, not models.
ELSEWHERE = {"batch_inference", "stock_models"}
SHORT = sorted(p.stem for p in EXAMPLES.glob("*.py") if p.stem not in ELSEWHERE)


def example(name):
    """The names that an example defines."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def count_ops(function, *arguments):
    """How many of the graph's ops are this project's."""
    graph = tf.function(function).get_concrete_function(*arguments).graph
    return sum(op.type == "ConvTransposeND" for op in graph.get_operations())


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(1)


@pytest.mark.parametrize("name", SHORT)
def test_every_example_is_short_and_tested(name):
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 60
    assert f'example("{name}")' in Path(__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["c/serve.c", "cpp/serve.cc"])
def test_serving_without_python_is_short(name):
    """test_examples_native.py builds and runs them."""
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 60


def dcgan_losses(module, layers, weights):
    """The losses of three steps of both networks, from equal weights and pictures."""
    generator, critic = module["networks"](*layers)
    for model, values in zip((generator, critic), weights, strict=False):
        model.set_weights(values)
    weights = [generator.get_weights(), critic.get_weights()]
    random = np.random.default_rng(0)
    noise = tf.constant(random.standard_normal([4, 1, 1, 16]), tf.float32)
    real = tf.constant(random.uniform(-1, 1, [4, 16, 16, 1]), tf.float32)
    share = tf.constant(random.random([4, 1, 1, 1]), tf.float32)
    optimizers = keras.optimizers.SGD(1e-4), keras.optimizers.SGD(1e-4)
    losses = []
    for _ in range(3):
        loss, slopes = module["critic_step"](generator, critic, optimizers[0], real, noise, share)
        losses += [loss, slopes]
        losses += [module["generator_step"](generator, critic, optimizers[1], noise)]
    return np.array(losses), weights


def test_dcgan_trains_as_with_keras_layers():
    module = example("dcgan")
    ours, weights = dcgan_losses(module, (), ())
    stock, _ = dcgan_losses(module, (keras.layers,), weights)
    np.testing.assert_allclose(ours, stock, rtol=1e-4)
    # The penalty pulls the slopes towards 1.
    assert abs(ours[7] - 1) < abs(ours[1] - 1)


def test_unet_marks_discs():
    module = example("unet")
    model = module["unet"]()
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    assert count_ops(model, tf.zeros([1, 32, 32, 1])) == 2
    model.fit(*module["discs"](256), batch_size=16, epochs=5, verbose=0)
    assert module["overlap"](model, *module["discs"](32, seed=1)) > 0.6


def test_unet3d_learns():
    module = example("unet3d")
    model = module["unet3d"]()
    assert model(np.zeros([1, 6, 8, 4, 1], "f")).shape == (1, 6, 8, 4, 1)
    losses = module["train"](model, epochs=2)
    assert losses[-1] < losses[0]


def test_hifigan_equals_keras():
    module = example("hifigan")
    ours, stock = module["generator"](32), module["generator"](32, keras.layers)
    stock.set_weights(ours.get_weights())
    mel = tf.constant(np.random.default_rng(0).standard_normal([1, 6, 80]), tf.float32)
    assert count_ops(ours, mel) == 4
    assert count_ops(stock, mel) == 0
    assert ours(mel).shape == (1, 6 * 256, 1)
    np.testing.assert_allclose(ours(mel), stock(mel), atol=1e-5)
    assert np.std(ours(mel)) > 1e-3


def test_super_resolution_starts_even_and_learns():
    module = example("super_resolution")
    model = module["network"]()
    assert module["checkerboard"](model) < 1e-5
    trained, repeated = module["train"](model)
    assert trained > repeated + 3


def test_light_field_equals_one_axis_after_the_other():
    module = example("light_field")
    views = np.random.default_rng(0).random([1, 2, 3, 5, 4, 2], np.float32)
    ours = module["enlarge"](views)
    assert ours.shape == (1, 4, 6, 10, 8, 2)
    # 16 products of numbers in [0, 1], each axis's sum at most 1.
    np.testing.assert_allclose(ours, module["enlarge_one_by_one"](views), atol=16 * 2.0**-24)


def test_tf1_graph_trains_saves_and_restores(tmp_path):
    first, last, restored = example("tf1_graph")["train"](str(tmp_path / "model"))
    assert last < first / 2
    assert restored == last
    names = [name for name, _ in tf.train.list_variables(str(tmp_path))]
    assert "generator/conv2d_transpose/kernel" in names
    assert "generator/conv2d_transpose_1/bias" in names


def torch_state():
    """Arrays as the state_dict of the example's model has them."""
    random = np.random.default_rng(0)
    shapes = {"0.weight": [16, 8, 4, 4], "0.bias": [8], "2.weight": [8, 3, 3, 3], "2.bias": [6]}
    return {name: random.standard_normal(shape).astype("f") for name, shape in shapes.items()}


def decoder(path):
    """The example's model with the weights of a file."""
    layer = example("torch_weights")["Decoder"]()
    layer.build([None, None, None, 16])
    layer.load(np.load(path))
    return layer


def test_torch_weights_by_definition(tmp_path):
    state = torch_state()
    np.savez(tmp_path / "state.npz", **state)
    layer = decoder(tmp_path / "state.npz")
    x = np.random.default_rng(1).standard_normal([1, 16, 3, 4]).astype("f")
    pads = [(1, 1), (1, 1)]
    y = by_definition(x, state["0.weight"], [2, 2], [1, 1], pads, 1)
    y = np.maximum(y + state["0.bias"][:, None, None], 0)
    # output_padding=1 is one position less taken away at the end.
    y = by_definition(y, state["2.weight"], [2, 2], [1, 1], [(1, 0), (1, 0)], 2)
    y += state["2.bias"][:, None, None]
    ours = np.moveaxis(layer(np.moveaxis(x, 1, -1)).numpy(), -1, 1)
    assert ours.shape == (1, 6, 12, 16)
    np.testing.assert_allclose(ours, y, rtol=1e-4, atol=1e-3)
    back = layer.state_dict()
    assert all(np.array_equal(back[name], state[name]) for name in state)


def test_torch_weights_in_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: compared by definition")
    nn = torch.nn
    model = nn.Sequential(
        nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
    )
    np.savez(tmp_path / "state.npz", **{k: v.numpy() for k, v in model.state_dict().items()})
    x = np.random.default_rng(1).standard_normal([1, 16, 3, 4]).astype("f")
    stock = model(torch.from_numpy(x)).detach().numpy()
    ours = np.moveaxis(decoder(tmp_path / "state.npz")(np.moveaxis(x, 1, -1)).numpy(), -1, 1)
    np.testing.assert_allclose(ours, stock, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SHORT)
def test_the_program_itself(name, capsys, monkeypatch, tmp_path):
    """As the page says: `python examples/NAME.py`, one of them with a file."""
    np.savez(tmp_path / "state.npz", **torch_state())
    arguments = {"torch_weights": ["state.npz"], "tf1_graph": ["."]}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments.get(name, [])])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out
