"""Where the op library and its headers are, for programs that load or link it themselves."""

from __future__ import annotations

import pathlib

__all__ = ["get_include", "get_lib", "get_xla_lib"]

_FOLDER = pathlib.Path(__file__).resolve().parent


def get_lib() -> str:
    """Returns the path of the op library, for TF_LoadLibrary, tf.load_op_library and Triton.

    Example:
      >>> tf.load_op_library(ct.sysconfig.get_lib()).conv_transpose_nd.__name__
      'conv_transpose_nd'
    """
    return str(_FOLDER / "_conv_transpose_nd_ops.so")


def get_xla_lib() -> str | None:
    """Returns the path of the library that makes `jit_compile=True` work; None if it was not built.

    A program that loads the op library without this package loads it after that one. Importing this
    package loads both.

    Example:
      >>> os.path.basename(ct.sysconfig.get_xla_lib())
      '_conv_transpose_nd_xla.so'
    """
    path = _FOLDER / "_conv_transpose_nd_xla.so"
    return str(path) if path.is_file() else None


def get_include() -> str:
    """Returns the folder of the C++ headers, to be given to a compiler as `-I`.

    Example:
      >>> os.path.basename(ct.sysconfig.get_include())
      'include'
    """
    return str(_FOLDER / "include")
