"""scripts/gpu_check.py, as far as it goes without a GPU: its oracle, its calls, its arguments."""

import dataclasses
import importlib.util
import itertools
import json
import math
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
from conftest import child_environment

import conv_transpose_nd
from conv_transpose_nd import core

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/gpu_check.py"


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_check"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["gpu_check"]


def run_script(*arguments, script=SCRIPT):
    return subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        text=True,
        env=child_environment(),
        check=False,
    )


def test_without_a_device_it_says_so(tmp_path):
    try:
        import torch
    except ImportError:
        torch = None
    if torch is not None and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    done = run_script("--output", tmp_path / "log")
    assert done.returncode == 3
    assert done.stderr.startswith("gpu_check: no CUDA device")
    assert not (tmp_path / "log").exists()


def test_arguments():
    assert "compute-sanitizer" in run_script("--help").stdout
    done = run_script("--only", "everything")
    assert done.returncode == 2
    assert "invalid choice" in done.stderr


def by_reference(case, first, second, bias):
    """The same call by the reference of the NumPy module."""
    call, dims = case.call(), len(case.input) + 2
    pads = list(call.explicit_paddings)[: 2 * dims]
    options = {
        "strides": list(call.strides)[:dims],
        "dilations": list(call.dilations)[:dims],
        "padding": list(zip(pads[::2], pads[1::2], strict=True)),
        "groups": case.groups,
        "data_format": call.data_format.decode(),
    }
    if case.operation == "input_grad":
        return core.reference_input_grad(first, second, **options)
    if case.operation == "filter_grad":
        return core.reference_filter_grad(first, case.dims("filter"), second, **options)
    shape, activation = case.dims("output"), case.activation
    options |= {"output_shape": shape, "bias": bias, "activation": activation}
    return core.reference_conv_transpose(first, second, **options)


def test_its_oracle_is_the_definition(check):
    source, seen = random.Random(5), set()
    for i in range(120):
        case = check.random_case(source, 2000)
        values = np.random.default_rng(i)
        first, second = (values.standard_normal(case.dims(n)) for n in case.operands[:2])
        bias = values.standard_normal(case.out_channels) if case.bias else None
        result = check.by_definition(case, first, second, bias)
        np.testing.assert_allclose(
            check.activate(case.activation, result),
            by_reference(case, first, second, bias),
            rtol=1e-9,
            atol=1e-9,
            err_msg=str(case),
        )
        seen |= {case.operation, case.activation, case.dtype, len(case.input), case.groups > 1}
        seen |= {case.channels_first, case.aligned, case.tf32}
    assert {*check.OPERATIONS, *check.ACTIVATIONS, *check.DTYPES, 1, 2, 3, 4, 5, 6} <= seen


def test_its_bound_is_neither_loose_nor_tight(check):
    """A product in place of float32 sums in float32 passes, one wrong term does not."""
    case = check.Case("conv_transpose", "float", 1, 64, 8, 1, (16,), (4,), (34,), (2,), (1,), (0,))
    values = np.random.default_rng(0)
    first, second = (
        values.standard_normal(case.dims(n)).astype(np.float32) for n in case.operands[:2]
    )
    wide = first.astype(np.float64), second.astype(np.float64)
    expected = check.by_definition(case, *wide)
    sizes = check.by_definition(case, *map(np.abs, wide))
    bound = check.tolerance(case, expected, sizes)
    narrow = core.conv_transpose(
        first, second, output_shape=case.dims("output"), strides=2, padding=[(0, 0)]
    )
    assert np.all(np.abs(narrow - expected) <= bound)
    second[0, 0, 0] = 0
    assert np.any(np.abs(check.by_definition(case, first, second) - expected) > bound)
    rounded = dataclasses.replace(case, tf32=True)
    assert np.all(check.tolerance(rounded, expected, sizes) > bound)


def test_the_whole_suite_is_timed(check):
    cases = list(check.suite_cases(""))
    suite = json.loads((ROOT / "benchmarks/suite.json").read_text(encoding="utf-8"))["workloads"]
    assert len(cases) == len(suite) * 3 * 5
    for workload, case in cases:
        assert math.prod(case.dims("filter")) > 0
        # What the gradient would infer is what the suite says.
        axes = zip(case.output, case.before, case.filter, case.strides, case.dilations, strict=True)
        lengths = [
            (o + p + after - (k - 1) * d - 1) // s + 1
            for (o, p, k, s, d), after in zip(axes, case.after, strict=True)
        ]
        assert lengths == workload.in_spatial, workload.name


