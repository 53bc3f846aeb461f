"""Calls that differ, and threads that make them at once."""

import threading

import numpy as np

THREADS = 64
CALLS = 12  # of each thread

# (input, filter, options) of calls that differ in rank, plan and time.
SHAPES = [
    ([2, 9, 11, 16], [4, 4, 8, 16], {"strides": 2}),
    ([1, 64, 3], [9, 5, 3], {"strides": 3}),
    ([1, 5, 6, 7, 8], [3, 3, 3, 4, 8], {"strides": 2, "dilations": 2}),
    ([3, 20, 20, 12], [3, 3, 1, 12], {"groups": 12}),
    ([1, 40, 40, 32], [3, 3, 32, 32], {}),
]


def operands(index):
    rng = np.random.default_rng(index)
    x_shape, w_shape, _ = SHAPES[index]
    return rng.standard_normal(x_shape).astype("f"), rng.standard_normal(w_shape).astype("f")


def at_once(work, threads=THREADS):
    """Runs work(i) in as many threads, which start together; raises what the first one raised."""
    barrier, errors = threading.Barrier(threads), []

    def run(i):
        try:
            barrier.wait()
            work(i)
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(120)
    assert not any(thread.is_alive() for thread in running), "a thread hangs"
    if errors:
        raise errors[0]
