"""jit_compile=True: as a call of the op's own kernels, and in XLA's own convolution."""

import pathlib
import shutil

import numpy as np
import oracle
import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import _library

pytestmark = pytest.mark.skipif(not _library.has_xla, reason="built without the XLA library")

ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "elu", "gelu", "gelu_tanh", "sigmoid", "tanh", "silu"),
)


@pytest.fixture(params=["call", "hlo"])
def path(request, monkeypatch):
    """Both ways to compile the op on CPU. The variable is read when a function is compiled."""
    monkeypatch.setenv("CONV_TRANSPOSE_ND_XLA", request.param)
    return request.param


def compiled(function, **options):
    return tf.function(function, jit_compile=True, reduce_retracing=True, **options)


def with_gradients(case, **options):
    """The output and both gradients of one call."""

    def run(x, w, dy, *bias):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = ct.conv_transpose_nd(
                x,
                w,
                case.output_shape,
                bias=bias[0] if bias else None,
                **case.tf_attributes(),
                **options,
            )
        return y, tape.gradient(y, [x, w], dy)

    return run


def operands(rng, case, dtype):
    x, w = oracle.random_operands(rng, case, dtype)
    return x, w, rng.standard_normal(case.output_shape).astype(x.dtype)


@pytest.mark.parametrize("rank", range(1, 7))
def test_against_definition(path, rank):
    rng = np.random.default_rng(rank)
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        for _ in range(2 if rank < 4 else 1):
            case = oracle.random_case(rng, rank)
            x, w, dy = operands(rng, case, dtype)
            y, (dx, dw) = compiled(with_gradients(case))(*map(tf.constant, (x, w, dy)))
            oracle.assert_within(y, *oracle.expected(case, x, w), case)
            (exact_dx, exact_dw) = oracle.expected_gradients(case, x, w, dy)
            oracle.assert_within(dx, *exact_dx, case)
            oracle.assert_within(dw, *exact_dw, case)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_integers(path, rank):
    rng = np.random.default_rng(rank)
    case = oracle.random_case(rng, rank)
    x, w = oracle.random_operands(rng, case, "int32")
    bias = rng.integers(-9, 10, case.filter_shape[-2] * case.groups).astype("i4")

    def run(x, w, bias):
        return ct.conv_transpose_nd(
            x, w, case.output_shape, bias=bias, activation="relu6", **case.tf_attributes()
        )

    exact, _ = oracle.expected(case, x, w, bias)
    assert np.array_equal(compiled(run)(x, w, bias), np.clip(exact, 0, 6))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_bias_and_activation(path, dtype):
    rng = np.random.default_rng(5)
    # In HLO the formulas are one text for all types, computed in float32 or float64.
    few = path == "hlo" and dtype.endswith("float16")
    for activation in ACTIVATIONS[::3] if few else ACTIVATIONS:
        case = oracle.random_case(rng, 2)
        x, w, dy = operands(rng, case, dtype)
        bias = rng.standard_normal(case.filter_shape[-2] * case.groups).astype(x.dtype)
        run = with_gradients(case, activation=activation)
        arguments = [tf.constant(v) for v in (x, w, dy, bias)]
        y, gradients = compiled(run)(*arguments)
        eager, eager_gradients = run(*arguments)
        if path == "call":
            assert np.array_equal(y, eager)
        # The argument z of the activation, and how far the rounding of a sum may move it. All
        # slopes are <= 1.2; the functions themselves are good to 8 units in the last place of
        # their largest intermediate value, which is below 1 + |z|.
        exact, slack = oracle.expected(case, x, w, bias)
        unit = oracle.SUM[dtype]
        tolerance = 2 * (1.2 * slack + 8 * unit * (1 + np.abs(exact)))
        tolerance += 2 * oracle.STORE[dtype] * np.abs(np.asarray(eager, "d"))
        oracle.assert_within(y, np.asarray(eager, "d"), tolerance, (activation, case))
        for own, other in zip(gradients, eager_gradients, strict=True):
            own, other = np.asarray(own, "d"), np.asarray(other, "d")
            # Slopes from values that differ as above, in sums of at most 600 products of values
            # below 2 ** 4. A slope that jumps at zero is the same on both sides but at zero.
            bound = 600 * 2.0**4 * 16 * oracle.STORE[dtype]
            oracle.assert_within(own, other, np.full(other.shape, bound), (activation, case))


