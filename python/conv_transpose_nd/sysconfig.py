"""Where the op library and its headers are, for programs that load or link it themselves."""

from __future__ import annotations

import importlib.metadata
import pathlib
import re
import sys

__all__ = ["get_include", "get_lib", "get_xla_lib"]

_FOLDER = pathlib.Path(__file__).resolve().parent
# The distributions that hold the module `tensorflow`.
DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "tensorflow-rocm", "tf-nightly")


def get_lib() -> str:
    """Returns the path of the op library, for TF_LoadLibrary, tf.load_op_library and Triton.

    Of a wheel that serves several TensorFlow versions, the library for the one that is installed.

    Example:
      >>> tf.load_op_library(ct.sysconfig.get_lib()).conv_transpose_nd.__name__
      'conv_transpose_nd'
    """
    return str(_shell() / "_conv_transpose_nd_ops.so")


def get_xla_lib() -> str | None:
    """Returns the path of the library that makes `jit_compile=True` work; None if it was not built.

    A program that loads the op library without this package loads it after that one. Importing this
    package loads both.

    Example:
      >>> os.path.basename(ct.sysconfig.get_xla_lib())
      '_conv_transpose_nd_xla.so'
    """
    path = _shell() / "_conv_transpose_nd_xla.so"
    return str(path) if path.is_file() else None


def get_include() -> str:
    """Returns the folder of the C++ headers, to be given to a compiler as `-I`.

    Example:
      >>> os.path.basename(ct.sysconfig.get_include())
      'include'
    """
    return str(_FOLDER / "include")


def shells() -> dict[str, pathlib.Path]:
    """Folders with libraries for one TensorFlow each, by its minor version, as "2.20"."""
    found = ((re.fullmatch(r"tf(\d+)_(\d+)", path.name), path) for path in _FOLDER.glob("tf*_*"))
    return {f"{match[1]}.{match[2]}": path for match, path in found if match}


def _shell() -> pathlib.Path:
    """The folder for the TensorFlow that runs or is installed; the package's if it has none."""
    minor = ".".join(_tensorflow_version().split(".")[:2])
    return shells().get(minor, _FOLDER)


def _tensorflow_version() -> str:
    """Without importing it, which takes seconds and may be what a program wants to avoid."""
    loaded = getattr(sys.modules.get("tensorflow"), "__version__", None)
    if loaded is not None:
        return str(loaded)
    for name in DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""
