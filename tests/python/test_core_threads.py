"""Threads of the NumPy module: the same bits. TensorFlow's: test_concurrency.py."""

import hashlib

import numpy as np
import pytest
from threads import CALLS, SHAPES, at_once, operands

from conv_transpose_nd import core


def test_numpy_module_in_many_threads():
    alone = [core.conv_transpose(*operands(i), **SHAPES[i][2]) for i in range(len(SHAPES))]

    def work(thread):
        for call in range(CALLS):
            i = (thread + call) % len(SHAPES)
            result = core.conv_transpose(
                *operands(i), **SHAPES[i][2], num_threads=1 + (thread + call) % 4
            )
            np.testing.assert_array_equal(result, alone[i])

    at_once(work)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_the_same_bits_for_any_number_of_threads(dtype):
    for i, (_, w_shape, options) in enumerate(SHAPES):
        x, w = (v.astype(dtype) for v in operands(i))
        digests = set()
        for threads in (1, 2, 4, 8):
            y = core.conv_transpose(x, w, num_threads=threads, **options)
            dx = core.input_grad(y, w, num_threads=threads, **options)
            dw = core.filter_grad(x, w_shape, y, num_threads=threads, **options)
            digests.add(hashlib.sha256(b"".join(v.tobytes() for v in (y, dx, dw))).hexdigest())
        assert len(digests) == 1, (i, options)
