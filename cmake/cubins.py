#!/usr/bin/env python3
"""Device code without a GPU: compiles CUDA C++ to cubins and PTX, and writes the table to embed.

    cubins.py find                                    the compiler: "nvrtc PATH" or "nvcc PATH"
    cubins.py describe --compiler "nvcc PATH" ARCH... those that it knows, its version, the driver
    cubins.py compile --compiler "nvrtc PATH" --arch sm_80 --include ROOT --depfile D SOURCE OUTPUT
    cubins.py table OUTPUT.cc IMAGE...                C++ that holds the images by .incbin
    cubins.py all --include ROOT OUTPUT.cc SOURCE...  the same file, with the bytes in it
    cubins.py check --images IMAGE...                 registers and stack; fails where one spills

NVRTC comes from the package nvidia-cuda-nvrtc-cu12, which needs neither a GPU nor a driver. An arch
is sm_80 (a cubin) or compute_90 (PTX). Images stay uncompressed: drivers before 550 cannot read
compressed ones.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

# The oldest driver that runs what a major version compiles.
DRIVERS = {12: 525, 13: 580}
# CUDA 13 is not looked for as a package: 12 serves more drivers.
NVRTC_MAJOR = 12
OPTIONS = ["--std=c++17", "--ptxas-options=-v"]
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def find() -> str:
    """NVRTC of this Python, else nvcc on the PATH or below CUDA_HOME; empty where there is none."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob(f"cuda_nvrtc/lib/libnvrtc.so.{NVRTC_MAJOR}")):
            return f"nvrtc {path}"
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")
    return f"nvcc {nvcc}" if nvcc and version(f"nvcc {nvcc}")[0] in DRIVERS else ""


