"""Steps that are given up, and memory that is not there: an error, soon, and the op still works."""

import json

import pytest

# 10^12 multiply-adds: half a minute on one core at 32 per nanosecond. Variables, which no pass
# folds while the graph is built.
LONG = """
import json, sys, threading, time
import numpy as np, tensorflow as tf
import conv_transpose_nd as ct
v1 = tf.compat.v1
library = ct._library.library
WINDOW = {"strides": [1] * 4, "padding": "SAME"}

def operands():
    return (v1.get_variable("x", [1, 1024, 1024, 16], initializer=v1.ones_initializer()),
            v1.get_variable("w", [63, 63, 16, 16], initializer=v1.ones_initializer()))

def long(x, w):
    return ct.conv_transpose_nd(x, w)

def long_input_grad(x, w):
    return library.conv_transpose_nd_input_grad(output_grad=x, filter=w, **WINDOW)

def long_filter_grad(x, w):
    return library.conv_transpose_nd_filter_grad(
        input=x, filter_shape=[63, 63, 16, 16], output_grad=x, **WINDOW)

def fails():
    def function():
        time.sleep(0.7)
        raise ValueError("sibling failed")
    return tf.py_function(function, [], tf.float32)

def in_session(fetch, timeout_ms=0, close=False):
    with tf.Graph().as_default():
        session = v1.Session()
        fetches = fetch(*operands())
        session.run(v1.global_variables_initializer())
        if close:
            threading.Timer(0.7, session.close).start()
        session.run(fetches, options=v1.RunOptions(timeout_in_ms=timeout_ms))

def in_function(function, **options):
    traced = tf.function(function, autograph=False).get_concrete_function(*eager)
    if options:
        manager = options["manager"]
        threading.Timer(0.7, manager.start_cancel).start()
        traced = manager.get_cancelable_function(traced)
    traced(*eager)

def works():
    y = ct.conv_transpose_nd(np.ones([1, 3, 1], "f"), np.ones([2, 1, 1], "f"), strides=2)
    return y.numpy().tolist() == [[[1.0]] * 6]

eager = tf.ones([1, 1024, 1024, 16]), tf.ones([63, 63, 16, 16])
"""
SCENARIOS = {
    "session times out": "in_session(long, timeout_ms=700)",
    "input gradient in a session": "in_session(long_input_grad, timeout_ms=700)",
    "filter gradient in a session": "in_session(long_filter_grad, timeout_ms=700)",
    "session closes": "in_session(long, close=True)",
    "sibling in a session fails": "in_session(lambda x, w: [long(x, w), fails()])",
    "sibling in a function fails": "in_function(lambda x, w: [long(x, w), fails()])",
    "function is cancelled": """
from tensorflow.python.eager import cancellation
in_function(long, manager=cancellation.CancellationManager())
""",
}
RUN = """
begin = time.monotonic()
try:
    exec(code)
    error = None
except (tf.errors.OpError, ValueError) as caught:
    error = type(caught).__name__
print(json.dumps([name, error, time.monotonic() - begin, works()]), flush=True)
"""
ERRORS = {
    "session times out": {"DeadlineExceededError"},
    "session closes": {"CancelledError"},
    "function is cancelled": {"CancelledError"},
    "input gradient in a session": {"DeadlineExceededError"},
    "filter gradient in a session": {"DeadlineExceededError"},
}
# What the sibling raised, or that its op failed.
SIBLING = {"InvalidArgumentError", "UnknownError", "ValueError"}


@pytest.fixture(scope="module")
def cancelled(run_python):
    loop = f"for name, code in json.loads(sys.argv[1]).items():\n{_indented(RUN)}"
    done = run_python(LONG + loop, json.dumps(SCENARIOS), timeout=180)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {name: row for name, *row in rows}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_long_call_stops(cancelled, scenario):
    error, seconds, works = cancelled[scenario]
    assert error in ERRORS.get(scenario, SIBLING)
    # 0.7 s until it is given up, and the time to trace and to copy the constants.
    assert seconds < 8
    assert works


# The limits let TensorFlow have the tensors and no workspace, or no tensors, or the plan of a
# filter with 2^23 positions, which lists its taps through operator new, only half.
MEMORY = """
import json, pathlib, resource, sys
import numpy as np, tensorflow as tf
import conv_transpose_nd as ct

def in_use():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * 4096

def limited(call, megabytes):
    # Threads and arenas that a first call makes are there already.
    resource.setrlimit(resource.RLIMIT_AS, (in_use() + megabytes * 2**20, resource.RLIM_INFINITY))
    try:
        call()
        return ""
    except tf.errors.ResourceExhaustedError as error:
        return error.message
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)

def works():
    return ct.conv_transpose_nd(*small, strides=2).numpy().tolist() == [[[1.0]] * 6]

library = ct._library.library
small = tf.ones([1, 3, 1]), tf.ones([2, 1, 1])
wide, square = tf.ones([1, 64, 2048], tf.half), tf.ones([3, 2048, 2048], tf.half)
filter, long = tf.ones([2**24, 1, 1]), tf.ones([1, 2**24 + 2, 1])
window = {"strides": [1, 1, 1], "padding": "SAME"}
cases = {
    "workspace": lambda: ct.conv_transpose_nd(wide, square),
    "packed filter": lambda: library.conv_transpose_nd(
        input=wide, filter=square, output_shape=[], bias=[], filter_is_constant=True, **window),
    "input gradient": lambda: library.conv_transpose_nd_input_grad(
        output_grad=wide, filter=square, **window),
    "filter gradient": lambda: library.conv_transpose_nd_filter_grad(
        input=wide, filter_shape=square.shape, output_grad=wide, **window),
    "output": lambda: ct.conv_transpose_nd(long, tf.ones([1, 1, 1]), strides=8),
    "plan": lambda: ct.conv_transpose_nd(small[0], filter, padding="VALID"),
    "plan of the input gradient": lambda: library.conv_transpose_nd_input_grad(
        output_grad=long, filter=filter, strides=[1] * 3, padding="VALID"),
}
limits = {"plan": 96, "plan of the input gradient": 96}
assert works()
for name, call in cases.items():
    print(json.dumps([name, limited(call, limits.get(name, 16)), works()]), flush=True)
# With memory again, what failed is right.
for name in ("workspace", "packed filter"):
    y = cases[name]().numpy()
    print(json.dumps([name + " again", float(y.min()), float(y.max())]), flush=True)
"""
CASES = [
    "workspace",
    "packed filter",
    "input gradient",
    "filter gradient",
    "output",
    "plan",
    "plan of the input gradient",
]


@pytest.fixture(scope="module")
def starved(run_python):
    # One arena: a thread's own would need address space of its own. The allocator that comes with
    # oneDNN waits ten seconds for memory before it gives up.
    environment = {"MALLOC_ARENA_MAX": "1", "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = run_python(MEMORY, timeout=180, **environment)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {name: row for name, *row in rows}


@pytest.mark.parametrize("case", CASES)
def test_no_memory(starved, case):
    message, works = starved[case]
    wanted = "no memory for the plan of" if "plan" in case else "OOM when allocating tensor"
    assert wanted in message
    assert works


@pytest.mark.parametrize("case", ["workspace", "packed filter"])
def test_memory_again(starved, case):
    # Sums of 2 or 3 taps of 2048 ones; half holds integers to 2048, and even ones to 4096.
    assert starved[case + " again"] == [4096.0, 6144.0]


def _indented(code):
    return "".join("    " + line for line in code.splitlines(keepends=True))
