"""The loader: what does not fit is said, with both versions and the command that repairs it."""

import json
import pathlib
import re
import shutil

import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import _library, _versions

LIBRARY = pathlib.Path(ct.sysconfig.get_lib())
RUNNING = tf.__version__


def copied(folder):
    """A copy of the package in `folder`, to be damaged."""
    copy = folder / "conv_transpose_nd"
    shutil.copytree(LIBRARY.parent, copy, ignore=shutil.ignore_patterns("__pycache__", "cli"))
    return copy


def shorten(length):
    return lambda package: (package / LIBRARY.name).write_bytes(LIBRARY.read_bytes()[:length])


def rename_symbol(package):
    """What a release of TensorFlow with another ABI looks like to the dynamic linker."""
    content = LIBRARY.read_bytes()
    symbol, renamed = b"_ZN10tensorflow15OpKernelContext", b"_ZN10tensorflow15OpKernelChanged"
    assert symbol in content
    (package / LIBRARY.name).write_bytes(content.replace(symbol, renamed))


# name: (what is done to the package, words of the ImportError)
DAMAGES = {
    "another minor version": (
        lambda package: (package / "_build_info.py").write_text('TF_VERSION = "2.99.1"\n'),
        f"does not fit .* Built for TensorFlow 2.99.1, running TensorFlow {RUNNING}; installed: ",
    ),
    "missing": (lambda package: (package / LIBRARY.name).unlink(), "the op library .* is missing"),
    "empty": (shorten(0), "cannot be loaded: .*file too short"),
    "header only": (shorten(60), "cannot be loaded: "),
    "first page": (shorten(4096), "is truncated"),
    "one byte less": (shorten(LIBRARY.stat().st_size - 1), "is truncated"),
    "text": (
        lambda package: (package / LIBRARY.name).write_text("oid sha256:4665a5ea423c2713" * 9),
        "cannot be loaded: .*invalid ELF header",
    ),
    "undefined symbol": (rename_symbol, f"undefined symbol.*running TensorFlow {RUNNING}"),
}


@pytest.fixture(scope="module")
def import_errors(run_python, tmp_path_factory):
    """Words of the ImportError for every damage. An import that fails leaves nothing behind."""
    folders = []
    for name, (damage, _) in DAMAGES.items():
        folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
        damage(copied(folder))
        folders.append(folder)
    code = """
import json, sys
words = []
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    try:
        import conv_transpose_nd
    except ImportError as error:
        words.append(str(error))
    else:
        words.append("imported " + conv_transpose_nd.__file__)
    for name in [n for n in sys.modules if n.startswith("conv_transpose_nd")]:
        del sys.modules[name]
    sys.path.pop(0)
print(json.dumps(words))
"""
    words = json.loads(run_python(code, *folders).stdout)
    return dict(zip(DAMAGES, words, strict=True))


@pytest.mark.parametrize("name", DAMAGES)
def test_what_cannot_be_loaded(import_errors, name):
    assert re.search(DAMAGES[name][1], import_errors[name], re.DOTALL), import_errors[name]
    assert import_errors[name].endswith(_library.REPAIR)


@pytest.mark.parametrize("built_for", ["2.21.0", "2.21.7", "2.21.0-rc1"])
def test_versions_that_fit(built_for):
    _library.check_version(built_for, "2.21.1")


def test_build_without_a_record_is_left_to_the_linker():
    _library.check_version(None, "2.21.1")


@pytest.mark.parametrize(
    ("built_for", "running"), [("2.21.0", "2.20.0"), ("2.2.0", "2.21.0"), ("2.21.0", "3.21.0")]
)
def test_versions_that_do_not_fit(built_for, running):
    with pytest.raises(ImportError) as caught:
        _library.check_version(built_for, running)
    words = str(caught.value)
    assert f"Built for TensorFlow {built_for}, running TensorFlow {running}" in words
    assert f"tensorflow {RUNNING}" in words
    assert words.endswith(
        "pip install --no-build-isolation --force-reinstall --no-deps conv-transpose-nd"
    )


