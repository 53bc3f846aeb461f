"""The same bits in every run and for every number of threads."""

import json

import numpy as np
import oracle
import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import core

# Large enough to be split between threads: (input, filter, strides, groups).
SHAPES = [
    ([3, 400, 32], [16, 24, 32], 8, 1),
    ([2, 33, 31, 48], [4, 4, 40, 48], 2, 1),
    ([1, 64, 64, 3], [9, 9, 16, 3], 1, 1),
    ([2, 12, 11, 10, 16], [3, 3, 3, 20, 16], 2, 1),
    ([2, 40, 40, 32], [3, 3, 1, 32], 2, 32),
    ([1, 200, 200, 8], [4, 4, 1, 8], 2, 1),
    ([1, 200000, 2], [2, 1, 2], 2, 1),
]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_number_of_threads(shapes, dtype):
    import ml_dtypes

    input_shape, filter_shape, strides, groups = shapes
    kind = {"bfloat16": ml_dtypes.bfloat16}.get(dtype, dtype)
    rng = np.random.default_rng(1)
    x = rng.standard_normal(input_shape).astype(kind)
    w = rng.standard_normal(filter_shape).astype(kind)
    given = {"strides": strides, "groups": groups}
    results = []
    for threads in (1, 2, 4, 3, 1):
        y = core.conv_transpose(x, w, num_threads=threads, **given)
        dx = core.input_grad(y, w, num_threads=threads, **given)
        dw = core.filter_grad(x, filter_shape, y, num_threads=threads, **given)
        results.append([v.tobytes() for v in (y, dx, dw)])
    assert all(result == results[0] for result in results[1:])


THREADS = """
import hashlib, json, sys
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
tf.config.experimental.enable_op_determinism()  # refuses ops that are not deterministic
import conv_transpose_nd as ct
digests = []
for x_shape, w_shape, strides, groups in json.loads(sys.argv[2]):
    rng = np.random.default_rng(1)
    x, w = (tf.constant(rng.standard_normal(s).astype("f")) for s in (x_shape, w_shape))
    bias = tf.zeros([w_shape[-2] * groups])
    with tf.GradientTape() as tape:
        tape.watch([x, w, bias])
        y = ct.conv_transpose_nd(x, w, strides=strides, groups=groups, bias=bias, activation="tanh")
    for value in (y, *tape.gradient(y, [x, w, bias], y * y)):
        digests.append(hashlib.sha256(value.numpy().tobytes()).hexdigest())
print(json.dumps(digests))
"""


def test_number_of_intra_op_threads(run_python):
    digests = [
        json.loads(run_python(THREADS, threads, json.dumps(SHAPES)).stdout) for threads in (1, 2, 4)
    ]
    assert len(digests[0]) == 4 * len(SHAPES)
    names = [f"{v} of {s}" for s in SHAPES for v in ("output", "dx", "dw", "dbias")]
    differing = [n for n, *d in zip(names, *digests, strict=True) if len(set(d)) > 1]
    assert not differing


def test_eager_and_traced_and_repeated():
    rng = np.random.default_rng(2)
    case = oracle.random_case(rng, 2)
    x, w = map(tf.constant, oracle.random_operands(rng, case))

    def gradients(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = ct.conv_transpose_nd(x, w, case.output_shape, **case.tf_attributes())
        return y, *tape.gradient(y, [x, w])

    first = [v.numpy().tobytes() for v in gradients(x, w)]
    for function in (gradients, tf.function(gradients)):
        for _ in range(3):
            assert [v.numpy().tobytes() for v in function(x, w)] == first
