"""Runs the op in a TensorFlow process with a GPU, and compares it with sums in float64.

python scripts/gpu_tensorflow.py --library build/dev/_conv_transpose_nd_ops.so

Loads the op library alone, so that any Python with a TensorFlow of the version that it was built
for will do, also one without TensorFlow's own CUDA kernels: nothing else runs on the GPU. Checks
placement, results, same bits on repeated and on concurrent runs, TensorFlow's TF32 switch, unknown
shapes with output_shape computed in the graph, empty batches, and that errors arrive. Prints one
JSON object per line.

Exit code: 0 all checks passed, 1 one failed, 2 a wrong call, 3 TensorFlow sees no GPU.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import platform
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import gpu_check  # noqa: E402

TF_DTYPES = {"half": "float16", "bfloat16": "bfloat16", "float": "float32", "double": "float64"}


class Op:
    """The raw ops, called with a Case of gpu_check."""

    def __init__(self, tf: Any, library: str, device: str) -> None:
        self.tf, self.ops, self.device = tf, tf.load_op_library(library), device

    def __call__(self, case: gpu_check.Case, first: Any, second: Any, bias: Any = None) -> Any:
        """One call on the device."""
        call, dims = case.call(), len(case.input) + 2
        options = {
            "strides": list(call.strides)[:dims],
            "dilations": list(call.dilations)[:dims],
            "padding": "EXPLICIT",
            "explicit_paddings": list(call.explicit_paddings)[: 2 * dims],
            "data_format": call.data_format.decode(),
            "groups": case.groups,
        }
        with self.tf.device(self.device):
            if case.operation == "input_grad":
                return self.ops.conv_transpose_nd_input_grad(
                    output_grad=first, filter=second, **options
                )
            if case.operation == "filter_grad":
                return self.ops.conv_transpose_nd_filter_grad(
                    input=first, filter_shape=case.dims("filter"), output_grad=second, **options
                )
            return self.ops.conv_transpose_nd(
                input=first,
                filter=second,
                output_shape=case.dims("output"),
                bias=[] if bias is None else [bias],
                activation=case.activation,
                **options,
            )


def operands(tf: Any, case: gpu_check.Case, seed: int) -> list[Any]:
    """First, second and bias, on the host, rounded to the dtype."""
    values = np.random.default_rng(seed)
    shapes = [case.dims(name) for name in case.operands[:2]]
    shapes += [[case.out_channels]] if case.bias else []
    dtype = TF_DTYPES[case.dtype]
    with tf.device("/CPU:0"):
        made = [tf.constant(values.standard_normal(shape), dtype) for shape in shapes]
    return made if case.bias else [*made, None]


def compare(case: gpu_check.Case, given: list[Any], result: Any) -> float:
    """The largest error as a part of its bound."""
    wide = [None if value is None else value.numpy().astype(np.float64) for value in given]
    expected = gpu_check.activate(case.activation, gpu_check.by_definition(case, *wide))
    absolute = [None if value is None else np.abs(value) for value in wide]
    bound = gpu_check.tolerance(case, expected, gpu_check.by_definition(case, *absolute))
    error = np.abs(result.numpy().astype(np.float64) - expected)
    part = float(np.max(error / np.where(bound > 0, bound, 1), initial=0.0))
    if not part <= 1:
        raise AssertionError(f"error {part:.3g} times its bound: {case}")
    return part


def random_calls(op: Op, count: int) -> dict[str, Any]:
    """Results, placement and repeated bits of random calls."""
    source, worst = random.Random(11), 0.0
    place = op.device.strip("/")
    for i in range(count):
        case = gpu_check.random_case(source, 20_000)
        # TensorFlow's switch is on unless a check says otherwise.
        case = dataclasses.replace(case, tf32=True, aligned=True)
        given = operands(op.tf, case, i)
        result = op(case, *given)
        if place not in result.device:
            raise AssertionError(f"ran on {result.device}, not on {place}")
        if result.numpy().tobytes() != op(case, *given).numpy().tobytes():
            raise AssertionError(f"two runs differ: {case}")
        worst = max(worst, compare(case, given, result))
    return {"calls": count, "worst": worst}


def wide_case(**changes: Any) -> gpu_check.Case:
    """A call large enough for any kernel."""
    case = gpu_check.Case(
        "conv_transpose", "float", 4, 64, 64, 1, (16, 16), (4, 4), (32, 32), (2, 2), (1, 1), (1, 1)
    )
    return dataclasses.replace(case, **changes)


def tf32_switch(op: Op) -> dict[str, Any]:
    """Off: float32's own rounding. On: at most TF32's."""
    case, parts = wide_case(), {}
    given = operands(op.tf, case, 1)
    switch = op.tf.config.experimental.enable_tensor_float_32_execution
    try:
        for on in (False, True, False):
            switch(on)
            result = op(case, *given)
            parts[on] = compare(dataclasses.replace(case, tf32=on), given, result)
    finally:
        switch(True)
    return {"off": parts[False], "on": parts[True]}


def unknown_shapes(op: Op) -> dict[str, Any]:
    """In a function: any batch and size, output_shape from the graph."""
    tf = op.tf

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 8])] * 1)
    def call(x: Any) -> Any:
        with tf.device("/CPU:0"):
            shape = tf.shape(x)
            output_shape = tf.stack([shape[0], shape[1] * 2, shape[2] * 2, 4])
            filters = tf.ones([2, 2, 4, 8])
        with tf.device(op.device):
            return op.ops.conv_transpose_nd(
                input=x,
                filter=filters,
                output_shape=output_shape,
                bias=[],
                strides=[1, 2, 2, 1],
                padding="SAME",
            )

    for shape in ([1, 3, 4, 8], [2, 5, 1, 8], [0, 5, 5, 8]):
        with tf.device("/CPU:0"):
            x = tf.constant(np.ones(shape), tf.float32)
        y = call(x)
        if y.shape.as_list() != [shape[0], shape[1] * 2, shape[2] * 2, 4]:
            raise AssertionError(f"shape {y.shape} for input {shape}")
        if not np.all(y.numpy() == 8):
            raise AssertionError(f"results of input {shape} are wrong")
    return {"shapes": 3}


def concurrent_calls(op: Op) -> dict[str, Any]:
    """Many threads, few kernels: the same bits as one."""
    cases = [wide_case(batch=n, operation=o) for n in (1, 3) for o in gpu_check.OPERATIONS]
    given = [operands(op.tf, case, i) for i, case in enumerate(cases)]
    wanted = [
        op(case, *values).numpy().tobytes() for case, values in zip(cases, given, strict=True)
    ]

    def work(i: int) -> bool:
        n = i % len(cases)
        return bool(op(cases[n], *given[n]).numpy().tobytes() == wanted[n])

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        same = list(pool.map(work, range(192)))
    if not all(same):
        raise AssertionError(f"{same.count(False)} of {len(same)} concurrent calls differ")
    return {"calls": len(same)}


def errors(op: Op) -> dict[str, Any]:
    """A wrong call is refused in the op's words, and the next one works."""
    case = wide_case()
    first, second, _ = operands(op.tf, case, 3)
    try:
        op(dataclasses.replace(case, output=(900, 32)), first, second)
    except op.tf.errors.InvalidArgumentError as error:
        message = error.message
    else:
        raise AssertionError("a wrong output_shape was accepted")
    if "output_shape[1] must be" not in message:
        raise AssertionError(message)
    compare(dataclasses.replace(case, tf32=True), [first, second, None], op(case, first, second))
    return {"message": message.splitlines()[0]}


