"""scripts/release.py: the parts that need no environment of another TensorFlow."""

import importlib.metadata
import re

import pytest
from scripts import release

METADATA = """Name: conv-transpose-nd
Requires-Dist: numpy>=1.26
Provides-Extra: tensorflow
Requires-Dist: tensorflow<2.22,>=2.21; extra == "tensorflow"
Provides-Extra: tensorflow-cpu
Requires-Dist: tensorflow-cpu<2.22,>=2.21; extra == "tensorflow-cpu"
"""


def test_extras_take_every_version_that_the_wheel_serves(tmp_path):
    file = tmp_path / "METADATA"
    file.write_text(METADATA)
    release.widen_extras(file, ["2.21", "2.9", "2.18"])
    wanted = '>=2.9,<2.22; extra == "tensorflow'
    lines = file.read_text().splitlines()
    assert f'Requires-Dist: tensorflow{wanted}"' in lines
    assert f'Requires-Dist: tensorflow-cpu{wanted}-cpu"' in lines
    assert "Requires-Dist: numpy>=1.26" in lines


def test_the_extras_of_the_package_are_those_that_are_widened():
    try:
        requires = importlib.metadata.requires("conv-transpose-nd")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("reads the metadata of an installed package")
    found = [line for line in requires if re.match(r"tensorflow(-cpu)?\b(?!_)", line)]
    assert {line.partition("extra == ")[2].strip("\"'") for line in found} == {
        "tensorflow",
        "tensorflow-cpu",
    }


def test_a_failing_command_ends_the_release():
    with pytest.raises(SystemExit, match="no such module"):
        release.run("python3", "-c", "raise SystemExit('no such module')")