def test_which_way_was_taken(path):
    x, w = tf.ones([1, 4, 4, 2]), tf.ones([3, 3, 3, 2])
    run = compiled(lambda x, w: ct.conv_transpose_nd(x, w, strides=2, bias=tf.ones([3])))
    text = run.experimental_get_compiler_ir(x, w)(stage="hlo")
    calls = text.count('custom_call_target="conv_transpose_nd"')
    assert (calls, text.count(" convolution(")) == ((1, 0) if path == "call" else (0, 1))


def test_unknown_shapes(path):
    dynamic = tf.TensorSpec([None, None, None, 3])

    @tf.function(input_signature=[dynamic, dynamic], jit_compile=True)
    def run(x, w):
        n, height, width = tf.unstack(tf.shape(x)[:3])
        shape = tf.stack([n, 2 * height, 2 * width, 4])
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = ct.conv_transpose_nd(x, w, shape, 2) + ct.conv_transpose_nd(x, w, strides=2)
            loss = tf.reduce_sum(y * y)
        return y, tape.gradient(loss, [x, w])

    rng = np.random.default_rng(0)
    for shape, taps in [((2, 5, 4, 3), 3), ((1, 3, 7, 3), 4), ((2, 5, 4, 3), 3)]:
        x = rng.standard_normal(shape).astype("f")
        w = rng.standard_normal([taps, taps, 4, 3]).astype("f")
        y, gradients = run(x, w)
        eager, eager_gradients = run.python_function(tf.constant(x), tf.constant(w))
        assert y.shape == (*shape[:1], 2 * shape[1], 2 * shape[2], 4)
        # Sums of up to 2 * 8 * 14 * 16 products of values below 2 ** 7.
        tolerance = 2 * 1792 * 2.0**-24 * 2**7
        for own, other in zip((y, *gradients), (eager, *eager_gradients), strict=True):
            oracle.assert_within(own, other.numpy().astype("d"), tolerance)


@pytest.mark.parametrize("kind", [tf.int32, tf.int64])
def test_forms_of_output_shape(path, kind):
    x, w = tf.ones([2, 5, 2]), tf.ones([3, 4, 2])
    for form in (tf.constant([2, 10, 4], kind), [2, tf.constant(10, kind), 4]):
        assert compiled(lambda x, s=form: ct.conv_transpose_nd(x, w, s, 2))(x).shape == (2, 10, 4)


def test_empty_operands(path):
    run = compiled(
        lambda x, w, b: ct.conv_transpose_nd(x, w, strides=2, bias=b, activation="relu6")
    )
    bias = tf.constant([-1.0, 2.0, 7.0])
    assert run(tf.ones([0, 4, 2]), tf.ones([3, 3, 2]), bias).shape == (0, 8, 3)
    # A sum of nothing: the bias goes through the activation.
    empty = run(tf.ones([2, 4, 0]), tf.ones([3, 3, 0]), bias)
    assert np.array_equal(empty, np.broadcast_to([0.0, 2.0, 6.0], [2, 8, 3]))
    case = oracle.Case([0, 4, 2], [3, 3, 2], [0, 8, 3], [2], [1], "SAME", 1, False)
    _, (dx, dw) = compiled(with_gradients(case))(
        tf.ones([0, 4, 2]), tf.ones([3, 3, 2]), tf.ones([0, 8, 3])
    )
    assert dx.shape == (0, 4, 2)
    assert np.array_equal(dw, np.zeros([3, 3, 2]))


def test_second_order(path):
    rng = np.random.default_rng(1)
    x = tf.constant(rng.standard_normal([2, 4, 3, 2]))
    w = tf.constant(rng.standard_normal([3, 2, 4, 2]))

    def penalty(x, w):
        with tf.GradientTape() as outer:
            outer.watch([x, w])
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(ct.conv_transpose_nd(x, w, strides=2, activation="tanh") ** 2)
            loss = tf.reduce_sum(inner.gradient(y, x) ** 2)
        return outer.gradient(loss, [x, w])

    for own, other in zip(compiled(penalty)(x, w), penalty(x, w), strict=True):
        # Sums of up to 2 * 8 * 6 * 4 terms, relative to the largest of them.
        largest = np.max(np.abs(other))
        oracle.assert_within(own, other.numpy(), 1000 * 2.0**-53 * largest)


