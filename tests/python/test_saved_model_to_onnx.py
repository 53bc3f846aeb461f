"""What `to_stock` writes, through tf2onnx and ONNX Runtime: they need an environment of their own.

tf2onnx needs an older protobuf than this TensorFlow, so that both never are in one process.
"""

import os
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from accelerate_cases import MODELS

import conv_transpose_nd as ct

PYTHON = os.environ.get("CONV_TRANSPOSE_ND_TF2ONNX", "")
pytestmark = pytest.mark.skipif(
    not PYTHON, reason="set CONV_TRANSPOSE_ND_TF2ONNX to a Python with tf2onnx and onnxruntime"
)
# Two batches each, of two sizes where the model takes any.
SHAPES = {
    "dcgan": [[2, 100], [3, 100]],
    "unet": [[1, 64, 64, 3], [1, 96, 96, 3]],
    "vocoder": [[1, 64, 80], [1, 96, 80]],
}
RUN = """
import sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx")
(given,) = session.get_inputs()
for number in range(2):
    x = np.load(f"{sys.argv[1]}/{number}.npy")
    np.save(f"{sys.argv[1]}/{number}_result.npy", session.run(None, {given.name: x})[0])
"""


def elsewhere(*command):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [PYTHON, *map(str, command)],
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("name", MODELS)
def test_onnx_runtime_computes_what_the_stock_model_does(stock_models, accelerated, tmp_path, name):
    ct.saved_model.to_stock(
        accelerated[0] / name, tmp_path / "stock", seconds=0, report=lambda line: None
    )
    arguments = ["--saved-model", tmp_path / "stock", "--output", tmp_path / "model.onnx"]
    elsewhere("-m", "tf2onnx.convert", *arguments, "--opset", "17")
    content = (tmp_path / "model.onnx").read_bytes()
    assert b"ConvTranspose" in content
    assert b"ConvTransposeND" not in content
    model = tf.saved_model.load(str(stock_models / name))
    inputs = [np.random.default_rng(1).standard_normal(s).astype("f") for s in SHAPES[name]]
    for number, x in enumerate(inputs):
        np.save(tmp_path / f"{number}.npy", x)
    elsewhere("-c", RUN, tmp_path)
    for number, x in enumerate(inputs):
        expected = model.serve(x).numpy()
        result = np.load(tmp_path / f"{number}_result.npy")
        largest = np.max(np.abs(expected))
        difference = np.max(np.abs(result - expected))
        print(f"{name} {x.shape}: largest {largest:.2g}, difference {difference:.1e}")
        # As in `accelerate`: 1024 roundings of the largest number.
        assert difference <= 2.0**-14 * largest
