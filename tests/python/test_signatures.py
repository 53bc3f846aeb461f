"""Signatures that are equal to TensorFlow's, parameter by parameter."""

import ast
import doctest
import inspect
import os
import pathlib
import re

import pytest
import tensorflow as tf

import conv_transpose_nd as ct

NAMES = ["conv_transpose", "conv1d_transpose", "conv2d_transpose", "conv3d_transpose"]


def parameters(function):
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in found]


@pytest.mark.parametrize("name", NAMES)
def test_nn(name):
    assert parameters(getattr(ct.nn, name)) == parameters(getattr(tf.nn, name))


@pytest.mark.parametrize("name", NAMES)
def test_compat_v1_nn(name):
    assert parameters(getattr(ct.compat.v1.nn, name)) == parameters(getattr(tf.compat.v1.nn, name))


def test_own_function():
    kinds = inspect.Parameter
    own = parameters(ct.conv_transpose_nd)
    assert own == [
        ("input", kinds.POSITIONAL_OR_KEYWORD, kinds.empty),
        ("filters", kinds.POSITIONAL_OR_KEYWORD, kinds.empty),
        ("output_shape", kinds.POSITIONAL_OR_KEYWORD, None),
        ("strides", kinds.POSITIONAL_OR_KEYWORD, 1),
        ("padding", kinds.POSITIONAL_OR_KEYWORD, "SAME"),
        ("output_padding", kinds.KEYWORD_ONLY, None),
        ("data_format", kinds.KEYWORD_ONLY, None),
        ("dilations", kinds.KEYWORD_ONLY, 1),
        ("groups", kinds.KEYWORD_ONLY, 1),
        ("bias", kinds.KEYWORD_ONLY, None),
        ("activation", kinds.KEYWORD_ONLY, None),
        ("name", kinds.KEYWORD_ONLY, None),
    ]


def test_public_names():
    assert set(ct.__all__) <= set(dir(ct))
    for name in ct.__all__:
        assert getattr(ct, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'convolve'"):
        _ = ct.convolve


@pytest.mark.parametrize(
    "function",
    [ct.conv_transpose_nd, *(getattr(m.nn, n) for m in (ct, ct.compat.v1) for n in NAMES)],
    ids=lambda function: f"{function.__module__}.{function.__name__}",
)
def test_docstrings_have_every_part_and_every_argument(function):
    for part in ("Args:", "Returns:", "Raises:", "Example:", "Reference:"):
        assert part in function.__doc__
    for name in inspect.signature(function).parameters:
        assert f"\n      {name}: " in function.__doc__


@pytest.mark.parametrize(
    "module", [ct.ops, ct.nn, ct.compat.v1.nn, ct.sysconfig], ids=lambda module: module.__name__
)
def test_examples(module):
    found = doctest.testmod(module, extraglobs={"ct": ct, "tf": tf, "os": os})
    assert found.attempted > 0
    assert found.failed == 0


def test_stub_of_core():
    """Names, parameters and their order in core.pyi are those of the compiled module."""
    stub = pathlib.Path(ct.__file__).with_name("core.pyi").read_text(encoding="utf-8")
    nodes = ast.parse(stub).body
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    named = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert {node.name for node in named} == {name for name in dir(ct.core) if name[0] != "_"}
    for f in functions:
        declared = getattr(ct.core, f.name).__doc__.partition(" ->")[0]
        expected = [argument.arg for argument in (*f.args.args, *f.args.kwonlyargs)]
        assert re.findall(r"(\w+): ", declared) == expected, f.name
