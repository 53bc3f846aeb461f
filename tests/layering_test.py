"""The rules that documents cannot enforce: includes, words, one version, one list of files.

Each rule is a function from text to complaints, tried on bad text first and then on the tree.
"""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CXX_SUFFIXES = {".h", ".cc", ".cu", ".cuh"}

# Prefixes of project headers that a folder may include; the first matching folder decides.
MAY_INCLUDE = [
    ("cc/core/", ("cc/core/",)),
    ("cc/kernels/cpu/", ("cc/core/", "cc/kernels/cpu/")),
    ("cc/kernels/gpu/", ("cc/core/", "cc/kernels/gpu/")),
    ("cc/kernels/", ("cc/core/", "cc/kernels/")),
    ("cc/ops/", ("cc/core/", "cc/kernels/tf_bridge.h")),
    ("cc/pybind/", ("cc/core/", "cc/kernels/cpu/", "cc/pybind/")),
    ("cc/xla/", ("cc/core/", "cc/kernels/", "cc/xla/")),
    ("cc/", ("cc/",)),
]
TENSORFLOW = re.compile(r"(tensorflow|xla|tsl|absl)/")
SIMD = re.compile(r"<(immintrin|x86intrin|arm_neon|arm_sve)\.h>|\bvector_size\b|\bhwy/")
CUDA = re.compile(r'[<"](cuda|cublas|cudnn|nvrtc)\w*(\.h|/)|\b__(global|device)__\b')
BANNED = {"flip", "deconv", "deconvolution", "src", "dst", "lhs", "rhs"}
# Names that other libraries gave.
BORROWED = {"lhs_dilation", "rhs_dilation"}
# Folders that are copied, as shutil names them, and attributes of TensorFlow's Cast.
BORROWED_BY = {
    "python/conv_transpose_nd/saved_model/": {"src", "dst", "SrcT", "DstT"},
    "python/conv_transpose_nd/cli/_rewrite.py": {"src", "dst"},
}


def without_comments(text: str) -> str:
    """C++ without comments; strings stay, for includes."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def includes(text: str) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*([<"][^>"]+[>"])', without_comments(text), re.MULTILINE)


def holds_tensorflow(path: str) -> bool:
    return path.startswith(("cc/ops/", "cc/xla/", "cc/graph/")) or Path(path).parent == Path(
        "cc/kernels"
    )


def include_complaints(path: str, text: str) -> list[str]:
    found = []
    allowed = next(allowed for prefix, allowed in MAY_INCLUDE if path.startswith(prefix))
    for include in includes(text):
        name = include[1:-1]
        if TENSORFLOW.match(name) and not holds_tensorflow(path):
            found.append(
                f"{path} includes {name}: TensorFlow belongs to cc/ops, cc/xla, cc/kernels"
            )
        if name.startswith("cc/") and not name.startswith(allowed):
            found.append(f"{path} includes {name}: only {', '.join(allowed)} lie below it")
        standard = include[0] == "<" and re.fullmatch(r"[a-z_]+", name)
        if path.startswith("cc/core/") and not (standard or name.startswith("cc/")):
            found.append(f"{path} includes {name}: cc/core is standard C++17")
    return found


def machine_complaints(path: str, text: str) -> list[str]:
    code, found = without_comments(text), []
    if SIMD.search(code) and not path.startswith("cc/kernels/cpu/"):
        found.append(f"{path}: SIMD belongs to cc/kernels/cpu")
    if CUDA.search(code) and not (path.startswith("cc/kernels/gpu/") or path.endswith("_gpu.cc")):
        found.append(f"{path}: CUDA belongs to cc/kernels/gpu and *_gpu.cc")
    return found


def banned_identifiers(path: str, identifiers: list[str]) -> list[str]:
    found = []
    borrowed = {n for place, names in BORROWED_BY.items() if path.startswith(place) for n in names}
    for identifier in sorted(set(identifiers) - BORROWED - borrowed):
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)
        found += [f"{path}: {identifier} ({w})" for w in words if w.lower() in BANNED]
    return found


def cxx_identifiers(text: str) -> list[str]:
    code = re.sub(r'"(\\.|[^"\\\n])*"', '""', without_comments(text))
    return re.findall(r"[A-Za-z_]\w*", code)


def python_identifiers(text: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    names = [token.string for token in tokens if token.type == tokenize.NAME]
    return [name for name in names if not keyword.iskeyword(name)]


def listed_sources(text: str) -> set[str]:
    """The C++ sources that a CMakeLists.txt or BUILD names, comments aside."""
    return set(re.findall(r"\bcc/[\w/.-]+\.(?:cc|cu)\b", re.sub(r"#[^\n]*", "", text)))


def list_complaints(cmake: str, build: str, tree: set[str]) -> list[str]:
    """CMake must name every source; BUILD the same ones, but not pybind's, which wheels hold."""
    in_cmake, in_build = listed_sources(cmake), listed_sources(build)
    found = [f"CMakeLists.txt lacks {path}" for path in sorted(tree - in_cmake)]
    found += [f"CMakeLists.txt names {path}, which is missing" for path in sorted(in_cmake - tree)]
    shared = {path for path in in_cmake if not path.startswith("cc/pybind/")}
    found += [f"BUILD lacks {path}" for path in sorted(shared - in_build)]
    return found + [f"BUILD names {path}, CMake does not" for path in sorted(in_build - in_cmake)]


def header_complaints(build: str, headers: set[str]) -> list[str]:
    """BUILD must name every header that it compiles: Bazel sees no other."""
    named = set(re.findall(r'"(cc/[\w/.-]+)"', re.sub(r"#[^\n]*", "", build)))
    shared = {path for path in headers if not path.startswith("cc/pybind/")}
    return [f"BUILD lacks {path}" for path in sorted(shared - named)]


