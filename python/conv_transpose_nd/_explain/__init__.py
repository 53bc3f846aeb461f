"""`ct.explain`: how transposed convolutions run here, how fast, and what stock TensorFlow takes.

call.py (one with all its lengths) <- find.py (those of a SavedModel) <- keras_target.py; measure.py
takes their times; result.py holds what came out, text.py and page.py show it.
"""

from __future__ import annotations

import inspect
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conv_transpose_nd import core
from conv_transpose_nd._explain import measure as _measure
from conv_transpose_nd._explain.call import Call
from conv_transpose_nd._explain.find import Found, find
from conv_transpose_nd._explain.result import Explained, Explanation
from conv_transpose_nd._machine import Machine, describe, measure_machine
from conv_transpose_nd.saved_model import Timing, accelerate

_Progress = Callable[[int, int, str], object]


def explain(
    target: Any,
    filter_shape: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    strides: int | Sequence[int] = 1,
    padding: Any = "SAME",
    *,
    output_padding: int | Sequence[int] | None = None,
    data_format: str | None = None,
    dilations: int | Sequence[int] = 1,
    groups: int = 1,
    bias: bool = False,
    activation: str | None = None,
    dtype: str = "float32",
    filter_is_constant: bool = False,
    input_shape: Mapping[str, Sequence[int]] | Sequence[int] | None = None,
    seconds: float = 0.5,
    progress: _Progress | None = None,
) -> Explanation:
    """Says how each transposed convolution of `target` runs, what bounds it, and how fast it is.

    Per transposed convolution: geometry; the plan, and why; FLOPs, two per multiply-add that the
    definition needs; bytes, each operand read and the result written once; the time that the
    machine needs at least, max(FLOPs / peak, bytes / copy bandwidth), both measured; the times with
    this op and with stock TensorFlow, in turns on equal random operands, the filter as variable or
    constant as it is in the model. And what `ct.saved_model.accelerate` would gain: the sum over
    those that it would rewrite, and, of a model with any, whole signatures before and after.

    Args:
      target: the folder of a SavedModel, a `.keras` file, a Keras layer or model, or the shape of
        an input, to which the following arguments belong.
      filter_shape: [k..., out_channels / groups, in_channels]; only with an input shape.
      output_shape: as in `conv_transpose_nd`.
      strides: as in `conv_transpose_nd`.
      padding: as in `conv_transpose_nd`.
      output_padding: as in `conv_transpose_nd`.
      data_format: as in `conv_transpose_nd`.
      dilations: as in `conv_transpose_nd`.
      groups: as in `conv_transpose_nd`.
      bias: whether a bias is added.
      activation: as in `conv_transpose_nd`.
      dtype: name of the dtype: float16, bfloat16, float32, float64 or int32.
      filter_is_constant: whether the filter is a constant of the graph, so that it is packed once.
      input_shape: of a model's or layer's input, batch included; name -> shape for a SavedModel
        with several inputs. None: as the model has it, 2 for an unknown batch and 64, 32, ... for
        other unknown lengths, until the model takes them.
      seconds: how long each transposed convolution is timed; 0 measures nothing, and knows no peak.
      progress: is called with steps done, steps in all, and what comes next.

    Returns:
      An `Explanation`: prints as a table; `to_dict()`, `to_html()`, `write_html(path)`, `show()`.

    Raises:
      FileNotFoundError: if `target` is a path to nothing, or to a folder without a SavedModel.
      ValueError: if arguments contradict each other, or if `target` is damaged or does not run.
      TypeError: if `target` is none of the above.

    Example:
      >>> found = ct.explain([1, 16, 16, 64], [4, 4, 32, 64], strides=2, seconds=0)
      >>> found.convolutions[0].geometry["output_shape"], found.convolutions[0].flops
      ([1, 32, 32, 32], 15745024)

    Reference:
      Williams, Waterman, Patterson: Roofline, doi:10.1145/1498765.1498785, for the bound.
    """
    if not seconds >= 0:
        raise ValueError(f"seconds must be >= 0, got {seconds}")
    steps = _Steps(progress or (lambda done, total, what: None))
    given = {
        "output_shape": output_shape,
        "strides": strides,
        "padding": padding,
        "output_padding": output_padding,
        "data_format": data_format,
        "dilations": dilations,
        "groups": groups,
        "bias": bias,
        "activation": activation,
        "dtype": dtype,
        "filter_is_constant": filter_is_constant,
    }
    if _is_shape(target):
        if filter_shape is None:
            raise ValueError("filter_shape must be given where target is the shape of an input")
        if input_shape is not None:
            raise ValueError("input_shape must be left out where target is one")
        call = Call.from_arguments(list(target), list(filter_shape), given)
        return _explanation(f"input {list(target)}", Found([call]), (), seconds, steps)
    for name, value in {"filter_shape": filter_shape, **given}.items():
        if value != _DEFAULTS[name]:
            raise ValueError(f"{name} goes with the shape of an input as target, got {target!r}")
    return _of_model(target, input_shape, seconds, steps)


