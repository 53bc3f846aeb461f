"""What the package is made of is listed, and nothing in it reaches for a network."""

import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys

import pytest
from conftest import PACKAGE

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_build_requirements_are_pinned():
    lines = (ROOT / ".ci/requirements-build.txt").read_text(encoding="utf-8").splitlines()
    pins = {line.split("==")[0] for line in lines if not line.startswith("#")}
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+", line) for line in lines if not line.startswith("#"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    required = project.split("requires = [", 1)[1].split("]", 1)[0]
    cuda = (ROOT / ".ci/requirements-cuda.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in cuda if not line.startswith("#")]
    assert pinned
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+(; .*)?", line) for line in pinned)
    # TensorFlow is the user's choice.
    assert set(re.findall(r'"([\w-]+)', required)) == pins | {"tensorflow"}


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
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in hashes.values())
    names = {component["name"] for component in bill["components"]}
    assert {"numpy", "pybind11", "cmake"} <= names
    refs = {component["bom-ref"] for component in bill["components"]}
    assert set(bill["dependencies"][0]["dependsOn"]) <= refs


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
