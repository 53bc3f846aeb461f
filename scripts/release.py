"""Builds one wheel that serves several minor versions of TensorFlow.

python scripts/release.py --output dist --test \
    --python 2.18=/venvs/2.18/bin/python --python 2.21=/venvs/2.21/bin/python

Each --python names an environment with that TensorFlow (tensorflow or tensorflow-cpu) and the
Python version that runs this script, which needs what .ci/requirements-build.txt and
.ci/requirements-release.txt pin; with .ci/requirements-cuda.txt or nvcc, the wheel has GPU kernels.
The TensorFlow-free core, which holds their device code, is compiled once; each version adds a shell
of some 100 KB. Beside the wheel lies sbom.json, which lists what is in it and what made it.

--test installs the wheel into each environment, runs the op there, and loads in each what all
others have written.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "conv_transpose_nd"
CORE = "libconv_transpose_nd_core.so"
EXCLUDED = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")

SMOKE = """
import json, sys
import numpy as np, tensorflow as tf, conv_transpose_nd as ct
minor, folder, others = sys.argv[1], sys.argv[2], sys.argv[3:]
assert tf.__version__.startswith(minor + "."), tf.__version__
assert f"/tf{minor.replace('.', '_')}/" in ct.sysconfig.get_lib(), ct.sysconfig.get_lib()
x = tf.constant(np.arange(2 * 4 * 5 * 3) % 7 - 3.0, tf.float32, [2, 4, 5, 3])
if not others:
    module = tf.Module()
    values = np.arange(3 * 3 * 2 * 3) % 5 - 2.0
    module.filters = tf.Variable(tf.constant(values, tf.float32, [3, 3, 2, 3]))
    module.call = tf.function(
        lambda x: ct.conv_transpose_nd(
            x, module.filters, strides=2, bias=[1.0, 2.0], activation="relu"),
        input_signature=[tf.TensorSpec([None, None, None, 3])])
    with tf.GradientTape() as tape:
        y = module.call(x)
    gradient = tape.gradient(y, module.filters)
    stock = tf.nn.relu(tf.nn.conv2d_transpose(x, module.filters, [2, 8, 10, 2], 2) + [1.0, 2.0])
    assert np.array_equal(y, stock)
    assert gradient.shape == module.filters.shape and np.any(gradient)
    tf.saved_model.save(module, folder + "/" + minor, signatures=module.call)
    np.save(folder + "/expected.npy", y)
for other in others:
    loaded = tf.saved_model.load(folder + "/" + other)
    assert np.array_equal(loaded.call(x), np.load(folder + "/expected.npy")), other
    with tf.GradientTape() as tape:
        y = loaded.call(x)
    assert np.any(tape.gradient(y, loaded.filters)), other