def versions(pyproject: str, cmake: str, changelog: str) -> dict[str, str]:
    """The version by file; empty where a file names none."""
    patterns = {
        "pyproject.toml": (r'^version = "([^"]+)"', pyproject),
        "CMakeLists.txt": (r"^project\([^)]*\bVERSION ([\d.]+)", cmake),
        "CHANGELOG.md": (r"^## \[([^\]]+)\]", changelog),
    }
    found = {file: re.search(p, text, re.MULTILINE) for file, (p, text) in patterns.items()}
    return {file: match.group(1) if match else "" for file, match in found.items()}


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def files(folder: str, suffixes: set[str]) -> dict[str, str]:
    paths = sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in suffixes)
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cc/core/plan.h", '#include "tensorflow/core/framework/op.h"'),
        ("cc/core/plan.h", '#include "absl/status/status.h"'),
        ("cc/core/plan.h", '#include "cc/kernels/cpu/conv_transpose.h"'),
        ("cc/core/plan.h", "#include <unistd.h>"),
        ("cc/kernels/cpu/pack-inl.h", '#include "cc/kernels/tf_bridge.h"'),
        ("cc/kernels/cpu/pack-inl.h", '#  include "tensorflow/core/framework/op.h"'),
        ("cc/kernels/gpu/launch.cc", '#include "cc/kernels/cpu/conv_transpose.h"'),
        ("cc/kernels/conv_transpose_nd_op.h", '#include "cc/ops/conv_transpose_nd_ops.h"'),
        ("cc/pybind/core_module.cc", '#include "tensorflow/core/framework/op.h"'),
    ],
)
def test_a_wrong_include_is_found(path: str, text: str) -> None:
    assert include_complaints(path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cc/core/plan.cc", "#include <immintrin.h>"),
        ("cc/kernels/tf_bridge.h", "typedef float V __attribute__((vector_size(16)));"),
        ("cc/kernels/cpu/dispatch.cc", "#include <cuda_runtime.h>"),
        ("cc/kernels/conv_transpose_nd_op_cpu.cc", "__global__ void Kernel();"),
    ],
)
def test_machine_code_in_the_wrong_layer_is_found(path: str, text: str) -> None:
    assert machine_complaints(path, text)


def test_what_is_allowed_or_only_a_comment_is_not_found() -> None:
    text = '// #include "absl/status/status.h"\n#include <vector>\n#include "cc/core/phase.h"'
    assert include_complaints("cc/core/plan.h", text) == []
    assert machine_complaints("cc/kernels/cpu/simd-inl.h", "#include <immintrin.h>") == []
    assert machine_complaints("cc/core/plan.h", "// needs <immintrin.h>") == []


def test_banned_words_are_found_as_parts_of_identifiers_only() -> None:
    assert banned_identifiers("a", cxx_identifiers("float* src_data; int Deconv2D(bool doFlip);"))
    assert len(banned_identifiers("a", python_identifiers("def deconv(rhs): return rhs.src"))) == 3
    assert (
        banned_identifiers("a", cxx_identifiers('// src\nauto s = "dst"; int lhs_dilation;')) == []
    )
    assert banned_identifiers("a", python_identifiers('"""src"""\nflipper = 1  # flip')) == []


def test_different_file_lists_are_found() -> None:
    tree = {"cc/core/a.cc", "cc/core/b.cc", "cc/pybind/c.cc"}
    cmake = "add_library(x cc/core/a.cc # cc/core/b.cc\n cc/core/gone.cc cc/pybind/c.cc)"
    found = list_complaints(cmake, 'srcs = ["cc/core/a.cc", "cc/core/b.cc"]', tree)
    assert found == [
        "CMakeLists.txt lacks cc/core/b.cc",
        "CMakeLists.txt names cc/core/gone.cc, which is missing",
        "BUILD lacks cc/core/gone.cc",
        "BUILD names cc/core/b.cc, CMake does not",
    ]


def test_a_header_that_bazel_does_not_see_is_found() -> None:
    build = 'hdrs = ["cc/core/a.h"],  # "cc/core/b.h"'
    headers = {"cc/core/a.h", "cc/core/b.h", "cc/pybind/c.h"}
    assert header_complaints(build, headers) == ["BUILD lacks cc/core/b.h"]


def test_different_versions_are_found() -> None:
    found = versions('version = "1.2"', "project(x VERSION 1.3 LANGUAGES CXX)", "# no version")
    assert list(found.values()) == ["1.2", "1.3", ""]


def test_includes_obey_the_layers() -> None:
    sources = files("cc", CXX_SUFFIXES)
    assert len(sources) > 20
    assert [c for path, text in sources.items() for c in include_complaints(path, text)] == []
    assert [c for path, text in sources.items() for c in machine_complaints(path, text)] == []


def test_no_banned_identifier() -> None:
    cxx = {path: cxx_identifiers(text) for path, text in files("cc", CXX_SUFFIXES).items()}
    python = {p: python_identifiers(text) for p, text in files("python", {".py", ".pyi"}).items()}
    everywhere = cxx | python
    assert [c for path, names in everywhere.items() for c in banned_identifiers(path, names)] == []


def test_build_and_cmake_list_the_same_files() -> None:
    tree = set(files("cc", {".cc", ".cu"}))
    assert list_complaints(read("CMakeLists.txt"), read("BUILD"), tree) == []
    assert header_complaints(read("BUILD"), set(files("cc", {".h", ".cuh"}))) == []


def test_one_version() -> None:
    found = versions(read("pyproject.toml"), read("CMakeLists.txt"), read("CHANGELOG.md"))
    assert len(set(found.values())) == 1, found
    assert "" not in found.values()