def main() -> int:
    """Reads the command line, runs all checks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    installed = ROOT / "python/conv_transpose_nd/_conv_transpose_nd_ops.so"
    parser.add_argument("--library", default=str(installed), help="the op library")
    parser.add_argument("--device", default="/GPU:0", help="/CPU:0 tries this program itself")
    parser.add_argument("--calls", type=int, default=200, help="random calls (%(default)s)")
    options = parser.parse_args()
    if not Path(options.library).is_file():
        parser.error(f"{options.library} is not a file: --library names the op library")
    import tensorflow as tf

    kind = options.device.strip("/").split(":")[0]
    if not tf.config.list_physical_devices(kind):
        print(f"gpu_tensorflow: TensorFlow {tf.__version__} sees no {kind}", file=sys.stderr)
        return 3
    tf.config.set_soft_device_placement(False)
    op = Op(tf, options.library, options.device)
    print(
        json.dumps(
            {
                "tensorflow": tf.__version__,
                "python": platform.python_version(),
                "device": str(
                    tf.config.experimental.get_device_details(
                        tf.config.list_physical_devices(kind)[0]
                    )
                ),
            }
        )
    )
    checks: list[Callable[[Op], dict[str, Any]]] = [
        lambda op: random_calls(op, options.calls),
        tf32_switch,
        unknown_shapes,
        concurrent_calls,
        errors,
    ]
    names = ("random calls", "TF32 switch", "unknown shapes", "concurrent", "errors")
    failed = 0
    for name, check in zip(names, checks, strict=True):
        try:
            print(json.dumps({"check": name} | check(op)), flush=True)
        except (AssertionError, tf.errors.OpError) as error:
            failed += 1
            print(json.dumps({"check": name, "failed": str(error)}), flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