print(json.dumps({"tensorflow": tf.__version__, "lib": ct.sysconfig.get_lib(), "loaded": others}))
"""


def run(*command: object, **options: object) -> str:
    """Runs a command; its output, or an error that holds it."""
    print("+", *command if len(str(command)) < 400 else command[:2], flush=True)
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return str(done.stdout)


def build(source: Path, stage: Path, **definitions: object) -> None:
    """Configures, builds and installs into `stage`."""
    folder = Path(tempfile.mkdtemp(prefix="build-", dir=stage.parent))
    settings = [f"-D{key}={value}" for key, value in definitions.items()]
    run("cmake", "-S", source, "-B", folder, "-G", "Ninja", *settings)
    run("cmake", "--build", folder, "--parallel", os.environ.get("JOBS", os.cpu_count() or 1))
    run("cmake", "--install", folder, "--prefix", stage, "--strip")


def assemble(pythons: dict[str, str], work: Path, launcher: str) -> Path:
    """The wheel, before auditwheel."""
    stage = work / "stage"
    stage.mkdir()
    common = {"CMAKE_CXX_COMPILER_LAUNCHER": launcher} if launcher else {}
    switch = f"{PACKAGE.upper()}_"
    build(
        ROOT,
        stage,
        Python_EXECUTABLE=sys.executable,
        **{f"{switch}SHARED_CORE": "ON", f"{switch}BUILD_OP": "OFF"},
        **common,
    )
    for minor, python in pythons.items():
        shell = f"tf{minor.replace('.', '_')}"
        definitions = {
            "CORE": stage / PACKAGE / CORE,
            "SHELL": shell,
            "BUILD_PYTHON": "OFF",
        }
        prefixed = {switch + key: value for key, value in definitions.items()}
        build(ROOT, stage, Python_EXECUTABLE=python, **prefixed, **common)
        # What the package says of itself is what was built last.
        shutil.copy(stage / PACKAGE / shell / "_build_info.py", stage / PACKAGE)
    tracked = run("git", "-C", ROOT, "ls-files", "--", f"python/{PACKAGE}").splitlines()
    for path in tracked:
        copy = stage / Path(path).relative_to("python")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copy)
    run(sys.executable, "-c", METADATA, stage, cwd=ROOT)
    widen_extras(next(stage.glob("*.dist-info/METADATA")), list(pythons))
    run(sys.executable, "-m", "wheel", "pack", stage, "-d", work)
    (wheel,) = work.glob("*.whl")
    return wheel


def widen_extras(metadata: Path, minors: list[str]) -> None:
    """Lets the extras install any TensorFlow that the wheel serves."""
    ordered = sorted([int(part) for part in minor.split(".")] for minor in minors)
    (low, high) = ordered[0], ordered[-1]
    wanted = f">={low[0]}.{low[1]},<{high[0]}.{high[1] + 1}"
    pattern = r"^(Requires-Dist: tensorflow(?:-cpu)?)\b[^;]*(; extra == .*)$"
    text, count = re.subn(pattern, rf"\1{wanted}\2", metadata.read_text(), flags=re.MULTILINE)
    assert count == 2, f"{metadata} has {count} extras with TensorFlow, not 2"
    metadata.write_text(text)


TENSORFLOW = """
from importlib.metadata import PackageNotFoundError, version
for name in ("tensorflow", "tensorflow-cpu"):
    try:
        print(f"{name}=={version(name)}")
    except PackageNotFoundError:
        pass
"""


def write_bill(wheel: Path, pythons: dict[str, str], folder: Path) -> Path:
    """Writes the bill of materials of a wheel for the TensorFlow of these environments."""
    versions = [run(python, "-c", TENSORFLOW) for python in pythons.values()]
    bill = folder / "sbom.json"
    assert all("==" in text for text in versions), "an environment has no TensorFlow"
    program = [sys.executable, ROOT / ".ci" / "sbom"]
    bill.write_text(run(*program, wheel, *dict.fromkeys(" ".join(versions).split())))
    return bill


METADATA = """
import sys
from scikit_build_core.build import prepare_metadata_for_build_wheel
prepare_metadata_for_build_wheel(sys.argv[1])
"""


def test(wheel: Path, pythons: dict[str, str], folder: Path) -> None:
    """Installs into every environment, and lets each load what the others wrote."""
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    clean["TF_CPP_MIN_LOG_LEVEL"] = "3"
    folder.mkdir()
    for minor, python in pythons.items():
        pip = [python, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps"]
        run(*pip, wheel, cwd=folder, env=clean)
        print(run(python, "-c", SMOKE, minor, folder, cwd=folder, env=clean).strip())
    for minor, python in pythons.items():
        result = run(python, "-c", SMOKE, minor, folder, *pythons, cwd=folder, env=clean)
        assert json.loads(result.splitlines()[-1])["loaded"] == list(pythons)
        print(result.strip())


def main() -> None:
    """Reads the command line, builds, repairs, tests."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", action="append", required=True, metavar="MINOR=PYTHON")
    parser.add_argument("--output", type=Path, default=Path("dist"))
    parser.add_argument("--launcher", default="ccache" if shutil.which("ccache") else "")
    parser.add_argument("--test", action="store_true")
    options = parser.parse_args()
    named = dict(argument.split("=", 1) for argument in options.python)
    # Some commands run in other folders.
    pythons = {minor: os.path.abspath(python) for minor, python in named.items()}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        wheel = assemble(pythons, work, options.launcher)
        options.output.mkdir(parents=True, exist_ok=True)
        excluded = [argument for library in EXCLUDED for argument in ("--exclude", library)]
        repaired = work / "repaired"
        run(sys.executable, "-m", "auditwheel", "repair", *excluded, "-w", repaired, wheel)
        (wheel,) = repaired.glob("*.whl")
        wheel = Path(shutil.copy(wheel, options.output))
        write_bill(wheel, pythons, options.output)
        print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB, for TensorFlow {', '.join(pythons)}")
        if options.test:
            test(wheel.resolve(), pythons, work / "smoke")


if __name__ == "__main__":
    main()
