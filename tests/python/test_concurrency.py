"""Threads, sessions and forks: the same bits. Orders of loading: test_library.py."""

import multiprocessing

import numpy as np
import tensorflow as tf
from threads import CALLS, SHAPES, THREADS, at_once, operands

import conv_transpose_nd as ct


def loss_and_gradients(x, w, options):
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = ct.conv_transpose_nd(x, w, **options)
    return [y, *tape.gradient(y, [x, w])]


def test_one_function_in_many_threads():
    function = tf.function(
        lambda x, w: loss_and_gradients(x, w, {"strides": 2}),
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None] * 4)],
        autograph=False,
    )
    x, w = map(tf.constant, operands(0))
    # As many batches as threads, so that the plan of the last call is another thread's.
    inputs = [tf.concat([x * (i + 1)] * (1 + i % 3), 0) for i in range(THREADS)]
    alone = [[v.numpy() for v in function(value, w)] for value in inputs]

    def work(i):
        for _ in range(CALLS):
            for got, wanted in zip(function(inputs[i], w), alone[i], strict=True):
                np.testing.assert_array_equal(got, wanted)

    at_once(work)


def test_many_calls_in_many_threads():
    operands_of = [list(map(tf.constant, operands(i))) for i in range(len(SHAPES))]
    alone = [
        [v.numpy() for v in loss_and_gradients(*operands_of[i], SHAPES[i][2])]
        for i in range(len(SHAPES))
    ]

    def work(thread):
        for call in range(CALLS):
            i = (thread + call) % len(SHAPES)
            got = loss_and_gradients(*operands_of[i], SHAPES[i][2])
            for value, wanted in zip(got, alone[i], strict=True):
                np.testing.assert_array_equal(value, wanted)

    at_once(work)


def test_a_constant_filter_in_many_threads():
    """All of them find the packed filter missing at once; later calls change the plan."""
    x, w = map(tf.constant, operands(4))
    library = ct._library.library

    def call(value):
        return library.conv_transpose_nd(
            input=value,
            filter=w,
            output_shape=[],
            bias=[],
            strides=[1] * 4,
            padding="SAME",
            filter_is_constant=True,
        )

    function = tf.function(call, input_signature=[tf.TensorSpec([None] * 4)], autograph=False)
    inputs = [tf.concat([x] * (1 + i % 2), 0) for i in range(THREADS)]
    alone = [ct.conv_transpose_nd(value, w).numpy() for value in inputs[:2]]

    def work(i):
        for _ in range(CALLS):
            np.testing.assert_array_equal(function(inputs[i]), alone[i % 2])

    at_once(work)


def test_two_sessions_at_once():
    v1 = tf.compat.v1
    x, w = operands(0)
    with tf.Graph().as_default() as graph:
        value = v1.placeholder(tf.float32, [None, None, None, 16])
        y = ct.conv_transpose_nd(value, w, strides=2)
        fetches = [y, *tf.gradients(y, [value])]
    with v1.Session(graph=graph) as first, v1.Session(graph=graph) as second:
        alone = first.run(fetches, {value: x})

        def work(i):
            for _ in range(CALLS):
                for got, wanted in zip(
                    (first, second)[i % 2].run(fetches, {value: x}), alone, strict=True
                ):
                    np.testing.assert_array_equal(got, wanted)

        at_once(work, 8)


# In a process of its own: pytest's has threads of TensorFlow's, of which a fork has none. The NumPy
# module comes first, and has had threads of its own when it is forked. The op is forked after the
# import and before the first call: TensorFlow rules out any later fork.
FORKS = """
import multiprocessing
import numpy as np
from conv_transpose_nd import core
x, w = np.ones([2, 40, 40, 8], "f"), np.ones([3, 3, 8, 8], "f")
alone = core.conv_transpose(x, w, num_threads=4)

def in_children(call):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=lambda: queue.put(call())) for _ in range(4)]
    for child in children:
        child.start()
    results = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert results == [True] * 4, results

def same():
    return np.array_equal(core.conv_transpose(x, w, num_threads=4), alone)

in_children(same)
assert same()
import conv_transpose_nd as ct
in_children(lambda: np.array_equal(ct.conv_transpose_nd(x, w), alone))
assert np.array_equal(ct.conv_transpose_nd(x, w), alone)
"""


def test_forks(run_python):
    run_python(FORKS)


def _spawned(queue):
    y = ct.conv_transpose_nd(np.ones([1, 3, 1], "f"), np.ones([2, 1, 1], "f"), strides=2)
    queue.put(y.numpy().tolist())


def test_op_in_a_spawned_process():
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_spawned, args=(queue,))
    child.start()
    assert queue.get(timeout=120) == [[[1.0]] * 6]
    child.join(60)
    assert child.exitcode == 0
