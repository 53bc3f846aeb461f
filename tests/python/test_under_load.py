"""scripts/load.py and examples/batch_inference.py, small: that they run and what they write."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import child_environment

import conv_transpose_nd as ct

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A stock SavedModel, and the same on this op."""
    folder = tmp_path_factory.mktemp("models")
    module = tf.Module()
    module.filters = tf.Variable(tf.random.stateless_normal([4, 4, 8, 3], [1, 2]))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], name="x")], autograph=False)
    def serve(x):
        n, height, width, _ = tf.unstack(tf.shape(x))
        shape = tf.stack([n, 2 * height, 2 * width, 8])
        return tf.nn.relu(tf.nn.conv2d_transpose(x, module.filters, shape, 2))

    module.serve = serve
    tf.saved_model.save(module, str(folder / "stock"), signatures=serve)
    ct.saved_model.accelerate(
        folder / "stock", folder / "ours", seconds=0, report=lambda line: None
    )
    return folder


def run(*command, python=sys.executable):
    done = subprocess.run(
        [python, *map(str, command)],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_load(models, tmp_path):
    figures = tmp_path / "figures.json"
    printed = run(
        ROOT / "scripts/load.py",
        f"ours={models / 'ours'}",
        "--clients",
        "8",
        "--seconds",
        "1.5",
        "--rounds",
        "1",
        "--sizes",
        "4",
        "7",
        "--json",
        figures,
    )
    (ours,) = json.loads(figures.read_text())["ours"]
    assert ours["requests"] >= 8
    assert 0 < ours["p50_ms"] <= ours["p99_ms"]
    assert ours["memory_mb"] > 50
    # Each client has one request under way at any time.
    assert ours["per_second"] * ours["p50_ms"] / 1e3 <= 8 * 2
    assert printed.splitlines()[1].split()[0] == "ours"


BEAM = os.environ.get("CONV_TRANSPOSE_ND_BEAM", "")
needs_beam = pytest.mark.skipif(
    not BEAM, reason="set CONV_TRANSPOSE_ND_BEAM to a Python with apache-beam and this TensorFlow"
)


@pytest.mark.parametrize(
    ("python", "options"),
    [(sys.executable, []), pytest.param(BEAM, ["--beam"], marks=needs_beam)],
    ids=["tf.data", "Beam"],
)
def test_batches(models, tmp_path, python, options):
    (tmp_path / "in").mkdir()
    inputs = np.random.default_rng(1).standard_normal([5, 6, 7, 3]).astype("f")
    for i, value in enumerate(inputs):
        np.save(tmp_path / "in" / f"{i}.npy", value)
    program = ROOT / "examples/batch_inference.py"
    arguments = [models / "ours", tmp_path / "in/*.npy", tmp_path / "out", *options]
    run(program, *arguments, python=python)
    written = [np.load(tmp_path / "out" / f"{i}.npy") for i in range(5)]
    loaded = tf.saved_model.load(str(models / "ours"))
    np.testing.assert_array_equal(written, loaded.serve(tf.constant(inputs)))
