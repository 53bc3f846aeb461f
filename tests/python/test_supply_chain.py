"""What the package is made of is listed, and nothing in it reaches for a network."""

import hashlib
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest
import tensorflow as tf
from conftest import PACKAGE
from scripts import release

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pins(file):
    """The names that a file of requirements pins; all lines do."""
    lines = (ROOT / ".ci" / file).read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert pinned
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+(; .*)?", line) for line in pinned), file
    return {line.split("==")[0] for line in pinned}


def test_build_requirements_are_pinned():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    required = project.split("requires = [", 1)[1].split("]", 1)[0]
    # TensorFlow is the user's choice.
    named = set(re.findall(r'"([\w-]+)', required))
    assert named == pins("requirements-build.txt") | {"tensorflow"}
    assert pins("requirements-cuda.txt") == {"nvidia-cuda-nvrtc-cu12"}
    assert {"auditwheel", "wheel"} <= pins("requirements-release.txt")


def test_bill_of_materials():
    try:
        version = importlib.metadata.version("conv-transpose-nd")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("lists an installed package, and these sources are not installed")
    done = subprocess.run(
        [sys.executable, ROOT / ".ci/sbom"], capture_output=True, text=True, check=True
    )
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    subject = bill["metadata"]["component"]
    assert subject["version"] == version
    hashes = {file["name"]: file["hashes"][0]["content"] for file in subject["components"]}
    assert any("_conv_transpose_nd_ops" in name for name in hashes)
    distribution = importlib.metadata.distribution("conv-transpose-nd")
    for name, digest in hashes.items():
        content = pathlib.Path(distribution.locate_file(name)).read_bytes()
        assert digest == hashlib.sha256(content).hexdigest()
    names = {component["name"] for component in bill["components"]}
    assert {"numpy", "pybind11", "cmake"} <= names
    refs = {component["bom-ref"] for component in bill["components"]}
    assert set(bill["dependencies"][0]["dependsOn"]) <= refs


def test_a_release_lists_what_is_in_its_wheel(tmp_path):
    wheel = tmp_path / "conv_transpose_nd-9.8.7-cp311-cp311-linux_x86_64.whl"
    files = {"conv_transpose_nd/tf2_21/_conv_transpose_nd_ops.so": b"op", "libm.so.6": b"m"}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {**files, "conv_transpose_nd/ops.py": b"python"}.items():
            archive.writestr(name, content)
    written = release.write_bill(wheel, {"2.21": sys.executable}, tmp_path)
    bill = json.loads(written.read_text(encoding="utf-8"))
    subject = bill["metadata"]["component"]
    assert subject["version"] == "9.8.7"
    assert subject["hashes"][0]["content"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    listed = {file["name"]: file["hashes"][0]["content"] for file in subject["components"]}
    assert listed == {name: hashlib.sha256(c).hexdigest() for name, c in files.items()}
    needs = bill["dependencies"][0]["dependsOn"]
    assert any(re.fullmatch(rf"pkg:pypi/tensorflow(-cpu)?@{tf.__version__}", n) for n in needs)


def test_no_library_calls_the_network():
    """The names that a library imports are in its string table."""
    libraries = sorted(PACKAGE.glob("*.so"))
    assert len(libraries) >= 2
    for library in libraries:
        names = set(library.read_bytes().split(b"\0"))
        assert b"memcpy" in names, "the string table is not where it is looked for"
        assert not names & {b"socket", b"connect", b"getaddrinfo", b"system", b"execve", b"popen"}


def test_a_call_without_a_network(run_python):
    """Import, call and gradient, where every Python socket is an error."""
    code = """
import socket, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request"):
        raise RuntimeError(event)
sys.addaudithook(refuse)
import tensorflow as tf
import conv_transpose_nd as ct
x = tf.ones([1, 3, 1])
with tf.GradientTape() as tape:
    tape.watch(x)
    y = ct.conv_transpose_nd(x, tf.ones([2, 1, 1]), strides=2)
assert tape.gradient(y, x).numpy().tolist() == [[[2.0]] * 3]
"""
    run_python(code)
