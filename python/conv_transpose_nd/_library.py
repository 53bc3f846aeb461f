"""The only place that loads the op libraries, after checking that they can work in this process."""

from __future__ import annotations

import filecmp
import importlib.metadata
import os
import pathlib
import struct
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from conv_transpose_nd.sysconfig import DISTRIBUTIONS, get_lib, get_xla_lib, shells

REPAIR = "pip install --no-build-isolation --force-reinstall --no-deps conv-transpose-nd"


def load(path: str) -> Any:
    """Loads the op library at `path`.

    Returns:
      The generated functions of the ops, as tf.load_op_library does.

    Raises:
      ImportError: if the library is missing or damaged, was built for another TensorFlow, or if
        another copy of it is loaded already.
    """
    built_for = build_version()
    check_version(built_for, tf.__version__)
    if not os.path.isfile(path):
        raise ImportError(_misfit(f"the op library {path} is missing", built_for), path=path)
    check_single_copy(path)
    return _open(path, "op library", tf.load_op_library)


def load_xla(path: str | None) -> bool:
    """Loads the op's XLA kernels from `path`, if they were built. Takes 8 ms.

    Returns:
      True if there are any, so that jit_compile=True works.

    Raises:
      ImportError: if the library is damaged, or was built for another TensorFlow.
    """
    if path is None:
        return False
    _open(path, "XLA library", tf.load_library)
    return True


def _open(path: str, what: str, opener: Callable[[str], Any]) -> Any:
    built_for = build_version()
    if is_truncated(path):
        raise ImportError(_misfit(f"the {what} {path} is truncated", built_for), path=path)
    try:
        return opener(path)
    except (tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
        # A damaged file, or a symbol that a release of TensorFlow has renamed since the build.
        problem = f"the {what} cannot be loaded: {error.message}"
        raise ImportError(_misfit(problem, built_for), path=path) from error


def build_version() -> str | None:
    """The TensorFlow version that the library was built for; None if the build recorded none."""
    try:
        info = importlib.import_module("conv_transpose_nd._build_info")
    except ImportError:
        return None
    return str(info.TF_VERSION)


def check_version(built_for: str | None, running: str) -> None:
    """Raises ImportError unless a library built for TensorFlow `built_for` fits `running`.

    One of several that the package holds fits if it is there: `sysconfig` has found it then.

    The ABI of TensorFlow may change with every minor version, and mostly has. A build without a
    record is left to the dynamic linker.
    """
    if ".".join(_minor(running)) in shells():
        return
    if built_for is not None and _minor(built_for) != _minor(running):
        problem = "the op library does not fit the running TensorFlow"
        raise ImportError(_misfit(problem, built_for, running))


def check_single_copy(path: str) -> None:
    """Raises ImportError if a library other than the one at `path` has registered the ops.

    TensorFlow would load the copy, and then fail every call for its kernels are registered twice.
    """
    if op_def_registry.get("ConvTransposeND") is None:
        return
    here = os.path.realpath(path)
    mapped = _mapped_files()
    if here in mapped:
        return
    name = os.path.basename(here)
    others = [p for p in mapped if os.path.basename(p) == name or _same_content(p, here)]
    raise ImportError(
        "another copy of the op library is loaded in this process: "
        f"{', '.join(others) or 'at an unknown path'}; this one is {here}. TensorFlow cannot hold "
        "both: import only one of them, or uninstall one",
        path=path,
    )


def is_truncated(path: str) -> bool:
    """True if the file ends before its section table: the dynamic linker would die of SIGBUS."""
    with open(path, "rb") as file:
        header = file.read(64)
    if len(header) < 64 or header[:5] != b"\x7fELF\x02":
        return False  # no 64-bit ELF file: the linker says what it is
    offset, size, count = struct.unpack_from("<40xQ10xHH", header)
    return bool(offset + size * count > os.path.getsize(path))


def installed() -> str:
    """The installed distributions of TensorFlow and of this package, with their versions."""
    found = []
    for name in (*DISTRIBUTIONS, "conv-transpose-nd"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found) or "nothing that pip knows of"


def _misfit(problem: str, built_for: str | None, running: str | None = None) -> str:
    built = ", ".join([built_for or "(not recorded)", *sorted(shells())])
    return (
        f"{problem}. Built for TensorFlow {built}, running TensorFlow {running or tf.__version__}; "
        f"installed: {installed()}. Repair: {REPAIR}"
    )


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _mapped_files() -> list[str]:
    """Real paths of the files mapped into this process; none where the system does not tell."""
    try:
        lines = pathlib.Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    rows = (line.split(maxsplit=5) for line in lines)
    return sorted({os.path.realpath(row[5]) for row in rows if len(row) == 6})


def _same_content(path: str, other: str) -> bool:
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False


library = load(get_lib())
has_xla = load_xla(get_xla_lib())
