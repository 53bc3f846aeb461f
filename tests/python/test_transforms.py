"""What TensorFlow does to a function that holds the op: rematerialise, loop, retrace, twice derive.

Forward mode: also in test_gradients.py. tf.vectorized_map: test_vectorize.py. XLA: test_xla.py.
"""

import functools
import importlib.util

import numpy as np
import oracle
import pytest
import tensorflow as tf

import conv_transpose_nd as ct

# In float64 an error of a few thousand roundings, relative to the largest value of a tensor.
DOUBLE = 4000 * 2.0**-53


def assert_equal(actual, expected, what=""):
    for own, other in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        other = np.asarray(other)
        oracle.assert_within(own, other, DOUBLE * max(1.0, np.max(np.abs(other))), what)


def double(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.standard_normal(shape)) for shape in shapes]


def two_layers(x, w, v, b):
    h = ct.conv_transpose_nd(x, w, strides=2, bias=b, activation="elu")
    return ct.conv_transpose_nd(h, v, strides=1, activation="tanh")


LAYERS = ([2, 3, 4, 2], [3, 3, 4, 2], [2, 2, 3, 4], [4])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_recompute_grad(jit_compile):
    x, *weights = double(0, *LAYERS)
    traced = tf.function(two_layers, jit_compile=jit_compile)
    remade = tf.recompute_grad(two_layers)

    def gradients(function):
        with tf.GradientTape() as tape:
            tape.watch([x, *weights])
            y = function(x, *weights)
        return y, tape.gradient(y, [x, *weights], y * y)

    assert_equal(gradients(remade), gradients(two_layers))
    assert_equal(tf.function(gradients, jit_compile=jit_compile)(remade), gradients(traced))


def test_recompute_grad_keeps_nothing_between():
    """The graph of the gradient holds the op once more: it is rematerialised, not stored."""
    x, *weights = double(0, *LAYERS)

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.recompute_grad(two_layers)(x, *weights)
        return tape.gradient(y, x)

    graph = gradient.get_concrete_function(x).graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    assert sum(node.op == "ConvTransposeND" for node in nodes) >= 4


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradient_of_a_loop(jit_compile):
    x, w = double(1, [1, 4, 2], [3, 2, 2])

    def repeated(x, w, times, loop):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            if loop:
                y = tf.while_loop(
                    lambda i, _: i < times,
                    lambda i, y: (i + 1, ct.conv_transpose_nd(y, w, activation="tanh")),
                    (0, x),
                    maximum_iterations=5,
                )[1]
            else:
                y = x
                for _ in range(times):
                    y = ct.conv_transpose_nd(y, w, activation="tanh")
        return y, tape.gradient(y, [x, w], y)

    looped = tf.function(functools.partial(repeated, loop=True), jit_compile=jit_compile)
    for times in (0, 1, 4):
        y, gradients = looped(x, w, tf.constant(times))
        exact_y, exact = repeated(x, w, times, loop=False)
        # Where the loop body never ran, the gradient of w is zero rather than missing.
        exact = [tf.zeros_like(v) if g is None else g for v, g in zip((x, w), exact, strict=True)]
        assert_equal((y, gradients), (exact_y, exact), times)


