"""The GPU kernels on a machine without a GPU: built, registered, placed, and no burden."""

import importlib
import pathlib
import re
import subprocess

import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

import conv_transpose_nd as ct

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = pathlib.Path(ct.sysconfig.get_lib())
BUILT_FOR = importlib.import_module("conv_transpose_nd._build_info").CUDA
HAS_GPU = bool(tf.config.list_physical_devices("GPU"))
OPS = ("ConvTransposeND", "ConvTransposeNDInputGrad", "ConvTransposeNDFilterGrad")
ON_GPU = {tf.float16, tf.bfloat16, tf.float32, tf.float64}

with_gpu_kernels = pytest.mark.skipif(
    not BUILT_FOR, reason="built without GPU kernels, for want of a compiler or with CUDA=OFF"
)
without_gpu = pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")


def registered(op, device):
    """The registered kernels of `op` for `device`, by dtype."""
    found = kernels.get_registered_kernels_for_op(op).kernel
    return {
        tf.DType(kernel.constraint[0].allowed_values.list.type[0]): kernel
        for kernel in found
        if kernel.device_type == device
    }


@with_gpu_kernels
@pytest.mark.parametrize("op", OPS)
def test_all_dtypes_are_registered(op):
    on_gpu = registered(op, "GPU")
    assert set(on_gpu) == ON_GPU
    assert set(on_gpu) <= set(registered(op, "CPU"))
    host = {"ConvTransposeND": ["output_shape"], "ConvTransposeNDFilterGrad": ["filter_shape"]}
    for kernel in on_gpu.values():
        assert list(kernel.host_memory_arg) == host.get(op, [])


def test_a_build_without_them_registers_none():
    assert all(bool(registered(op, "GPU")) == bool(BUILT_FOR) for op in OPS)


@without_gpu
def test_no_gpu_is_an_error_that_names_the_devices():
    tf.config.set_soft_device_placement(False)
    try:
        with (
            pytest.raises(tf.errors.InvalidArgumentError, match=r"GPU:0.*unknown device|CPU:0"),
            tf.device("/GPU:0"),
        ):
            ct.conv_transpose_nd(tf.ones([1, 3, 1]), tf.ones([2, 1, 1]), strides=2)
    finally:
        tf.config.set_soft_device_placement(True)


@without_gpu
def test_soft_placement_computes_on_the_cpu():
    @tf.function
    def call(x):
        with tf.device("/GPU:0"):
            return ct.conv_transpose_nd(x, tf.ones([2, 1, 1]), strides=2)

    with tf.device("/GPU:0"):
        y = ct.conv_transpose_nd(tf.ones([1, 3, 1]), tf.ones([2, 1, 1]), strides=2)
    for result in (y, call(tf.ones([1, 3, 1]))):
        assert result.device.endswith("CPU:0")
        assert result.numpy().ravel().tolist() == [1.0] * 6


def test_no_symbol_of_cuda_is_needed():
    """TensorFlow exports 399 of them, to which a library that links CUDA would be bound."""
    done = subprocess.run(["nm", "-D", "-u", LIBRARY], capture_output=True, text=True, check=True)
    needed = re.findall(r" U (\S+)", done.stdout)
    assert len(needed) > 50, "nm lists what is needed"
    assert [name for name in needed if re.match(r"_*(cu[A-Z]|cuda|nvrtc)", name)] == []
    done = subprocess.run(["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True)
    assert "libtensorflow_framework" in done.stdout
    assert not re.search(r"lib(cuda|nv)", done.stdout)


@with_gpu_kernels
def test_every_architecture_is_embedded():
    """As the table in the library says, and as its images do, which the ELF header marks."""
    archs = re.findall(r"(?:sm|compute)_\d+a?", BUILT_FOR)
    content = LIBRARY.read_bytes()
    assert f"conv_transpose_nd device code: {BUILT_FOR}".encode() in content
    assert archs[-1].startswith("compute_")
    for arch in archs:
        kind = "ptx" if arch.startswith("compute_") else "cubin"
        assert f"direct.{arch}.{kind}\0".encode() in content, arch
    # Machine 190 of a 64-bit ELF file: EM_CUDA.
    images = re.findall(rb"\x7fELF\x02\x01.{12}\xbe\x00", content, re.DOTALL)
    assert len(images) >= len(archs) - 1


def test_both_builds_know_the_same_architectures():
    cmake = (ROOT / "cmake/Cuda.cmake").read_text(encoding="utf-8")
    script = (ROOT / "cmake/cubins.py").read_text(encoding="utf-8")
    listed = re.search(r"set\(CONV_TRANSPOSE_ND_CUDA_ARCHS ([^\n]*)", cmake)[1].split()
    named = re.search(r"^ARCHS = \((.*)\)", script, re.MULTILINE)[1]
    assert re.findall(r'"(\w+)"', named) == listed


CALL = """
import ctypes, sys
import tensorflow as tf
import conv_transpose_nd as ct
assert ct.conv_transpose_nd(tf.ones([1, 3, 1]), tf.ones([2, 1, 1]), strides=2).shape == (1, 6, 1)
library = ctypes.CDLL(ct.sysconfig.get_lib())
library.conv_transpose_nd_gpu_error.restype = ctypes.c_char_p
class Call(ctypes.Structure):
    _fields_ = (
        [(name, ctypes.c_char_p) for name in
         ("operation", "dtype", "padding", "data_format", "activation")]
        + [(name, ctypes.c_int64) for name in
           ("rank", "groups", "has_bias", "allow_tf32", "aligned", "has_output")]
        + [(name, ctypes.c_int64 * 8) for name in
           ("input", "filter", "output", "strides", "dilations")]
        + [("explicit_paddings", ctypes.c_int64 * 16)])
def create(**changes):
    call = Call(b"conv_transpose", b"float", b"SAME", b"CHANNELS_LAST", b"none", 1, 1)
    for name, values in dict(
            input=(1, 3, 1), filter=(2, 1, 1), strides=(1, 2, 1), dilations=(1, 1, 1)).items():
        setattr(call, name, (ctypes.c_int64 * 8)(*values))
    for name, value in changes.items():
        setattr(call, name, value)
    program = ctypes.c_void_p()
    code = library.conv_transpose_nd_gpu_create(ctypes.byref(call), None, ctypes.byref(program))
    print(code, program.value, library.conv_transpose_nd_gpu_error().decode())
create()
create(dtype=b"int8")
create(activation=None)
create(strides=(ctypes.c_int64 * 8)(1, 0, 1))
create(rank=7)
"""


@with_gpu_kernels
@without_gpu
def test_a_machine_without_a_driver_says_so(run_python):
    """Loading and computing on the CPU go on; a call of the launcher has the reason."""
    lines = run_python(CALL).stdout.splitlines()
    assert lines[0].startswith("4 None the CUDA driver cannot be loaded: libcuda.so.1: cannot open")
    assert lines[1:] == [
        "1 None dtype must be one of 'half', 'bfloat16', 'float', 'double', got 'int8'",
        "1 None activation must be the name of one, got a null pointer",
        "1 None strides[1] must be >= 1, got 0",
        "1 None rank must be 1 to 6, got 7",
    ]
