"""The error against float64 stays below what the arithmetic allows; docs/reliability.md has it."""

import numerics
import numpy as np
import pytest

TAKES = {
    "pixel_tiles": {"float32", "float64"},
    "copied_rows": {"float32", "float64"},
}


@pytest.mark.parametrize("kind", numerics.KINDS)
@pytest.mark.parametrize("dtype", numerics.DTYPES)
@pytest.mark.parametrize("family", numerics.FAMILIES)
def test_error_of_a_family(family, dtype, kind):
    outcome = numerics.of_family(family, kind, dtype)
    if dtype not in TAKES.get(family, numerics.DTYPES):
        assert outcome is None
        return
    case, result = outcome
    assert numerics.same_kind(result, case.exact).all()
    if kind != "NaN and Inf":
        assert np.max(np.abs(result - case.exact) - case.bound(family)) <= 0


@pytest.mark.parametrize("kind", ["normal", "large", "NaN and Inf"])
@pytest.mark.parametrize("dtype", numerics.DTYPES)
def test_error_of_the_op(dtype, kind):
    """TensorFlow's threads take denormal numbers for zero: those are left out here."""
    case, result = numerics.of_op(kind, dtype)
    assert numerics.same_kind(result, case.exact).all()
    if kind != "NaN and Inf":
        assert np.max(np.abs(result - case.exact) - case.bound("winograd")) <= 0


def test_denormal_numbers_in_tensorflow_are_zero_or_right():
    case, result = numerics.of_op("denormal", "float32")
    near = np.abs(result - case.exact) <= case.bound("winograd")
    assert np.all(near | (result == 0))