def test_gradient_of_a_loop_whose_lengths_grow():
    """A pyramid: every turn doubles the length, which a graph cannot know."""
    x, w = double(2, [1, 3, 2], [4, 2, 2])

    @tf.function
    def grown(x, w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            _, y = tf.while_loop(
                lambda i, _: i < 3,
                lambda i, y: (i + 1, ct.conv_transpose_nd(y, w, strides=2)),
                (0, x),
                shape_invariants=(tf.TensorShape([]), tf.TensorShape([1, None, 2])),
            )
        return y, tape.gradient(y, w)

    with tf.GradientTape() as tape:
        tape.watch(w)
        y = x
        for _ in range(3):
            y = ct.conv_transpose_nd(y, w, strides=2)
    assert y.shape == (1, 24, 2)
    assert_equal(grown(x, w), (y, tape.gradient(y, w)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_relaxed_shapes(jit_compile):
    traces = []

    @tf.function(reduce_retracing=True, jit_compile=jit_compile)
    def gradients(x, w):
        traces.append(x.shape)
        n, length = tf.shape(x)[0], tf.shape(x)[1]
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = ct.nn.conv1d_transpose(x, w, tf.stack([n, 3 * length, 4]), 3)
        return y, tape.gradient(y, [x, w], y)

    for n, length in [(1, 5), (2, 5), (3, 7), (1, 9), (4, 2)]:
        x, w = double(n, [n, length, 2], [5, 4, 2])
        eager = gradients.python_function(x, w)
        traces.pop()
        assert_equal(gradients(x, w), eager)
    # One for the first shape, one where the batch is open, one where the length is, too.
    assert len(traces) <= 3
    assert traces[-1].as_list() == [None, None, 2]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_forward_over_reverse(jit_compile):
    """Hessian times vector: forward mode through all three ops."""
    x, *weights = double(3, *LAYERS)
    w, *others = weights
    (v,) = double(4, w.shape)

    def loss_gradient(w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            loss = tf.reduce_sum(two_layers(x, w, *others) ** 2)
        return tape.gradient(loss, w)

    def forward_over_reverse(w, v):
        with tf.autodiff.ForwardAccumulator(w, v) as accumulator:
            gradient = loss_gradient(w)
        return accumulator.jvp(gradient)

    def reverse_over_reverse(w, v):
        with tf.GradientTape() as tape:
            tape.watch(w)
            product = tf.reduce_sum(loss_gradient(w) * v)
        return tape.gradient(product, w)

    if jit_compile:
        forward_over_reverse = tf.function(forward_over_reverse, jit_compile=True)
    assert_equal(forward_over_reverse(w, v), reverse_over_reverse(w, v))


def test_mapped_and_compiled():
    """The converters' calls, with more groups or a larger batch, go through XLA as any other."""
    x, w = double(5, [3, 4, 2], [3, 3, 2])

    def jacobians(x, w):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([x, w])
            y = ct.conv_transpose_nd(x, w, strides=2, activation="tanh")
        return tape.batch_jacobian(y, x), tape.jacobian(y, w)

    assert_equal(tf.function(jacobians, jit_compile=True)(x, w), jacobians(x, w))


# --- One step of WGAN-GP, arXiv:1704.00028, whose critic holds the op, too ----------------------

BATCH, LATENT, PENALTY, RATE = 3, 5, 10.0, 0.01
# Generator: latent [n, 4, 4, 5] -> 8 x 8 -> 16 x 16. Critic: 16 x 16 -> 8 x 8 -> 16 x 16, and the
# mean of its distance to what it was given, as in energy-based networks.
GENERATOR = ([4, 4, 6, LATENT], [4, 4, 3, 6])
CRITIC = ([4, 4, 3, 4], [4, 4, 3, 4])


def wgan_gp(transposed):
    """Losses, gradients and updated variables of one step of both networks, in float64."""
    z, real, mix, *weights = double(
        7, [BATCH, 4, 4, LATENT], [BATCH, 16, 16, 3], [BATCH, 1, 1, 1], *GENERATOR, *CRITIC
    )
    weights = [w * 0.2 for w in weights]
    generator, critic = weights[:2], weights[2:]

    def generate(z, weights):
        h = tf.nn.relu(transposed(z, weights[0], [BATCH, 8, 8, 6]))
        return tf.tanh(transposed(h, weights[1], [BATCH, 16, 16, 3]))

    def criticise(x, weights):
        h = tf.nn.elu(tf.nn.conv2d(x, weights[0], 2, "SAME"))
        y = tf.tanh(transposed(h, weights[1], [BATCH, 16, 16, 3]))
        return tf.reduce_mean((x - y) ** 2, [1, 2, 3])

    with tf.GradientTape() as tape:
        tape.watch(critic)
        fake = generate(z, generator)
        between = mix * real + (1 - mix) * fake
        with tf.GradientTape() as inner:
            inner.watch(between)
            score = criticise(between, critic)
        slopes = tf.norm(tf.reshape(inner.gradient(score, between), [BATCH, -1]), axis=1)
        critic_loss = tf.reduce_mean(criticise(fake, critic) - criticise(real, critic))
        critic_loss += PENALTY * tf.reduce_mean((slopes - 1) ** 2)
    critic_gradients = tape.gradient(critic_loss, critic)
    critic = [w - RATE * g for w, g in zip(critic, critic_gradients, strict=True)]
    with tf.GradientTape() as tape:
        tape.watch(generator)
        generator_loss = -tf.reduce_mean(criticise(generate(z, generator), critic))
    generator_gradients = tape.gradient(generator_loss, generator)
    return critic_loss, critic_gradients, critic, generator_loss, generator_gradients


def test_a_step_of_wgan_gp_equals_tensorflows():
    ours = wgan_gp(lambda x, w, shape: ct.nn.conv2d_transpose(x, w, shape, 2))
    stock = wgan_gp(lambda x, w, shape: tf.nn.conv2d_transpose(x, w, shape, 2))
    assert_equal(ours, stock)
    # The penalty is what the second derivative is in: it must not vanish.
    assert np.max(np.abs(ours[1][1])) > 1e-3
    compiled = tf.function(wgan_gp, jit_compile=True)
    assert_equal(compiled(lambda x, w, shape: ct.nn.conv2d_transpose(x, w, shape, 2)), stock)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_step_of_wgan_gp_equals_pytorchs():
    ours = wgan_gp(lambda x, w, shape: ct.nn.conv2d_transpose(x, w, shape, 2))
    losses, gradients = _wgan_gp_of_pytorch()
    assert_equal([ours[0], ours[3]], losses)
    assert_equal([*ours[1], *ours[4]], gradients)


def _wgan_gp_of_pytorch():
    import torch
    from torch.nn import functional as F  # noqa: N812

    z, real, mix, *weights = double(
        7, [BATCH, 4, 4, LATENT], [BATCH, 16, 16, 3], [BATCH, 1, 1, 1], *GENERATOR, *CRITIC
    )
    z, real, mix = (torch.tensor(v.numpy().transpose(0, 3, 1, 2)) for v in (z, real, mix))
    # [k, k, out, in] and, for the one that convolves, [k, k, in, out], become [.., .., k, k].
    weights = [
        torch.tensor(0.2 * w.numpy().transpose(3, 2, 0, 1), requires_grad=True) for w in weights
    ]
    generator, critic = weights[:2], weights[2:]
    transposed = functools.partial(F.conv_transpose2d, stride=2, padding=1)

    def generate():
        return torch.tanh(transposed(torch.relu(transposed(z, generator[0])), generator[1]))

    def criticise(x, weights):
        h = F.elu(F.conv2d(x, weights[0], stride=2, padding=1))
        return ((x - torch.tanh(transposed(h, weights[1]))) ** 2).mean([1, 2, 3])

    fake = generate().detach()
    between = (mix * real + (1 - mix) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(criticise(between, critic).sum(), between, create_graph=True)
    critic_loss = (criticise(fake, critic) - criticise(real, critic)).mean()
    critic_loss = critic_loss + PENALTY * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    critic_gradients = torch.autograd.grad(critic_loss, critic)
    critic = [w - RATE * g for w, g in zip(critic, critic_gradients, strict=True)]
    generator_loss = -criticise(generate(), critic).mean()
    generator_gradients = torch.autograd.grad(generator_loss, generator)
    gradients = [g.detach().numpy().transpose(2, 3, 1, 0) for g in critic_gradients]
    gradients += [g.detach().numpy().transpose(2, 3, 1, 0) for g in generator_gradients]
    return [critic_loss.item(), generator_loss.item()], gradients