_DEFAULTS = {name: one.default for name, one in inspect.signature(explain).parameters.items()}


class _Steps:
    """Counts what is done."""

    def __init__(self, progress: _Progress) -> None:
        self._progress = progress
        self._done = 0
        self.total = 2

    def next(self, what: str) -> None:
        """Says what comes next."""
        self._progress(min(self._done, self.total), self.total, what)
        self._done += 1


def _is_shape(target: Any) -> bool:
    if isinstance(target, (str, bytes, os.PathLike)) or not isinstance(target, Sequence):
        return False
    return all(isinstance(length, int) for length in target)


def _of_model(target: Any, input_shape: Any, seconds: float, steps: _Steps) -> Explanation:
    from conv_transpose_nd._explain import keras_target

    steps.next("reading")
    if not isinstance(target, (str, os.PathLike)):
        if not callable(getattr(target, "build", None)):
            raise TypeError(
                "target must be a path, a Keras layer or model, or the shape of an input, got "
                f"{type(target).__name__}"
            )
        name, layer = f"{type(target).__name__} {target.name}", target
    else:
        path = pathlib.Path(target)
        if path.is_dir():
            return _of_folder(str(path), path, input_shape, seconds, steps)
        if not path.is_file():
            raise FileNotFoundError(f"target must be a SavedModel or a .keras file, got {path}")
        name, layer = str(path), keras_target.load(path)
    with tempfile.TemporaryDirectory() as folder:
        exported = pathlib.Path(folder) / "exported"
        keras_target.export(layer, input_shape, exported)
        return _of_folder(name, exported, input_shape, seconds, steps)


def _of_folder(
    name: str, folder: pathlib.Path, input_shape: Any, seconds: float, steps: _Steps
) -> Explanation:
    found = find(folder, input_shape)
    if not found.calls:
        found.notes.append("no transposed convolution was found")
    whole: tuple[Any, ...] = ()
    if seconds and any(call.can_be_rewritten for call in found.calls):
        steps.total += 1
        steps.next("whole signatures before and after accelerate")
        whole = _accelerated(folder, found, seconds)
    return _explanation(name, found, whole, seconds, steps)


def _accelerated(folder: pathlib.Path, found: Found, seconds: float) -> tuple[Timing, ...]:
    """Whole signatures before and after, of a copy that is thrown away; notes what goes wrong."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        copy = pathlib.Path(temporary) / "accelerated"
        try:
            report = accelerate(
                folder, copy, inputs=found.inputs, seconds=seconds, report=lines.append
            )
        except ValueError as error:
            found.notes.append(f"accelerate refuses the model: {error}")
            return ()
    found.notes += [line for line in lines if "not compared" in line]
    return report.timings


def _explanation(
    name: str,
    found: Found,
    signatures: tuple[Timing, ...],
    seconds: float,
    steps: _Steps,
) -> Explanation:
    steps.total += len(found.calls)
    threads = _measure.threads()
    machine = Machine()
    if seconds and found.calls:
        steps.next("what the machine can do")
        machine = measure_machine(threads)
    explained = []
    for call in found.calls:
        steps.next(call.name)
        plan = call.plan()
        bound = machine.bound(int(2 * plan["multiply_adds"]), call.bytes, call.dtype)
        explained.append(
            Explained(
                call=call,
                geometry=call.geometry(),
                plan=plan,
                bound_ms=bound["bound_ms"],
                bound_by=bound["bound_by"],
                times=_measure.measure(call, seconds) if seconds else None,
            )
        )
    steps.next("done")
    return Explanation(
        target=name,
        convolutions=tuple(explained),
        machine=machine,
        device=describe(),
        threads=threads,
        instruction_set=core.target(),
        signatures=signatures,
        notes=tuple(found.notes),
    )
