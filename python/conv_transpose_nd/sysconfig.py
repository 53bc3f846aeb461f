"""Where the op library and its headers are, for programs that load or link it themselves."""

from __future__ import annotations

import pathlib

__all__ = ["get_include", "get_lib"]

_FOLDER = pathlib.Path(__file__).resolve().parent


def get_lib() -> str:
    """Returns the path of the op library, for TF_LoadLibrary, tf.load_op_library and Triton.

    Example:
      >>> tf.load_op_library(ct.sysconfig.get_lib()).conv_transpose_nd.__name__
      'conv_transpose_nd'
    """
    return str(_FOLDER / "_conv_transpose_nd_ops.so")


def get_include() -> str:
    """Returns the folder of the C++ headers, to be given to a compiler as `-I`.

    Example:
      >>> os.path.basename(ct.sysconfig.get_include())
      'include'
    """
    return str(_FOLDER / "include")
