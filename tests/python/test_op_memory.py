"""What the op does with the memory of results that are free again."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import conv_transpose_nd as ct

# Pages that 40 calls touch for the first time, of results of 32 MB.
CHILD = """
import resource
import numpy as np, tensorflow as tf
import conv_transpose_nd as ct
x = tf.ones([1, 512, 512, 1])
w = tf.ones([1, 1, 32, 1])
call = tf.function(lambda: ct.conv_transpose_nd(x, w, strides=1))
for _ in range(3):
    np.testing.assert_array_equal(call().numpy(), 1)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    call()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults)
"""


def fresh_pages(megabytes):
    environment = os.environ | {"CONV_TRANSPOSE_ND_KEPT_MB": megabytes}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def ones(value, channels=64):
    """A result of 1 MB per 64 channels, all `value`."""
    x = tf.fill([1, 64, 64, 1], np.float32(value))
    return ct.conv_transpose_nd(x, tf.ones([1, 1, channels, 1]), strides=1)


def test_memory_in_use_is_nobody_elses():
    kept = []
    for value in range(24):
        result = ones(value, 64 + 8 * (value % 3))
        if value % 3 == 0:
            kept.append((value, result, result[:, 1:, :, ::2]))
    for value, result, part in kept:
        np.testing.assert_array_equal(result.numpy(), value)
        np.testing.assert_array_equal(part.numpy(), value)


def test_what_follows_may_take_a_result_in_place():
    """Nobody but the graph holds a result: Relu overwrites it."""

    @tf.function
    def call(x):
        return tf.nn.relu(ct.conv_transpose_nd(x, tf.ones([1, 1, 64, 1]), strides=1) - 2.0)

    for value in (1.0, 5.0):
        x = tf.fill([1, 64, 64, 1], value)
        np.testing.assert_array_equal(call(x).numpy(), max(value - 2, 0))


def test_gradients_and_workspaces():
    x, w = tf.random.normal([2, 40, 40, 64], seed=1), tf.random.normal([4, 4, 48, 64], seed=2)
    found = []
    for _ in range(3):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = ct.conv_transpose_nd(x, w, strides=2)
        found.append([v.numpy() for v in (y, *tape.gradient(y, [x, w]))])
    for again in found[1:]:
        for got, wanted in zip(again, found[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_the_environment_says_how_much_is_kept():
    none = fresh_pages("0")
    assert none >= 40 * 16  # whole results, of huge pages at most
    assert fresh_pages("512") < none / 2
    assert fresh_pages("") < none / 2  # as if it were not set


@pytest.mark.parametrize("megabytes", ["16", "-1", "many"])
def test_whatever_the_environment_says_results_are_right(megabytes):
    assert fresh_pages(megabytes) >= 0
