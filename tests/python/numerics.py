"""How far results are from sums in float64, by kernel family, dtype and kind of input.

    python tests/python/numerics.py docs/reliability.md

replaces the table between the markers `<!-- numerics -->` there. TensorFlow and PyTorch have a row
where they are installed.
"""

import dataclasses
import functools
import math
import pathlib
import sys

import numpy as np
import oracle

from conv_transpose_nd import core

DTYPES = ["float16", "bfloat16", "float32", "float64"]
FAMILIES = [
    "channel_lanes",
    "pixel_lanes",
    "pixel_tiles",
    "tap_lanes",
    "winograd",
    "channelwise",
    "copied_rows",
    "positions",
    "winograd, filter gradient",
]
# Those of a gradient; all others compute the operation itself.
OPERATION = {
    "copied_rows": "input_grad",
    "positions": "filter_grad",
    "winograd, filter gradient": "filter_grad",
}
# 4 x 4 taps at stride 2: phases of 2 x 2, which minimal filtering takes too. One group per channel
# for the depthwise family.
INPUT, FILTER, STRIDE = [2, 13, 15, 32], [4, 4, 32, 32], 2
DEPTHWISE = [4, 4, 1, 32]

# Powers of two that input and filter are multiplied by. Large: sums stay finite. Denormal: operands
# are normal numbers (but for half's), products and sums are not.
SCALES = {
    "normal": dict.fromkeys(DTYPES, (0, 0)),
    "large": {"float16": (4, 4), "bfloat16": (58, 58), "float32": (58, 58), "float64": (500, 500)},
    "denormal": {
        "float16": (-10, -12),
        "bfloat16": (-70, -70),
        "float32": (-70, -70),
        "float64": (-530, -530),
    },
}
KINDS = [*SCALES, "NaN and Inf"]
# The smallest subnormal number of what is stored, and of what sums are kept in.
TINY = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
SUM_TINY = TINY | {"float16": 2.0**-149, "bfloat16": 2.0**-149}
# Below this the instruction for pairs of bfloat16 takes sums for zero.
SMALLEST_NORMAL = 2.0**-126


@dataclasses.dataclass
class Problem:
    """Operands in a dtype, the exact result, and the sum of absolute products."""

    dtype: str
    depthwise: bool
    operation: str
    x: np.ndarray
    w: np.ndarray
    exact: np.ndarray
    magnitude: np.ndarray
    terms: int
    in_pairs: bool = False

    def unit(self):
        """Unit roundoff of the stored type times the absolute sum, or the smallest spacing."""
        return oracle.STORE[self.dtype] * self.magnitude + TINY[self.dtype]

    def bound(self, family):
        """What the error may be: rounded additions and products, then the store.

        Products below the smallest normal number are off by the spacing there, each by itself; in
        bfloat16 pairs by that number, and so is what is stored.
        Minimal filtering sums other products: tests/cc/testing/winograd_error.h. F(3, 2) along both
        axes grows them 6 * 6 times and adds 4 + 4 roundings; its filter gradient 8 * 8 times and
        5 + 5 roundings, of the 2 * 5 * 5 tiles of a phase.
        """
        terms, magnitude = self.terms, self.magnitude
        if family.startswith("winograd"):
            summed, growth, more = FILTER[-1], 36, 8
            if self.operation == "filter_grad":
                summed, growth, more = 50, 64, 10
            largest = np.max(np.abs(np.float64(self.x))) * np.max(np.abs(np.float64(self.w)))
            terms, magnitude = summed + more, magnitude + growth * summed * largest
        first = terms * oracle.SUM[self.dtype]
        total = first * (1 + 2 * first) * magnitude + 36 * terms * SUM_TINY[self.dtype]
        if self.in_pairs:
            total = total + (terms + 2) * SMALLEST_NORMAL
        stored = oracle.STORE[self.dtype] * (np.abs(self.exact) + total)
        return total + stored + TINY[self.dtype]


