"""SavedModels hold the ops: their definitions may grow, and old models must load for ever."""

import copy
import json
import pathlib
import runpy

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import op_def_pb2

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
write = runpy.run_path(str(DATA / "write.py"))
MODELS = sorted(DATA.glob("saved_model_*"))


def kept():
    text = (DATA / "op_definitions.pbtxt").read_text()
    return {op.name: op for op in text_format.Parse(text, op_def_pb2.OpList()).op}


def complaints(old, new):
    """What a graph with the op `old` would notice where `new` is registered."""
    found = []
    for side in ("input_arg", "output_arg"):
        if list(getattr(old, side)) != list(getattr(new, side)):
            found.append(f"{side} changed")
    attributes = {attribute.name: attribute for attribute in new.attr}
    for attribute in old.attr:
        now = attributes.pop(attribute.name, None)
        if now is None:
            found.append(f"{attribute.name} is gone")
            continue
        if (now.type, now.default_value) != (attribute.type, attribute.default_value):
            found.append(f"{attribute.name} has another type or default")
        if not set(attribute.allowed_values.list.s) <= set(now.allowed_values.list.s):
            found.append(f"{attribute.name} takes fewer values")
        if not set(attribute.allowed_values.list.type) <= set(now.allowed_values.list.type):
            found.append(f"{attribute.name} takes fewer types")
        if now.has_minimum and (not attribute.has_minimum or now.minimum > attribute.minimum):
            found.append(f"{attribute.name} has a larger minimum")
    found += [
        f"{n} is new, without default"
        for n, a in attributes.items()
        if not a.HasField("default_value")
    ]
    return found


def changed(change):
    new = copy.deepcopy(kept()["ConvTransposeND"])
    change(new, {attribute.name: attribute for attribute in new.attr})
    return new


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda op, a: op.input_arg[0].CopyFrom(op.input_arg[1]), "input_arg changed"),
        (lambda op, a: op.output_arg.add(name="more", type=1), "output_arg changed"),
        (lambda op, a: op.attr.remove(a["groups"]), "groups is gone"),
        (lambda op, a: a["groups"].default_value.ClearField("i"), "groups has another type or def"),
        (lambda op, a: a["padding"].allowed_values.list.s.remove(b"SAME_LOWER"), "fewer values"),
        (lambda op, a: a["T"].allowed_values.list.type.remove(1), "T takes fewer types"),
        (lambda op, a: setattr(a["num_bias"], "minimum", 1), "num_bias has a larger minimum"),
        (lambda op, a: op.attr.add(name="fresh", type="int"), "fresh is new, without default"),
    ],
)
def test_an_incompatible_change_is_found(change, words):
    (found,) = complaints(kept()["ConvTransposeND"], changed(change))
    assert words in found


def test_compatible_changes_are_none():
    def grow(op, attributes):
        attributes["activation"].allowed_values.list.s.append(b"softplus")
        op.attr.add(name="fresh", type="bool").default_value.b = False

    assert complaints(kept()["ConvTransposeND"], changed(grow)) == []


def test_definitions_are_compatible_with_those_kept():
    registered = {op.name: op for op in write["op_definitions"]().op}
    assert registered.keys() == kept().keys()
    found = {name: complaints(old, registered[name]) for name, old in kept().items()}
    assert found == {name: [] for name in registered}
    assert registered == kept(), "write the new ones: python tests/data/write.py op-definitions"


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_saved_models_of_all_versions_load_and_compute_the_same(folder):
    expected = json.loads((folder / "expected.json").read_text())
    x = write["integers"](2, 6, 5, 4)
    loaded = tf.saved_model.load(str(folder))
    results = loaded.signatures["serving_default"](tf.constant(x))
    assert results.keys() == expected.keys()
    for name, (shape, values) in expected.items():
        assert np.array_equal(results[name], np.reshape(values, shape)), name
    assert np.ptp(expected["everything"][1]) > 0


def test_the_models_are_text_small_and_of_the_first_version_on():
    assert MODELS[0].name == "saved_model_0.1.0"
    for folder in MODELS:
        assert {file.name for file in folder.iterdir()} == {"saved_model.pbtxt", "expected.json"}
        assert sum(file.stat().st_size for file in folder.iterdir()) < 100_000
