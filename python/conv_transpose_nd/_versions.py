"""What a bug report needs to say about an installation."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from types import ModuleType

from conv_transpose_nd import sysconfig


def show_versions() -> None:
    """Prints the versions of this package, TensorFlow, Python and NumPy, the ABI, CPU and threads.

    Example:
      >>> ct.show_versions()  # doctest: +SKIP
      conv-transpose-nd            0.1.0
      built for TensorFlow         2.21.0
    """
    for key, value in versions().items():
        print(f"{key:<28} {value}")


def versions() -> dict[str, str]:
    """What `show_versions` prints, with 'not built' and 'not installed' for what is not there."""
    build = _optional("conv_transpose_nd._build_info")
    core = _optional("conv_transpose_nd.core")
    return {
        "conv-transpose-nd": _attribute(build, "VERSION", "not built"),
        "built for TensorFlow": _attribute(build, "TF_VERSION", "not built"),
        "C++ ABI of the build": _attribute(build, "CXX11_ABI", "not built"),
        "compiler": _attribute(build, "COMPILER", "not built"),
        "GPU kernels": _attribute(build, "CUDA", "not built") or "not built",
        "XLA (jit_compile=True)": "yes" if sysconfig.get_xla_lib() else "not built",
        **_tensorflow(),
        "Python": sys.version.split()[0],
        "NumPy": _attribute(_optional("numpy"), "__version__", "not installed"),
        "platform": platform.platform(),
        "CPUs": str(os.cpu_count()),
        "CPU target": core.target() if core else "not built",
        **{key: os.environ[key] for key in sorted(os.environ) if key.startswith(_ENVIRONMENT)},
    }


_ENVIRONMENT = "CONV_TRANSPOSE_ND_"


def _tensorflow() -> dict[str, str]:
    tf = _optional("tensorflow")
    if tf is None:
        return {"running TensorFlow": "not installed"}
    # TensorFlow says 0 for its own choice, which is one per CPU.
    threads = tf.config.threading.get_intra_op_parallelism_threads() or "one per CPU"
    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    return {
        "running TensorFlow": tf.__version__,
        "C++ ABI of TensorFlow": str(tf.sysconfig.CXX11_ABI_FLAG),
        "intra-op threads": str(threads),
        "GPUs": ", ".join(gpus) or "none",
    }


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _attribute(module: ModuleType | None, name: str, otherwise: str) -> str:
    return str(getattr(module, name)) if module else otherwise