def problem(dtype, kind, depthwise=False, operation="conv_transpose"):
    import ml_dtypes

    number = {"bfloat16": ml_dtypes.bfloat16}.get(dtype, dtype)
    rng = np.random.default_rng(1)
    groups = 32 if depthwise else 1
    shape = [INPUT[0], *(STRIDE * n for n in INPUT[1:-1]), 32]
    x_shape = shape if operation == "input_grad" else INPUT
    w_shape = shape if operation == "filter_grad" else DEPTHWISE if depthwise else FILTER
    scales = SCALES.get(kind, SCALES["normal"])[dtype]
    x, w = (
        np.ldexp(rng.uniform(-1, 1, s), e).astype(number)
        for s, e in zip((x_shape, w_shape), scales, strict=True)
    )
    if kind == "NaN and Inf":
        for array, count in ((x, 5), (w, 1)):
            flat = array.reshape(-1)
            for value in (math.nan, math.inf, -math.inf):
                flat[rng.integers(0, flat.size, count)] = value
    wide = [np.float64(x), np.float64(w)]
    with np.errstate(all="ignore"):
        exact, magnitude = (
            _call("reference_", a, b, groups, operation)
            for a, b in (wide, [np.abs(v) for v in wide])
        )
    terms = {
        "conv_transpose": (4 // STRIDE) ** 2 * 32 // groups,
        "input_grad": math.prod(FILTER[:-1]),
        "filter_grad": math.prod(INPUT[:-1]),
    }[operation]
    return Problem(dtype, depthwise, operation, x, w, exact, magnitude, terms)


def _call(prefix, x, w, groups, operation):
    function = getattr(core, prefix + operation)
    operands = (x, FILTER, w) if operation == "filter_grad" else (x, w)
    return function(*operands, strides=STRIDE, groups=groups)


def of_family(family, kind, dtype):
    """(problem, result) of a forced family; None where it does not take the dtype."""
    operation = OPERATION.get(family, "conv_transpose")
    family = family.split(",")[0]
    case = problem(dtype, kind, family == "channelwise", operation)
    groups = 32 if case.depthwise else 1
    core.force_family(family)
    try:
        w_shape = FILTER if operation == "filter_grad" else case.w.shape
        plan = core.plan(
            INPUT, w_shape, strides=STRIDE, groups=groups, operation=operation, dtype=dtype
        )
        if plan["family"] != family:
            return None
        case.in_pairs = family != "winograd" and "bfloat16 pairs" in plan["reason"]
        return case, np.float64(_call("", case.x, case.w, groups, operation))
    finally:
        core.force_family(None)


def of_op(kind, dtype):
    import tensorflow as tf

    import conv_transpose_nd as ct

    case = problem(dtype, kind)
    result = ct.conv_transpose_nd(tf.constant(case.x), tf.constant(case.w), strides=STRIDE)
    return case, np.float64(result.numpy())


def of_tensorflow(kind, dtype):
    import tensorflow as tf

    case = problem(dtype, kind)
    result = tf.nn.conv2d_transpose(case.x, case.w, case.exact.shape, STRIDE)
    return case, np.float64(result.numpy())


def of_torch(kind, dtype):
    import torch

    case = problem(dtype, kind)
    # Float32 holds every bfloat16 and half.
    through = np.float64 if dtype == "float64" else np.float32
    x, w = (torch.tensor(v.astype(through)).to(getattr(torch, dtype)) for v in (case.x, case.w))
    result = torch.nn.functional.conv_transpose2d(
        x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), stride=STRIDE, padding=1
    )
    return case, result.permute(0, 2, 3, 1).to(torch.float64).numpy()


def same_kind(result, exact):
    """Where a result is NaN, Inf, -Inf or finite exactly as the definition has it."""
    kinds = (np.isnan, np.isposinf, np.isneginf)
    return np.all([kind(result) == kind(exact) for kind in kinds], axis=0)


def cell(kind, outcome):
    if outcome is None:
        return "n/a"
    case, result = outcome
    if kind == "NaN and Inf":
        wrong = np.sum(~same_kind(result, case.exact))
        return "as defined" if wrong == 0 else f"{wrong} of {result.size} differ"
    largest = np.max(np.abs(result - case.exact) / case.unit())
    return f"{largest:.2g}" if np.isfinite(largest) else "not finite"


def rows():
    others = {
        "the op, in TensorFlow": of_op,
        "`tf.nn.conv2d_transpose`": of_tensorflow,
        "PyTorch": of_torch,
    }
    runners = {family: functools.partial(of_family, family) for family in FAMILIES} | others
    for dtype in DTYPES:
        for name, run in runners.items():
            try:
                cells = [cell(kind, run(kind, dtype)) for kind in KINDS]
            except ImportError:
                continue
            if set(cells) != {"n/a"}:
                yield [dtype, name, *cells]


def table():
    head = ["dtype", "computed by", *KINDS]
    lines = [head, ["---"] * len(head), *rows()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(path):
    text = pathlib.Path(path).read_text(encoding="utf-8")
    start, rest = text.split("<!-- numerics -->\n", 1)
    _, end = rest.split("<!-- end of numerics -->", 1)
    marked = f"<!-- numerics -->\n{table()}\n<!-- end of numerics -->"
    pathlib.Path(path).write_text(start + marked + end, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