def test_not_finite_values_stay_where_they_are(path):
    x, w = np.zeros([1, 3, 1], "f"), np.ones([2, 1, 1], "f")
    x[0, :, 0] = np.nan, np.inf, -np.inf
    for activation in (None, "relu", "relu6", "leaky_relu"):
        run = compiled(lambda x, a=activation: ct.conv_transpose_nd(x, w, strides=2, activation=a))
        eager = ct.conv_transpose_nd(x, w, strides=2, activation=activation)
        assert np.array_equal(run(tf.constant(x)), eager, equal_nan=True), activation


def test_in_a_loop_and_a_branch(path):
    w = tf.constant(np.random.default_rng(2).standard_normal([3, 2, 2]).astype("f"))

    def run(x, w, flag):
        def step(i, x):
            return i + 1, ct.conv_transpose_nd(x, w, strides=1, activation="tanh")

        with tf.GradientTape() as tape:
            tape.watch(w)
            _, y = tf.while_loop(lambda i, _: i < 3, step, (0, x), maximum_iterations=3)
            y = tf.cond(flag, lambda: ct.conv_transpose_nd(y, w), lambda: 2 * y)
        return tape.gradient(y, w)

    x = tf.ones([1, 5, 2])
    for flag in (True, False):
        flag = tf.constant(flag)
        # Four layers, each of at most 6 products, of values whose product is below 2 ** 6.
        oracle.assert_within(
            compiled(run)(x, w, flag), run(x, w, flag).numpy().astype("d"), 120 * 2.0**-24 * 2**6
        )


# (axis whose length follows from values, padding, stride, dilation, output positions cut off,
# whether output_shape is given)
OPEN = [
    (0, "SAME", 2, 1, 0, True),
    (0, "VALID", 3, 1, 0, False),
    (1, "SAME", 2, 1, 0, True),
    (1, "SAME", 3, 2, 2, True),
    (1, "SAME_LOWER", 2, 1, 1, True),
    (1, "SAME_LOWER", 2, 1, 0, False),
    (1, "VALID", 2, 2, 0, True),
    (1, [(2, 1)], 3, 1, 0, False),
    (1, "SAME", 1, 3, 0, False),
]


@pytest.mark.parametrize(
    ("way", "open_axis"), [*(("call", case) for case in OPEN), ("hlo", OPEN[1]), ("hlo", OPEN[6])]
)
def test_lengths_that_are_known_as_a_bound_only(way, open_axis, monkeypatch):
    """After tf.boolean_mask XLA has tensors of the largest length, and the true one beside it."""
    monkeypatch.setenv("CONV_TRANSPOSE_ND_XLA", way)
    axis, padding, stride, dilation, less, given = open_axis
    rng = np.random.default_rng(3)
    w = tf.constant(rng.standard_normal([4, 3, 2]))
    bias = tf.constant(rng.standard_normal([3]))
    if padding == "SAME" or padding == "SAME_LOWER":
        extra = -less
    else:
        pads = 0 if padding == "VALID" else 3
        extra = 3 * dilation + 1 - stride - pads

    def run(x, w, bias, keep):
        with tf.GradientTape() as tape:
            tape.watch([x, w, bias])
            kept = tf.boolean_mask(x, keep, axis=axis)
            n, length = tf.shape(kept)[0], tf.shape(kept)[1]
            shape = tf.stack([n, length * stride + extra, 3]) if given else None
            options = {"strides": stride, "dilations": dilation, "padding": padding}
            y = ct.conv_transpose_nd(kept, w, shape, bias=bias, activation="tanh", **options)
            # One value per place, so that a shift by one is seen.
            loss = tf.reduce_sum(
                y * tf.cast(tf.reshape(tf.range(tf.size(y)), tf.shape(y)), y.dtype)
            )
        return y, *tape.gradient(loss, [x, w, bias])

    jitted = compiled(run)
    keeps = ([1, 0, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0], [1] * 6)
    x = tf.constant(rng.standard_normal([6, 6, 2]))
    for keep in keeps:
        keep = tf.constant(keep) > 0
        # Sums of up to 6 * 24 * 3 terms below 2 ** 10, in float64.
        for own, other in zip(jitted(x, w, bias, keep), run(x, w, bias, keep), strict=True):
            oracle.assert_within(own, other.numpy(), 432 * 2.0**10 * 2.0**-53, open_axis)