def test_the_structure_is_that_of_the_header(check):
    header = (ROOT / "cc/kernels/gpu/c_api.h").read_text(encoding="utf-8")
    body = header.split("typedef struct {", 1)[1].split("} conv_transpose_nd_gpu_call", 1)[0]
    names = [
        line.split(";")[0].split()[-1].split("[")[0].lstrip("*")
        for line in body.splitlines()
        if ";" in line
    ]
    assert names == [name for name, _ in check.Call._fields_]
    for name, kind in check.Call._fields_:
        length = getattr(kind, "_length_", None)
        assert (f" {name}[{length}];" if length else f"{name};") in body


def test_the_summary(check):
    rows = [
        {"operation": "conv_transpose", "dtype": "float32", "bound": bound, "share": 0.5}
        | {"seconds": 1e-3, "peer_seconds": 1e-3 * ratio, "ratio": ratio}
        for bound, ratio in (("math", 2.0), ("memory", 0.5))
    ]
    fast = {"operation": "conv_transpose", "dtype": "float32", "bound": "math", "share": 0.1}
    rows.append(fast | {"seconds": 1e-6, "peer_seconds": 1e-5, "ratio": 10.0})
    header, line = check.summarise(rows).splitlines()
    assert line == "conv_transpose float32 2 1.00 0.50 0.30 0.50"
    assert len(header.split()) == len(line.split())


def test_the_comparison_of_kernels(check):
    row = {"operation": "conv_transpose", "dtype": "bfloat16", "seconds": 1e-3}
    rows = [row, row | {"mma_seconds": 2e-3}, row | {"mma_seconds": 5e-4, "wgmma_seconds": 3e-3}]
    header, mma, wgmma = check.compare(rows).splitlines()
    assert mma == "mma conv_transpose bfloat16 2 1.00 0.50 2.00"
    assert wgmma == "wgmma conv_transpose bfloat16 1 3.00 3.00 3.00"
    assert len(header.split()) == len(mma.split())


def test_wide_calls_are_for_wgmma(check):
    source = random.Random(6)
    for _ in range(60):
        case = check.random_case(source, 200_000, wide=True)
        assert case.dtype in ("half", "bfloat16")
        assert case.in_channels // case.groups % 8 == case.out_channels // case.groups % 8 == 0
        assert case.aligned
        assert not case.channels_first


PART = """
import json, pathlib, sys, time
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folder = pathlib.Path(arguments["--output"])
folder.mkdir(parents=True)
(folder / "figures.json").write_text(json.dumps({"rows": [arguments["--wgmma"]]}))
time.sleep(float(arguments["--seed"]))
sys.exit(1)
"""


def test_a_part_that_ends_early_leaves_its_figures(check, tmp_path, monkeypatch):
    part = tmp_path / "part.py"
    part.write_text(PART, encoding="utf-8")
    monkeypatch.setattr(check, "__file__", str(part))
    options = check.parser().parse_args(["--output", str(tmp_path / "log"), "--seed", "0"])
    given = ["--wgmma", "0"]
    code, figures = check.run_part("mma", options, part, given, 20)
    assert (code, figures) == (1, {"exit_code": 1, "rows": ["0"]})
    options.seed = 60
    code, figures = check.run_part("time", options, part, given, -19)
    assert code == figures["exit_code"] == 124


def test_peers_compute_the_same(check):
    torch = pytest.importorskip(
        "torch", reason="PyTorch is no test dependency", exc_type=ImportError
    )
    workloads = itertools.islice(check.suite_cases("dcgan_tf,centernet,hifigan_u3"), 0, None, 4)
    for _, case in workloads:
        small = dataclasses.replace(case, batch=1, dtype="double", tf32=False)
        if max(math.prod(small.dims(n)) for n in ("input", "filter", "output")) > 100_000:
            continue
        first, second = (
            torch.randn(small.dims(n), dtype=torch.float64) for n in small.operands[:2]
        )
        theirs = check.as_ours(small, check.torch_call(small, first, second)())
        ours = check.by_definition(small, first.numpy(), second.numpy())
        np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-9, rtol=1e-9)


def test_the_check_in_tensorflow_passes_on_the_cpu():
    """The same program with the CPU's kernels: what it does not depend on a GPU for works."""
    script = ROOT / "scripts/gpu_tensorflow.py"
    library = conv_transpose_nd.sysconfig.get_lib()
    done = run_script("--library", library, "--device", "/CPU:0", "--calls", "12", script=script)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["check"] for line in said[1:]] == [
        "random calls",
        "TF32 switch",
        "unknown shapes",
        "concurrent",
        "errors",
    ]


def test_the_check_in_tensorflow_needs_a_gpu():
    script = ROOT / "scripts/gpu_tensorflow.py"
    done = run_script("--library", __file__, "--device", "/GPU:7", script=script)
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    assert done.returncode == 3
    assert "sees no GPU" in done.stderr
    assert run_script("--library", "gone.so", script=script).returncode == 2
