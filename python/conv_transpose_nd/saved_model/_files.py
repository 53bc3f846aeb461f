"""A SavedModel on disk: read with clear errors, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from google.protobuf import message, text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry
from tensorflow.python.saved_model import fingerprinting_utils

_BINARY, _TEXT = "saved_model.pb", "saved_model.pbtxt"
_INDEX = "variables/variables.index"


def read(folder: pathlib.Path) -> Any:
    """The SavedModel message in `folder`.

    Raises:
      FileNotFoundError: if there is none, or if it has variables that are not there.
      ValueError: if it cannot be parsed.
    """
    binary, text = folder / _BINARY, folder / _TEXT
    path = binary if binary.is_file() else text
    if not path.is_file():
        raise FileNotFoundError(f"src must hold {_BINARY} or {_TEXT}, got {folder}")
    try:
        if path is binary:
            model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        else:
            model = text_format.Parse(path.read_text("utf-8"), saved_model_pb2.SavedModel())
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged, or no SavedModel: {error}") from error
    if not model.meta_graphs:
        raise ValueError(f"{path} is damaged, or no SavedModel: it holds no graph")
    if any(map(_has_variables, model.meta_graphs)) and not (folder / _INDEX).is_file():
        raise FileNotFoundError(f"{folder} has variables, but no {_INDEX}")
    return model


def check_known_ops(model: Any, folder: pathlib.Path) -> None:
    """Raises ValueError if `model` holds ops that this process cannot run."""
    unknown = set()
    for graph in (meta.graph_def for meta in model.meta_graphs):
        functions = {function.signature.name for function in graph.library.function}
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        unknown |= {
            node.op
            for node in nodes
            if node.op not in functions and op_def_registry.get(node.op) is None
        }
    if unknown:
        raise ValueError(
            f"{folder} holds ops that this TensorFlow does not know: {', '.join(sorted(unknown))}. "
            "Load the library that has them before, with tf.load_op_library"
        )


def update_op_list(meta: Any) -> None:
    """Makes the meta graph's list of op definitions that of its nodes."""
    graph = meta.graph_def
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    used = {node.op for node in nodes}
    listed = meta.meta_info_def.stripped_op_list
    if not listed.op:
        return  # the writer left it out, as it may
    kept = {op.name: op for op in listed.op if op.name in used}
    for name in sorted(used - set(kept)):
        definition = op_def_registry.get(name)
        if definition is not None:
            kept[name] = type(listed).FromString(listed.SerializeToString()).op.add()
            kept[name].CopyFrom(definition)
            kept[name].ClearField("description")
            kept[name].ClearField("summary")
    ordered = [kept[name] for name in sorted(kept)]
    del listed.op[:]
    listed.op.extend(ordered)


@contextlib.contextmanager
def staged(source: pathlib.Path, target: pathlib.Path) -> Iterator[pathlib.Path]:
    """A copy of `source` beside `target`, that becomes `target` where the block ends well.

    Whatever interrupts the block, `target` does not exist afterwards. Only a process that is killed
    outright leaves the copy, whose name starts with a dot.

    Raises:
      FileExistsError: if `target` exists.
      FileNotFoundError: if its parent does not.
    """
    if target.exists() or target.is_symlink():
        raise FileExistsError(f"dst must not exist, got {target}")
    parent = target.parent
    if not parent.is_dir():
        raise FileNotFoundError(f"dst must lie in a folder that exists, got {target}")
    if source.resolve() in target.resolve().parents:
        raise ValueError(f"dst must not lie in src, got {target}")
    staging = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    try:
        copy = staging / target.name
        shutil.copytree(source, copy)
        yield copy
        if target.exists():
            raise FileExistsError(f"dst must not exist, got {target}")
        os.rename(copy, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write(model: Any, folder: pathlib.Path) -> None:
    """Replaces the message in `folder`, and its fingerprint."""
    if (folder / _BINARY).is_file():
        (folder / _BINARY).write_bytes(model.SerializeToString(deterministic=True))
    else:
        (folder / _TEXT).write_text(text_format.MessageToString(model), "utf-8")
    fingerprint = folder / "fingerprint.pb"
    if fingerprint.is_file():
        fingerprint.unlink()
        fingerprinting_utils.write_fingerprint(str(folder))


def _has_variables(meta: Any) -> bool:
    if meta.object_graph_def.nodes:
        return any(node.WhichOneof("kind") == "variable" for node in meta.object_graph_def.nodes)
    return bool(meta.saver_def.restore_op_name)