def version(compiler: str) -> tuple[int, int]:
    """(12, 9), or (0, 0) where the compiler does not run."""
    kind, path = compiler.split(" ", 1)
    if kind == "nvrtc":
        major, minor = ctypes.c_int(), ctypes.c_int()
        ctypes.CDLL(path).nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"release (\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def known(compiler: str) -> set[int]:
    """The architectures that the compiler knows, as 10 * major + minor."""
    kind, path = compiler.split(" ", 1)
    if kind == "nvrtc":
        library, count = ctypes.CDLL(path), ctypes.c_int()
        library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        archs = (ctypes.c_int * count.value)()
        library.nvrtcGetSupportedArchs(archs)
        return set(archs)
    command = [path, "--list-gpu-arch"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {int(number) for number in re.findall(r"compute_(\d+)\b", done.stdout)}


def describe_compiler(options: argparse.Namespace) -> None:
    """Prints three lines: the architectures of `options.archs` that it knows; a name; a driver."""
    major, minor = version(options.compiler)
    archs = known(options.compiler)
    print(";".join(a for a in options.archs if int(re.findall(r"\d+", a)[0]) in archs))
    print(f"{options.compiler.split()[0]} {major}.{minor}")
    print(DRIVERS[major])


def headers(source: Path, root: Path) -> list[Path]:
    """The project's headers that `source` includes, and theirs."""
    found: list[Path] = []
    waiting = [source]
    while waiting:
        for name in INCLUDE.findall(waiting.pop().read_text(encoding="utf-8")):
            path = root / name
            if path.is_file() and path not in found:
                found.append(path)
                waiting.append(path)
    return found


class Nvrtc:
    """The few functions of NVRTC that a compilation needs."""

    def __init__(self, path: str) -> None:
        self.library = ctypes.CDLL(path)
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def text(self, program: ctypes.c_void_p, what: str) -> bytes:
        """One of the results: ProgramLog, CUBIN or PTX."""
        size = ctypes.c_size_t()
        self.call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw[: size.value]

    def call(self, name: str, *arguments: object) -> None:
        """Calls a function of NVRTC; an error ends the program."""
        code = getattr(self.library, name)(*arguments)
        if code:
            raise SystemExit(f"{name}: {self.library.nvrtcGetErrorString(code).decode()}")

    def compile(self, source: Path, arch: str, options: list[str]) -> tuple[bytes, str]:
        """The cubin or PTX of one source, and what the compiler says of it."""
        program = ctypes.c_void_p()
        text = source.read_bytes()
        name = os.fsencode(source.name)
        self.call("nvrtcCreateProgram", ctypes.byref(program), text, name, 0, None, None)
        given = [option.encode() for option in [*options, f"--gpu-architecture={arch}"]]
        array = (ctypes.c_char_p * len(given))(*given)
        code = self.library.nvrtcCompileProgram(program, len(given), array)
        log = self.text(program, "ProgramLog").rstrip(b"\0").decode()
        if code:
            raise SystemExit(f"{source} does not compile for {arch}:\n{log}")
        return self.text(program, "CUBIN" if arch.startswith("sm_") else "PTX"), log


def compile_image(options: argparse.Namespace) -> None:
    """Compiles one source for one architecture, and notes what it depends on."""
    kind, path = options.compiler.split(" ", 1)
    root = options.include.resolve()
    flags = [*OPTIONS, f"-I{root}"]
    if kind == "nvrtc":
        image, log = Nvrtc(path).compile(options.source, options.arch, flags)
    else:
        what = "-cubin" if options.arch.startswith("sm_") else "-ptx"
        written = options.output.with_suffix(".nvcc")
        flags += ["-x", "cu", f"-arch={options.arch}", what]
        command = [path, *flags, "-o", str(written), str(options.source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        log = done.stdout + done.stderr
        if done.returncode:
            raise SystemExit(f"{options.source} does not compile for {options.arch}:\n{log}")
        image = written.read_bytes()
        written.unlink()
    for line in log.splitlines():
        if "warning" in line:
            print(f"{options.source} for {options.arch}: {line}", file=sys.stderr)
    if options.arch.startswith("compute_"):
        # The driver reads PTX as text that ends with a zero.
        image = image.rstrip(b"\0") + b"\0"
    options.output.with_name(options.output.name + ".log").write_text(log, encoding="utf-8")
    options.output.write_bytes(image)
    if options.depfile:
        needed = [options.source, *headers(options.source, root), Path(__file__).resolve()]
        names = (str(name).replace(" ", "\\ ") for name in needed)
        options.depfile.write_text(f"{options.output}: {' '.join(names)}\n", encoding="utf-8")


def kernels(image: bytes) -> list[str]:
    """The kernels in a cubin (one section .text.NAME each) or in PTX (one .entry each)."""
    if not image.startswith(b"\x7fELF"):
        return sorted(m.decode() for m in re.findall(rb"\.entry\s+([A-Za-z_]\w*)", image))
    offset = struct.unpack_from("<Q", image, 40)[0]
    size, count, names = struct.unpack_from("<HHH", image, 58)
    sections = [struct.unpack_from("<II8xQQQ", image, offset + i * size) for i in range(count)]
    strings = sections[names][3]
    found = []
    for name, *_ in sections:
        start = strings + name
        text = image[start : image.index(b"\0", start)].decode()
        if text.startswith(".text."):
            found.append(text.removeprefix(".text."))
    return sorted(found)


def describe(path: Path) -> tuple[int, bool, bool]:
    """Of an image named SOURCE.sm_90a.cubin: (90, an exact architecture is needed, PTX)."""
    match = re.search(r"\.(sm|compute)_(\d+)([af]?)\.", path.name)
    if not match:
        raise SystemExit(f"{path}: the name tells no architecture")
    return int(match[2]), bool(match[3]), match[1] == "compute"


ARCHS = ("sm_75", "sm_80", "sm_90a", "sm_100", "sm_120", "compute_80")


TABLE = """\
// The device code of this library; written by cmake/cubins.py.
#include "cc/kernels/gpu/images.h"

{assembly}
namespace conv_transpose_nd {{
namespace gpu {{
namespace {{

{names}
const Image kImages[] = {{
{rows}    {{}},
}};

}}  // namespace

// For programs that look into the file.
extern "C" __attribute__((used)) const char conv_transpose_nd_device_code[] =
    "conv_transpose_nd device code: {info}";

ImageTable EmbeddedImages() {{
  return {{kImages, {count}}};
}}

}}  // namespace gpu
}}  // namespace conv_transpose_nd
"""


def table(options: argparse.Namespace) -> None:
    """Writes the C++ file that embeds the images and lists their kernels."""
    assembly, names, rows = [], [], []
    for i, path in enumerate(options.images):
        image = path.read_bytes()
        arch, exact, ptx = describe(path)
        listed = "".join(f'"{name}", ' for name in kernels(image))
        symbol = f"conv_transpose_nd_image_{i}"
        # 64 bytes: the driver reads an image as ELF, in place.
        if options.inline:
            text = ",".join(map(str, image))
            assembly.append(f"alignas(64) static const unsigned char {symbol}[] = {{{text}, 0}};\n")
        else:
            assembly.append(
                f'asm(".section .rodata\\n.balign 64\\n.hidden {symbol}\\n.globl {symbol}\\n"\n'
                f'    "{symbol}:\\n.incbin \\"{path}\\"\\n.byte 0\\n.previous");\n'
                f'extern "C" const unsigned char {symbol}[];\n'
            )
        names.append(f"const char* const kKernels{i}[] = {{{listed}nullptr}};\n")
        flags = f"{str(exact).lower()}, {str(ptx).lower()}"
        module = path.name.split(".")[0]
        rows.append(
            f'    {{"{path.name}", "{module}", {arch}, {flags}, kKernels{i},\n'
            f"     {symbol}, {len(image)}}},\n"
        )
    text = TABLE.format(
        assembly="".join(assembly),
        names="".join(names),
        rows="".join(rows),
        info=options.info,
        count=len(rows),
    )
    options.output.write_text(text, encoding="utf-8")


def compile_all(options: argparse.Namespace) -> None:
    """One file that needs no other, for builds that know no .incbin."""
    options.compiler = find()
    if not options.compiler:
        raise SystemExit("no compiler of CUDA: pip install nvidia-cuda-nvrtc-cu12")
    with tempfile.TemporaryDirectory() as folder:
        options.images = []
        for source in options.sources:
            for arch in ARCHS:
                name = f"{source.stem}.{arch}.{'cubin' if arch.startswith('sm_') else 'ptx'}"
                options.images.append(Path(folder) / name)
                one = argparse.Namespace(
                    **(vars(options) | {"source": source, "arch": arch}), depfile=None
                )
                one.output = options.images[-1]
                compile_image(one)
        options.inline = True
        table(options)


class Usage(NamedTuple):
    """What ptxas reports of one kernel."""

    kernel: str
    registers: int
    stack_bytes: int
    spill_bytes: int


def usage(log: str) -> list[Usage]:
    """Every kernel of a report of ptxas."""
    found = []
    for part in log.split("Compiling entry function ")[1:]:
        kernel = part.split("'")[1]
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", part)
        registers = re.search(r"Used (\d+) registers", part)
        if not stack or not registers:
            raise SystemExit(f"the report of {kernel} lacks its registers or its stack")
        found.append(Usage(kernel, int(registers[1]), int(stack[1]), int(stack[2])))
    return found


def check(options: argparse.Namespace) -> None:
    """Fails where a kernel spills or has a stack, which lie in local memory: slow."""
    failed = 0
    for image in options.images:
        log = image.with_name(image.name + ".log").read_text(encoding="utf-8")
        reports, listed = usage(log), kernels(image.read_bytes())
        if sorted(report.kernel for report in reports) != listed:
            raise SystemExit(f"{image}.log does not report the kernels of {image}")
        # What follows a wgmma then waits for it, and nothing overlaps.
        if "wgmma" in log and "serialized" in log:
            print(f"{image.name}: {next(x for x in log.splitlines() if 'serialized' in x)}")
            failed += 1
        for report in reports:
            may = any(report.kernel.startswith(name) for name in options.may_use_local_memory)
            wrong = report.spill_bytes + report.stack_bytes > 0 and not may
            failed += wrong
            if wrong or options.verbose:
                print(image.name, *report, "SPILLS OR STACK" if wrong else "")
        print(f"{image.name}: {len(reports)} kernels, {image.stat().st_size} bytes")
    if failed:
        raise SystemExit(f"{failed} kernels use local memory or wait for each wgmma")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("find")
    command.set_defaults(run=lambda _: print(find()))
    command = commands.add_parser("describe")
    command.add_argument("--compiler", required=True)
    command.add_argument("archs", nargs="*")
    command.set_defaults(run=describe_compiler)
    command = commands.add_parser("compile")
    command.add_argument("--compiler", required=True)
    command.add_argument("--arch", required=True)
    command.add_argument("--include", type=Path, required=True)
    command.add_argument("--depfile", type=Path)
    command.add_argument("source", type=Path)
    command.add_argument("output", type=Path)
    command.set_defaults(run=compile_image)
    command = commands.add_parser("table")
    command.add_argument("--info", default="", help="architectures and compiler, to be read back")
    command.add_argument("output", type=Path)
    command.add_argument("images", type=Path, nargs="*")
    command.set_defaults(run=table)
    command.set_defaults(inline=False)
    command = commands.add_parser("all")
    command.add_argument("--include", type=Path, required=True)
    command.add_argument("--info", default="")
    command.add_argument("output", type=Path)
    command.add_argument("sources", type=Path, nargs="+")
    command.set_defaults(run=compile_all)
    command = commands.add_parser("check")
    command.add_argument("--may-use-local-memory", nargs="*", default=[], metavar="PREFIX")
    command.add_argument("--verbose", action="store_true")
    command.add_argument("--images", type=Path, nargs="+", required=True)
    command.set_defaults(run=check)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
