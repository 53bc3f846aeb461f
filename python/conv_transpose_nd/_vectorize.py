"""Converters of the three ops for tf.vectorized_map, tape.jacobian and tape.batch_jacobian.

A loop over L calls becomes one call. The tensors that have a loop axis ("stacked") fold it into

    the batch,      where no stacked tensor lacks one: only input, or only output_grad;
    channels,       where one factor of the product is stacked: those that the other has not;
    the groups,     where both factors are stacked: L times as many.

TensorFlow has no public interface for this. Where its private one is missing, nothing is
registered, and TensorFlow does what it does for any op that it does not know: it runs a loop, or
refuses where `fallback_to_while_loop` is False.

Longer than most files, to keep the three converters beside the one table of axes they share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from conv_transpose_nd._library import library

try:
    from tensorflow.python.ops.parallel_for import pfor as _pfor
except ImportError:
    _pfor = None

# What TensorFlow passes to a converter: the op, and those of its inputs that are converted.
_Call = Any
_Run = Callable[..., tf.Tensor]
# An axis, and into how many parts it is split, each of which gets an axis of the loop. Axes count
# without the loop's.
_Fold = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class _Folding:
    """Where the loop axis goes in both factors (None: not stacked) and comes from in the result."""

    first: _Fold | None
    second: _Fold | None
    result: _Fold

    @property
    def into_groups(self) -> bool:
        return self.first is not None and self.second is not None


def _convert_forward(call: _Call) -> Any:
    attributes = _attributes(call, "output_padding", "activation")
    channel, filter_out, groups = _axes(attributes)
    has_bias = call.num_inputs == 4
    if has_bias and call.input(3).is_stacked:
        call.stack_inputs([1])  # so that there is an output channel for each of its elements
    folding = _choose(
        call.input(0),
        call.input(1),
        _Folding((0, 1), None, (0, 1)),
        _Folding(None, (filter_out, 1), (channel, groups)),
        _Folding((channel, 1), (filter_out + 1, 1), (channel, 1)),
    )
    if has_bias and folding.second is not None:
        call.stack_inputs([3])
    constant = call.get_attr("filter_is_constant") and folding.second is None

    def run(input: Any, filters: Any, shape: Any, *bias: Any, groups: int) -> tf.Tensor:
        more = attributes | {"groups": groups, "filter_is_constant": constant}
        return library.conv_transpose_nd(
            input=input, filter=filters, output_shape=shape, bias=bias, **more
        )

    folds = [folding.first, folding.second, None]
    if has_bias:
        folds.append((0, folding.result[1]) if folding.second is not None else None)
    return _convert(call, folding, folds, groups, run, shape_index=2)


def _convert_input_grad(call: _Call) -> Any:
    attributes = _attributes(call)
    channel, filter_out, groups = _axes(attributes)
    folding = _choose(
        call.input(0),
        call.input(1),
        _Folding((0, 1), None, (0, 1)),
        _Folding(None, (filter_out + 1, groups), (channel, groups)),
        _Folding((channel, 1), (filter_out + 1, 1), (channel, 1)),
    )
    constant = call.get_attr("filter_is_constant") and folding.second is None

    def run(output_grad: Any, filters: Any, groups: int) -> tf.Tensor:
        more = attributes | {"groups": groups, "filter_is_constant": constant}
        return library.conv_transpose_nd_input_grad(output_grad=output_grad, filter=filters, **more)

    return _convert(call, folding, [folding.first, folding.second], groups, run)


def _convert_filter_grad(call: _Call) -> Any:
    attributes = _attributes(call)
    channel, filter_out, groups = _axes(attributes)
    folding = _choose(
        call.input(0),
        call.input(2),
        _Folding((channel, groups), None, (filter_out + 1, groups)),
        _Folding(None, (channel, groups), (filter_out, 1)),
        _Folding((channel, 1), (channel, 1), (filter_out + 1, 1)),
    )

    def run(input: Any, shape: Any, output_grad: Any, groups: int) -> tf.Tensor:
        return library.conv_transpose_nd_filter_grad(
            input=input,
            filter_shape=shape,
            output_grad=output_grad,
            **attributes | {"groups": groups},
        )

    folds = [folding.first, None, folding.second]
    return _convert(call, folding, folds, groups, run, shape_index=1)


def _choose(first: Any, second: Any, *foldings: _Folding) -> _Folding:
    """Of the foldings where `first`, `second` or both are stacked, the one that applies."""
    return foldings[2 if first.is_stacked and second.is_stacked else int(second.is_stacked)]


def _convert(
    call: _Call,
    folding: _Folding,
    folds: list[_Fold | None],
    groups: int,
    run: _Run,
    shape_index: int | None = None,
) -> Any:
    """Folds the inputs, runs the op once, and unfolds the result."""
    inputs = [
        call.unstacked_input(i) if fold is None else call.stacked_input(i)
        for i, fold in enumerate(folds)
    ]
    length = _length(call, folds, inputs)
    if folding.into_groups and not isinstance(length, int):
        return _pfor.wrap(_loop(call, folds, inputs, groups, run))
    if shape_index is not None:
        inputs[shape_index] = _scale(inputs[shape_index], folding.result[0], length)
    folded = [t if fold is None else _fold(t, *fold) for t, fold in zip(inputs, folds, strict=True)]
    result = run(*folded, groups=groups * length if folding.into_groups else groups)
    return _pfor.wrap(_unfold(result, *folding.result, length))


def _loop(
    call: _Call, folds: list[_Fold | None], inputs: list[Any], groups: int, run: _Run
) -> tf.Tensor:
    """One call after the other: the number of groups is an attribute, which has to be known."""

    def one(index: tf.Tensor) -> tf.Tensor:
        values = (t if f is None else t[index] for t, f in zip(inputs, folds, strict=True))
        return run(*values, groups=groups)

    output = call.output(0)
    signature = tf.TensorSpec(output.shape, output.dtype)
    return tf.map_fn(one, tf.range(call.pfor.loop_len_vector[0]), fn_output_signature=signature)


def _length(call: _Call, folds: list[_Fold | None], inputs: list[Any]) -> Any:
    """L as an int where it is known, else as a tensor."""
    known = tf.get_static_value(call.pfor.loop_len_vector)
    if known is not None:
        return int(known[0])
    for tensor, fold in zip(inputs, folds, strict=True):
        if fold is not None and tensor.shape[0] is not None:
            return int(tensor.shape[0])
    return call.pfor.loop_len_vector[0]


def _fold(tensor: tf.Tensor, axis: int, parts: int) -> tf.Tensor:
    """[L, ..., parts * inner, ...] -> [..., parts * L * inner, ...]."""
    length, *dims = _dims(tensor)
    inner = dims[axis] // parts
    split = [length, *dims[:axis], parts, inner, *dims[axis + 1 :]]
    order = [*range(1, axis + 2), 0, *range(axis + 2, len(split))]
    dims[axis] = parts * length * inner
    return tf.reshape(tf.transpose(tf.reshape(tensor, split), order), dims)


def _unfold(tensor: tf.Tensor, axis: int, parts: int, length: Any) -> tf.Tensor:
    """[..., parts * L * inner, ...] -> [L, ..., parts * inner, ...]."""
    dims = _dims(tensor)
    inner = dims[axis] // (parts * length)
    split = [*dims[:axis], parts, length, inner, *dims[axis + 1 :]]
    order = [axis + 1, *range(axis + 1), *range(axis + 2, len(split))]
    dims[axis] = parts * inner
    return tf.reshape(tf.transpose(tf.reshape(tensor, split), order), [length, *dims])


def _dims(tensor: tf.Tensor) -> list[Any]:
    shape = tf.shape(tensor)
    return [shape[a] if size is None else size for a, size in enumerate(tensor.shape)]


def _scale(shape: tf.Tensor, axis: int, length: Any) -> tf.Tensor:
    """Multiplies element `axis` by L. An empty `shape` (to be inferred) stays empty."""
    if shape.shape.num_elements() == 0:
        return shape
    at_axis = tf.equal(tf.range(tf.size(shape)), axis)
    return shape * tf.where(at_axis, tf.cast(length, shape.dtype), tf.ones_like(shape))


def _attributes(call: _Call, *more: str) -> dict[str, Any]:
    names = ("strides", "dilations", "padding", "explicit_paddings", "data_format", "groups", *more)
    values = {name: call.get_attr(name) for name in names}
    return {n: tf.compat.as_str(v) if isinstance(v, bytes) else v for n, v in values.items()}


def _axes(attributes: dict[str, Any]) -> tuple[int, int, int]:
    """The channel axis of input and output, the output channel axis of the filter, the groups."""
    dims = len(attributes["strides"])
    channel = dims - 1 if attributes["data_format"] == "CHANNELS_LAST" else 1
    return channel, dims - 2, attributes["groups"]


def _register() -> None:
    converters = {
        "ConvTransposeND": _convert_forward,
        "ConvTransposeNDInputGrad": _convert_input_grad,
        "ConvTransposeNDFilterGrad": _convert_filter_grad,
    }
    for name, converter in converters.items():
        _pfor.RegisterPFor(name)(converter)


if hasattr(_pfor, "RegisterPFor") and hasattr(_pfor, "wrap"):
    _register()
