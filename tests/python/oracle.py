"""Random cases, the definition of the operations on them, and how far a result may be from it."""

import dataclasses
import math

import numpy as np

from conv_transpose_nd import core

# Unit roundoff of the stored value, and of the sums it comes from.
STORE = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
SUM = {"float16": 2.0**-24, "bfloat16": 2.0**-24, "float32": 2.0**-24, "float64": 2.0**-53}


@dataclasses.dataclass
class Case:
    """One valid call: everything that `core` and the op need, in the forms that both take."""

    input_shape: list[int]
    filter_shape: list[int]
    output_shape: list[int] | None
    strides: list[int]
    dilations: list[int]
    padding: str | list[tuple[int, int]]
    groups: int
    channels_first: bool

    @property
    def rank(self):
        return len(self.strides)

    def attributes(self):
        """Keyword arguments of core.*, but for output_shape."""
        return {
            "strides": self.strides,
            "dilations": self.dilations,
            "padding": self.padding,
            "groups": self.groups,
            "data_format": "CHANNELS_FIRST" if self.channels_first else "CHANNELS_LAST",
        }

    def tf_attributes(self):
        """Keyword arguments of ct.conv_transpose_nd, but for output_shape."""
        return self.attributes() | {"data_format": "NC" if self.channels_first else None}

    def taps(self):
        """Products that one element of the output sums, at most."""
        return math.prod(self.filter_shape[: self.rank]) * self.filter_shape[-1] // self.groups


def _output_range(n, k, s, d, padding):
    """The output lengths that a convolution maps back to n; interface.md, `output_shape`."""
    if isinstance(padding, str) and padding != "VALID":
        return (n - 1) * s + 1, n * s
    pads = 0 if isinstance(padding, str) else sum(padding)
    low = (n - 1) * s + (k - 1) * d + 1 - pads
    return low, low + s - 1


def random_case(rng, rank, dense=False, channels_first=None, groups=None, padding=None):
    """A random valid case: stride above filter, empty phases, dilation and asymmetry included."""
    largest = {1: 12, 2: 7, 3: 4, 4: 3, 5: 2, 6: 2}[rank]
    while True:
        groups_ = groups or int(rng.choice([1, 1, 2, 3]))
        first = bool(rng.integers(2)) if channels_first is None else channels_first
        lengths = rng.integers(1, largest + 1, rank).tolist()
        filters = rng.integers(1, 6 if rank < 3 else 4, rank).tolist()
        strides = rng.integers(1, 5 if rank < 4 else 3, rank).tolist()
        dilations = [1] * rank if dense else rng.integers(1, 4 if rank < 4 else 3, rank).tolist()
        kind = padding or rng.choice(["SAME", "VALID", "SAME_LOWER", "EXPLICIT"])
        pads = [(int(a), int(b)) for a, b in rng.integers(0, 4, (rank, 2))]
        axes = [pads[a] if kind == "EXPLICIT" else str(kind) for a in range(rank)]
        ranges = [
            _output_range(*axis)
            for axis in zip(lengths, filters, strides, dilations, axes, strict=True)
        ]
        if any(high < 1 for _, high in ranges):
            continue
        spatial = [int(rng.integers(max(low, 1), high + 1)) for low, high in ranges]
        batch = int(rng.integers(1, 4))
        cin, cout = (groups_ * int(v) for v in rng.integers(1, 6, 2))

        def place(values, channels, batch=batch, first=first):
            return [batch, channels, *values] if first else [batch, *values, channels]

        return Case(
            input_shape=place(lengths, cin),
            filter_shape=[*filters, cout // groups_, cin],
            output_shape=place(spatial, cout),
            strides=strides,
            dilations=dilations,
            padding=pads if kind == "EXPLICIT" else str(kind),
            groups=groups_,
            channels_first=first,
        )


def expected(case, x, w, bias=None):
    """The output by definition in float64, and the most that a sum of `x`'s dtype may be off.

    Any order of n rounded additions of rounded products is off by at most n u / (1 - n u) times
    the sum of the absolute values (Higham, Accuracy and Stability, section 3.1); the stored value
    adds its own rounding.
    """
    dtype = str(x.dtype)
    call = case.attributes() | {"output_shape": case.output_shape}
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    exact = core.reference_conv_transpose(x, w, bias=_double(bias), **call)
    magnitude = core.reference_conv_transpose(
        np.abs(x), np.abs(w), bias=_double(bias, np.abs), **call
    )
    return exact, bound(dtype, case.taps() + 1, magnitude)


def expected_gradients(case, x, w, dy):
    """(exact, bound) of both gradients, as `expected`."""
    dtype = str(x.dtype)
    x, w, dy = (np.asarray(v, np.float64) for v in (x, w, dy))
    call = case.attributes()
    dx = core.reference_input_grad(dy, w, **call)
    dx_magnitude = core.reference_input_grad(np.abs(dy), np.abs(w), **call)
    dw = core.reference_filter_grad(x, case.filter_shape, dy, **call)
    dw_magnitude = core.reference_filter_grad(np.abs(x), case.filter_shape, np.abs(dy), **call)
    dx_terms = math.prod(case.filter_shape[:-1])
    dw_terms = math.prod(case.input_shape) // case.filter_shape[-1]
    return (
        (dx, bound(dtype, dx_terms, dx_magnitude)),
        (dw, bound(dtype, dw_terms, dw_magnitude)),
    )


def bound(dtype, terms, magnitude):
    """n u Σ|input|·|filter| for the sums, and the rounding of the stored value."""
    if dtype == "int32":
        return np.zeros_like(magnitude)
    # (1 + n u) covers the second order of n u / (1 - n u). The smallest subnormal of float16 is
    # the spacing of its smallest values.
    first = terms * SUM[dtype]
    tiny = 2.0**-24 if dtype == "float16" else 0.0
    return first * (1 + 2 * first) * magnitude + STORE[dtype] * magnitude * (1 + first) + tiny


def assert_within(actual, exact, tolerance, what=""):
    """Asserts |actual - exact| <= tolerance everywhere."""
    actual = np.asarray(actual, np.float64)
    assert actual.shape == exact.shape, (what, actual.shape, exact.shape)
    excess = np.abs(actual - exact) - tolerance
    if excess.size and not np.max(excess) <= 0:
        where = np.unravel_index(np.argmax(excess), excess.shape)
        raise AssertionError(
            f"{what}: at {tuple(map(int, where))} got {actual[where]}, expected {exact[where]} "
            f"within {np.broadcast_to(tolerance, exact.shape)[where]}"
        )


def random_operands(rng, case, dtype="float32"):
    """Input and filter: not symmetric, of both signs."""
    import ml_dtypes  # comes with TensorFlow; NumPy has no bfloat16 of its own

    kind = {"bfloat16": ml_dtypes.bfloat16}.get(dtype, dtype)
    if dtype == "int32":
        return [
            rng.integers(-9, 10, s).astype(np.int32) for s in (case.input_shape, case.filter_shape)
        ]
    return [rng.standard_normal(s).astype(kind) for s in (case.input_shape, case.filter_shape)]


def _double(value, change=lambda v: v):
    return None if value is None else change(np.asarray(value, np.float64))