@pytest.mark.skipif(not _library.has_xla, reason="built without the XLA library")
def test_a_damaged_xla_library(run_python, tmp_path):
    package = copied(tmp_path)
    xla = package / "_conv_transpose_nd_xla.so"
    whole = xla.read_bytes()
    code = """
import sys
sys.path.insert(0, sys.argv[1])
try:
    import conv_transpose_nd
except ImportError as error:
    print(error)
"""
    for content, words in [
        (whole[:4096], "the XLA library .* is truncated"),
        (whole.replace(b"_ZN10tensorflow", b"_ZN10tensor_low"), "the XLA library cannot be loaded"),
    ]:
        xla.write_bytes(content)
        printed = run_python(code, tmp_path).stdout.strip()
        assert re.search(words, printed), printed
        assert printed.endswith(_library.REPAIR)


def test_second_copy(run_python, tmp_path):
    package = copied(tmp_path)
    code = """
import sys
import tensorflow as tf
tf.load_op_library(sys.argv[1])
sys.path.insert(0, sys.argv[2])
try:
    import conv_transpose_nd
except ImportError as error:
    print(error)
"""
    words = run_python(code, LIBRARY, package.parent).stdout
    assert "another copy of the op library is loaded in this process" in words
    assert str(LIBRARY) in words
    assert str(package / LIBRARY.name) in words


def test_second_copy_of_another_name(run_python, tmp_path):
    renamed = tmp_path / "renamed.so"
    shutil.copy(LIBRARY, renamed)
    code = """
import sys
import tensorflow as tf
tf.load_op_library(sys.argv[1])
try:
    import conv_transpose_nd
except ImportError as error:
    print(error)
"""
    words = run_python(code, renamed).stdout
    assert f"loaded in this process: {renamed}; this one is {LIBRARY}" in words


def test_loading_the_same_path_before_and_after_is_harmless(run_python):
    code = """
import sys
import tensorflow as tf
tf.load_op_library(sys.argv[1])
import conv_transpose_nd as ct
tf.load_op_library(ct.sysconfig.get_lib())
print(ct.conv_transpose_nd(tf.ones([1, 2, 1]), tf.ones([2, 1, 1]), strides=2).shape)
"""
    assert run_python(code, LIBRARY).stdout.strip() == "(1, 4, 1)"


BLOCKED = """
import sys
sys.modules["tensorflow"] = None
"""
FINDER = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("block", [BLOCKED, FINDER], ids=["blocked", "finder"])
def test_without_tensorflow(run_python, block):
    code = (
        block
        + """
import numpy as np
import conv_transpose_nd.core
import conv_transpose_nd as ct
x, w = np.ones([1, 3, 1], "f"), np.ones([2, 1, 1], "f")
y = conv_transpose_nd.core.conv_transpose(x, w, strides=2, padding="VALID")
assert y.tolist() == [[[1.0]] * 6], y
assert ct.sysconfig.get_lib().endswith(".so")
for name in ("nn", "compat", "conv_transpose_nd"):
    try:
        getattr(ct, name)
    except ImportError as error:
        assert "needs TensorFlow, which is not installed" in str(error), error
        assert "pip install tensorflow" in str(error)
    else:
        raise AssertionError(name)
try:
    ct.other
except AttributeError:
    pass
assert not [name for name in sys.modules if name.startswith("tensorflow.")]
ct.show_versions()
"""
    )
    shown = run_python(code).stdout
    assert "running TensorFlow           not installed" in shown
    assert "CPU target" in shown


def test_broken_tensorflow_is_not_taken_for_a_missing_one(run_python, tmp_path):
    (tmp_path / "tensorflow.py").write_text("import a_module_that_tensorflow_needs\n")
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import conv_transpose_nd
"""
    done = run_python(code, tmp_path, check=False)
    assert done.returncode == 1
    assert "No module named 'a_module_that_tensorflow_needs'" in done.stderr


def test_sysconfig():
    assert LIBRARY.is_absolute()
    assert LIBRARY.is_file()
    assert pathlib.Path(ct.sysconfig.get_include()).parent == LIBRARY.parent


def test_show_versions(capsys, monkeypatch):
    monkeypatch.setenv("CONV_TRANSPOSE_ND_TARGET", ct.core.target())
    assert ct.show_versions() is None
    lines = capsys.readouterr().out.splitlines()
    shown = dict(re.split(r" {2,}| (?=\S+$)", line, maxsplit=1) for line in lines)
    assert shown == _versions.versions()
    assert shown["running TensorFlow"] == RUNNING
    assert shown["built for TensorFlow"].split(".")[:2] == RUNNING.split(".")[:2]
    assert shown["CPU target"] in ct.core.targets()
    assert shown["CONV_TRANSPOSE_ND_TARGET"] == ct.core.target()
