"""A package that holds libraries for several TensorFlow versions: the running one's is loaded."""

import json
import pathlib
import shutil

import pytest
import tensorflow as tf

import conv_transpose_nd as ct

LIBRARY = pathlib.Path(ct.sysconfig.get_lib())
PACKAGE = pathlib.Path(ct.__file__).parent
MINOR = ".".join(tf.__version__.split(".")[:2])
IMPORT = """
import json, sys
sys.path.insert(0, sys.argv[1])
try:
    import conv_transpose_nd as ct
    import tensorflow as tf
    y = ct.conv_transpose_nd(tf.ones([1, 2, 1]), tf.ones([2, 1, 1]))
    said = [ct.sysconfig.get_lib(), list(y.shape)]
except ImportError as error:
    said = [str(error)]
print(json.dumps(said))
"""


@pytest.fixture
def package(tmp_path):
    """A copy without a library of its own, whose record names a version that nobody runs."""
    copy = tmp_path / "conv_transpose_nd"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "cli", "_conv*.so"))
    (copy / "_build_info.py").write_text('VERSION = "0.1.0"\nTF_VERSION = "2.99.0"\n')
    return copy


def add(package, minor):
    folder = package / f"tf{minor.replace('.', '_')}"
    folder.mkdir()
    shutil.copy(LIBRARY, folder)
    return folder


def test_the_shell_of_the_running_version_is_loaded(package, run_python):
    add(package, "2.98")
    folder = add(package, MINOR)
    path, shape = json.loads(run_python(IMPORT, package.parent).stdout)
    assert path == str(folder / LIBRARY.name)
    assert shape == [1, 2, 1]


def test_where_none_fits_all_are_named(package, run_python):
    add(package, "2.98")
    (said,) = json.loads(run_python(IMPORT, package.parent).stdout)
    assert "does not fit the running TensorFlow. Built for TensorFlow 2.99.0, 2.98, running" in said


def test_a_library_is_found_without_importing_tensorflow(package, run_python):
    """For programs that only pass its path on."""
    folder = add(package, MINOR)
    code = """
import importlib.util, pathlib, sys
path = pathlib.Path(sys.argv[1]) / "sysconfig.py"
spec = importlib.util.spec_from_file_location("sysconfig_of_the_copy", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert "tensorflow" not in sys.modules
print(module.get_lib())
"""
    assert run_python(code, package).stdout.strip() == str(folder / LIBRARY.name)
