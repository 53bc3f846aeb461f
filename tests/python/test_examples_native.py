"""examples/c and examples/cpp: built with CMake against the wheel, run on the demo's SavedModel."""

import pathlib
import shutil
import subprocess
import sysconfig

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import conv_transpose_nd as ct
from conv_transpose_nd.cli.demo import export, model

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
TENSORFLOW = pathlib.Path(tf.__file__).parent
SHAPE = [1, 7, 5, 1]


@pytest.fixture(scope="module")
def servable(tmp_path_factory):
    """The demo's SavedModel, the names of its tensors, a picture, and what Python makes of it."""
    folder, _ = export.save(model.Generator(0), tmp_path_factory.mktemp("models"))
    content = (folder / "saved_model.pb").read_bytes()
    meta = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    signature = meta.signature_def["serving_default"]
    names = [info.name for side in (signature.inputs, signature.outputs) for info in side.values()]
    assert any(
        n.op == "ConvTransposeND" for f in meta.graph_def.library.function for n in f.node_def
    )
    picture = np.random.default_rng(1).random(SHAPE, np.float32)
    loaded = tf.saved_model.load(str(folder))
    return folder, names, picture, loaded.upscale(picture).numpy()


def built(language, folder):
    # CMake and Ninja as the package needs them to be built: of this environment, or the system's.
    path = f"{sysconfig.get_path('scripts')}:/usr/local/bin:/usr/bin:/bin"
    cmake = shutil.which("cmake", path=path)
    configure = [cmake, "-S", EXAMPLES / language, "-B", folder, f"-DTensorFlow_DIR={TENSORFLOW}"]
    for command in (configure, [cmake, "--build", folder]):
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={"PATH": path}
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "serve"


def served(command, picture):
    done = subprocess.run(
        list(map(str, command)),
        input=picture.tobytes(),
        capture_output=True,
        check=False,
        env={"TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=120,
    )
    # TensorFlow's own log comes before it.
    shape = done.stderr.decode().splitlines()[-1].split() if done.returncode == 0 else None
    return done, np.frombuffer(done.stdout, np.float32).reshape(
        [*map(int, shape)]
    ) if shape else None


def test_c(servable, tmp_path):
    folder, names, picture, expected = servable
    program = built("c", tmp_path / "build")
    done, result = served([program, ct.sysconfig.get_lib(), folder, *names, *SHAPE[1:]], picture)
    assert result is not None, done.stderr
    assert np.array_equal(result, expected)
    # Without the op's library, TensorFlow says which op it lacks.
    done, _ = served(
        [program, TENSORFLOW / "libtensorflow_framework.so.2", folder, *names, *SHAPE[1:]], picture
    )
    assert done.returncode == 1
    assert b"Op type not registered 'ConvTransposeND'" in done.stderr


def test_cpp(servable, tmp_path):
    folder, _, picture, expected = servable
    program = built("cpp", tmp_path / "build")
    done, result = served([program, ct.sysconfig.get_lib(), folder, *SHAPE[1:]], picture)
    assert result is not None, done.stderr
    assert np.array_equal(result, expected)