def test_bounds_that_cannot_be_compiled(path):
    x, w, keep = tf.ones([1, 4, 1]), tf.ones([3, 1, 1]), tf.constant([True, False, True])

    def masked_filter(x, w, keep):
        return ct.conv_transpose_nd(x, tf.boolean_mask(w, keep))

    def masked_shape(x, w, keep):
        length = tf.shape(tf.boolean_mask(w, keep))[0]
        return ct.conv_transpose_nd(x, w, tf.stack([1, length + 5, 1]), 2)

    with pytest.raises(
        tf.errors.UnimplementedError, match="filter must have a shape that is known"
    ):
        compiled(masked_filter)(x, w, keep)
    message = r"output_shape\[1\] must be a compile-time constant, for input has"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        compiled(masked_shape)(x, w, keep)


def test_wrong_use_is_told_in_the_same_words(path):
    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec(None)], jit_compile=True)
    def run(x, w):
        return ct.conv_transpose_nd(x, w, [1, 9, 1], 2, "SAME")

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"output_shape\[1\] must be in \[7, "):
        run(tf.ones([1, 4, 1]), tf.ones([2, 1, 1]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"filter must have rank 3.*rank 4"):
        run(tf.ones([1, 4, 1]), tf.ones([2, 1, 1, 1]))


def test_an_output_shape_from_values(path):
    """Values of arguments are known when XLA compiles; what the program itself computes is not."""
    w = tf.ones([2, 1, 1])
    enlarge = compiled(lambda x, n: ct.conv_transpose_nd(x, w, tf.stack([1, n, 1]), 2))
    for length in (7, 8):
        assert enlarge(tf.ones([1, 4, 1]), tf.constant(length)).shape == (1, length, 1)

    def run(x):
        length = tf.random.uniform([], 7, 9, tf.int32)
        return ct.conv_transpose_nd(x, w, tf.stack([1, length, 1]), 2)

    with pytest.raises(tf.errors.InvalidArgumentError, match="must be a compile-time constant"):
        compiled(run)(tf.ones([1, 4, 1]))


def test_the_variable_that_chooses(monkeypatch):
    monkeypatch.setenv("CONV_TRANSPOSE_ND_XLA", "gpu")
    message = "CONV_TRANSPOSE_ND_XLA must be call or hlo, got gpu"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        compiled(lambda x: ct.conv_transpose_nd(x, tf.ones([2, 1, 1])))(tf.ones([1, 4, 1]))


LATE = """
import sys, threading
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
tf.config.experimental.enable_op_determinism()
print(tf.function(lambda x: tf.nn.relu(x) + 1, jit_compile=True)(tf.ones([])).numpy())
import conv_transpose_nd as ct
from tensorflow.python.framework import kernels

def devices(op):
    return {k.device_type for k in kernels.get_registered_kernels_for_op(op).kernel}

jit = {device for device in devices("Relu") if device.endswith("_JIT")}
assert "XLA_CPU_JIT" in jit
for op in ("ConvTransposeND", "ConvTransposeNDInputGrad", "ConvTransposeNDFilterGrad"):
    assert jit <= devices(op), (op, devices(op))

def gradients(x, w):
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = ct.conv_transpose_nd(x, w, strides=2, activation="tanh")
    return y, *tape.gradient(y, [x, w])

rng = np.random.default_rng(0)
x = tf.constant(rng.standard_normal([2, 24, 24, 32]).astype("f"))
w = tf.constant(rng.standard_normal([4, 4, 24, 32]).astype("f"))
run = tf.function(gradients, jit_compile=True)
first = [v.numpy() for v in run(x, w)]
assert np.array_equal(first[0], gradients(x, w)[0])
wrong = []
def repeat():
    for _ in range(10):
        for own, other in zip(run(x, w), first):
            if not np.array_equal(own, other):
                wrong.append(1)
threads = [threading.Thread(target=repeat) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not wrong
np.savez(sys.argv[2], *first)
"""


def test_after_another_compilation_and_with_any_number_of_threads(run_python, tmp_path):
    """XLA collects its kernels once: what is loaded after that has to be registered by itself."""
    files = {threads: tmp_path / f"{threads}.npz" for threads in (1, 4)}
    for threads, file in files.items():
        assert run_python(LATE, threads, file).stdout == "2.0\n"
    one, four = (np.load(file) for file in files.values())
    # All that is ours is the same for any number of threads; tanh's gradient is XLA's, and
    # elementwise.
    assert all(np.array_equal(one[name], four[name]) for name in one.files)
    assert one["arr_0"].any()


def test_clusters_that_tensorflow_forms_by_itself(run_python):
    code = """
import tensorflow as tf
import conv_transpose_nd as ct
@tf.function
def run(x, w):
    return tf.reduce_sum(tf.nn.relu(ct.conv_transpose_nd(tf.exp(x), w, strides=2) + 1))
x, w = tf.ones([1, 4, 1]), tf.ones([2, 1, 1])
options = tf.compat.v1.RunOptions(output_partition_graphs=True)
print(float(run(x, w)))
"""
    flags = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit --tf_xla_min_cluster_size=1"
    value = float(run_python(code, TF_XLA_FLAGS=flags).stdout)
    np.testing.assert_allclose(value, 8 * (np.e + 1), rtol=8 * 2.0**-23)


def test_a_compiled_function_in_a_saved_model(run_python, tmp_path):
    """Served by a process that has loaded both libraries, and no Python of ours."""
    module = tf.Module()
    module.run = tf.function(
        lambda x: ct.conv_transpose_nd(x, tf.ones([2, 1, 1]), strides=2),
        input_signature=[tf.TensorSpec([None, None, 1])],
        jit_compile=True,
    )
    tf.saved_model.save(module, str(tmp_path))
    code = """
import sys
import tensorflow as tf
for library in sys.argv[2:]:
    tf.load_library(library)
print(tf.saved_model.load(sys.argv[1]).run(tf.ones([1, 3, 1])).numpy().ravel().tolist())
assert "conv_transpose_nd" not in sys.modules
"""
    libraries = ct.sysconfig.get_lib(), ct.sysconfig.get_xla_lib()
    assert run_python(code, tmp_path, *libraries).stdout.strip() == str([1.0] * 6)


def test_a_custom_call_cannot_ask_whether_to_stop():
    """Why a compiled program is not cancelled midway: docs/reliability.md.

    Where this fails, TensorFlow gives a handler a way to learn of it: cc/xla/handler.cc can use it.
    """
    folder = pathlib.Path(tf.sysconfig.get_include()) / "xla"
    interface = (folder / "ffi" / "api" / "c_api.h").read_text()
    assert "XLA_FFI_ThreadPool_Schedule" in interface  # what the handler uses
    found = [line.strip() for line in interface.splitlines() if "cancel" in line.lower()]
    # The code of an error that a handler may return; no function.
    assert all(line.startswith("XLA_FFI_Error_Code_CANCELLED") for line in found)
    for name in ("ffi/execution_context.h", "executable_run_options.h"):
        assert "cancel" not in (folder / name).read_text().lower()


def test_without_the_xla_library(run_python, tmp_path):
    """A build without it works, and says so; XLA itself names the op that it does not know."""
    package = pathlib.Path(ct.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", "*_xla.so")
    shutil.copytree(package, tmp_path / package.name, ignore=ignored)
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import tensorflow as tf
import conv_transpose_nd as ct
assert ct.__file__.startswith(sys.argv[1])
assert not ct.keras.layers.Conv1DTranspose(1, 1).supports_jit
x = tf.ones([1, 4, 1])
print(ct.conv_transpose_nd(x, tf.ones([2, 1, 1]), strides=2).shape)
try:
    tf.function(lambda x: ct.conv_transpose_nd(x, x), jit_compile=True)(x)
except tf.errors.InvalidArgumentError as error:
    print("ConvTransposeND" in str(error))
ct.show_versions()
"""
    shown = run_python(code, tmp_path).stdout
    assert shown.startswith("(1, 8, 1)\nTrue\n")
    assert "XLA (jit_compile=True)       not built" in shown
