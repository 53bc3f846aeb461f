"""What holds for every call, on calls that hypothesis draws and shrinks.

Inputs are small integers, so that sums are exact in any order and "equal" means equal.
"""

import dataclasses

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from conv_transpose_nd import core

FAMILIES = [
    None,
    "channel_lanes",
    "pixel_lanes",
    "pixel_tiles",
    "tap_lanes",
    "winograd",
    "channelwise",
    "copied_rows",
]


@dataclasses.dataclass
class Call:
    """A case, its operands, and what is to run it."""

    case: oracle.Case
    x: np.ndarray
    w: np.ndarray
    dy: np.ndarray
    family: str | None
    target: str

    def attributes(self, **changes):
        return self.case.attributes() | changes

    def forward(self, x=None, w=None, **changes):
        given = {"output_shape": self.case.output_shape} | self.attributes(**changes)
        return self._run(
            core.conv_transpose, self.x if x is None else x, self.w if w is None else w, **given
        )

    def input_grad(self, dy=None, **changes):
        dy = self.dy if dy is None else dy
        return self._run(core.input_grad, dy, self.w, **self.attributes(**changes))

    def filter_grad(self, **changes):
        given = self.attributes(**changes)
        return self._run(core.filter_grad, self.x, self.w.shape, self.dy, **given)

    def _run(self, function, *operands, **given):
        core.force_family(self.family)
        core.set_target(self.target)
        try:
            return function(*operands, **given)
        finally:
            core.force_family(None)
            core.set_target(core.targets()[0])


@st.composite
def calls(draw, **fixed):
    """A valid call. Lengths come from a seed: hypothesis shrinks the choice, not each of them."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    rank = fixed.pop("rank", None) or draw(st.integers(1, 4))
    case = oracle.random_case(rng, rank, **fixed)
    largest = draw(st.sampled_from([1, 3, 9]))

    def operand(shape):
        return rng.integers(-largest, largest + 1, shape).astype(np.float32)

    return Call(
        case,
        operand(case.input_shape),
        operand(case.filter_shape),
        operand(case.output_shape),
        draw(st.sampled_from(FAMILIES)),
        draw(st.sampled_from(core.targets())),
    )


def check(**fixed):
    """Runs a property on 150 calls, the same in every run."""

    def decorate(function):
        limits = settings(
            max_examples=150,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        return limits(given(calls(**fixed))(function))

    return decorate


@check()
def test_linear_in_the_input(call):
    other = np.roll(call.x, 1)
    total = call.forward(3 * call.x - 2 * other)
    np.testing.assert_array_equal(total, 3 * call.forward() - 2 * call.forward(other))


@check()
def test_linear_in_the_filter(call):
    other = np.roll(call.w, 1)
    total = call.forward(w=3 * call.w - 2 * other)
    np.testing.assert_array_equal(total, 3 * call.forward() - 2 * call.forward(w=other))


@check()
def test_gradients_are_the_adjoints(call):
    """<T(x, w), dy> = <x, C(dy, w)> = <w, W(x, dy)>."""

    def inner(a, b):
        return np.sum(np.float64(a) * np.float64(b))

    product = inner(call.forward(), call.dy)
    assert product == inner(call.x, call.input_grad())
    assert product == inner(call.w, call.filter_grad())


@check(channels_first=False)
def test_both_data_formats(call):
    def first(array):
        return np.moveaxis(array, -1, 1)

    shape = np.array(call.case.output_shape)[[0, -1, *range(1, call.case.rank + 1)]].tolist()
    given = {"data_format": "CHANNELS_FIRST"}
    result = call.forward(first(call.x), output_shape=shape, **given)
    np.testing.assert_array_equal(result, first(call.forward()))
    dx = call.input_grad(first(call.dy), **given)
    np.testing.assert_array_equal(dx, first(call.input_grad()))


@check(channels_first=False)
def test_an_axis_of_one_changes_nothing(call):
    """Rank N + 1 with an axis of length 1, wherever it is put."""
    case = call.case
    assume(case.rank < 4)
    for axis in range(case.rank + 1):

        def more(values, axis=axis, new=1):
            return [*values[:axis], new, *values[axis:]]

        padding = case.padding if isinstance(case.padding, str) else more(case.padding, new=(0, 0))
        result = call.forward(
            np.expand_dims(call.x, axis + 1),
            np.expand_dims(call.w, axis),
            output_shape=[case.output_shape[0], *more(case.output_shape[1:])],
            strides=more(case.strides),
            dilations=more(case.dilations),
            padding=padding,
        )
        np.testing.assert_array_equal(np.squeeze(result, axis + 1), call.forward())


@check(channels_first=False)
def test_groups_are_separate_calls(call):
    case = call.case
    parts = zip(np.split(call.x, case.groups, -1), np.split(call.w, case.groups, -1), strict=True)
    shape = [*case.output_shape[:-1], case.output_shape[-1] // case.groups]
    separate = [
        call.forward(np.ascontiguousarray(x), np.ascontiguousarray(w), groups=1, output_shape=shape)
        for x, w in parts
    ]
    np.testing.assert_array_equal(call.forward(), np.concatenate(separate, -1))


def named_pads(case, axis, output):
    """The pads that a name stands for; README, `padding`."""
    n = case.input_shape[1 + axis + case.channels_first]
    k, s, d = case.filter_shape[axis], case.strides[axis], case.dilations[axis]
    total = max((n - 1) * s + (k - 1) * d + 1 - output, 0)
    before = {"VALID": 0, "SAME": total // 2, "SAME_LOWER": total - total // 2}[case.padding]
    return before, 0 if case.padding == "VALID" else total - before


@pytest.mark.parametrize("padding", ["VALID", "SAME", "SAME_LOWER"])
def test_named_padding_is_explicit_padding(padding):
    @check(padding=padding)
    def run(call):
        case, first = call.case, 1 + call.case.channels_first
        outputs = case.output_shape[first : first + case.rank]
        pads = [named_pads(case, axis, output) for axis, output in enumerate(outputs)]
        explicit = core.geometry(
            case.input_shape,
            case.filter_shape,
            **call.attributes(padding=pads, output_padding=[s - 1 for s in case.strides]),
        )["output_shape"][first : first + case.rank]
        # SAME accepts lengths that no explicit padding has: where the stride leaves a gap.
        assume(all(o <= most for o, most in zip(outputs, explicit, strict=True)))
        np.testing.assert_array_equal(call.forward(padding=pads), call.forward())
        np.testing.assert_array_equal(call.filter_grad(padding=pads), call.filter_grad())
        np.testing.assert_array_equal(call.input_grad(padding=pads), call.input_grad())

    run()


@check()
def test_a_batch_is_separate_calls(call):
    shape = [1, *call.case.output_shape[1:]]
    separate = [call.forward(x[None], output_shape=shape) for x in call.x]
    np.testing.assert_array_equal(call.forward(), np.concatenate(separate))


@check()
def test_a_shift_of_the_input_shifts_the_output(call):
    """By `stride` positions of the first axis, where the padding is that of the output's start."""
    case = call.case
    axis = 1 + case.channels_first
    pads = [(0, 0)] * case.rank
    padded = np.insert(call.x, 0, 0, axis)
    short = call.forward(padding=pads, output_shape=None)
    long = call.forward(padded, padding=pads, output_shape=None)
    start = [slice(None)] * long.ndim
    start[axis] = slice(case.strides[0], None)
    np.testing.assert_array_equal(long[tuple(start)], short)
