"""What the NumPy module does with memory that is free again."""

import itertools
import multiprocessing

import numpy as np
import pytest

from conv_transpose_nd import core

MOST_KEPT = 512 << 20  # bytes


@pytest.fixture(autouse=True)
def nothing_kept():
    core.release_memory()
    yield
    core.release_memory()


def ones(positions, channels=1024):
    """A result of 4 * positions * channels bytes, all 1."""
    x = np.ones([1, positions, 1], np.float32)
    return core.conv_transpose(x, np.ones([1, channels, 1], np.float32), strides=1)


def address(array):
    return array.__array_interface__["data"][0]


def test_the_next_result_takes_the_memory_of_the_last():
    first = ones(64)
    place = address(first)
    del first
    again = ones(64)
    assert address(again) == place
    np.testing.assert_array_equal(again, 1)


def test_memory_in_use_is_nobody_elses():
    first, view = ones(64), ones(64)[:, :32]
    others = [ones(64) for _ in range(4)]
    places = sorted(address(a) for a in [first, view, *others])
    assert all(b - a >= first.nbytes for a, b in itertools.pairwise(places))
    for other in others:
        other[:] = 2
    np.testing.assert_array_equal(first, 1)
    np.testing.assert_array_equal(view, 1)


def test_a_much_larger_block_is_not_wasted_on_a_result():
    place = address(ones(64))
    assert address(ones(48)) != place  # a quarter less
    assert address(ones(60)) == place


def test_release_memory_says_how_much():
    freed = ones(64).nbytes
    kept = core.release_memory()
    # The call's workspace may be kept, too.
    assert freed <= kept <= freed + (8 << 20)
    assert core.release_memory() == 0


def test_small_blocks_are_left_to_the_allocator():
    assert ones(1, 1024).nbytes < 64 << 10
    assert core.release_memory() == 0


def test_how_much_is_kept():
    arrays = [ones(10_000) for _ in range(16)]  # 40 MB each
    del arrays
    assert MOST_KEPT // 2 < core.release_memory() <= MOST_KEPT


def test_a_block_beyond_all_is_not_kept():
    assert ones(140_000).nbytes > MOST_KEPT
    assert core.release_memory() < 8 << 20


def _child(queue):
    queue.put((float(ones(64).sum()), core.release_memory()))


def test_a_forked_child_has_its_own():
    ones(64)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    total, kept = queue.get(timeout=60)
    child.join()
    assert total == 64 * 1024
    assert kept > 0
