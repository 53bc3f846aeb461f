"""Runs what a SavedModel offers before and after a rewrite, compares, and takes the time."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from conv_transpose_nd.saved_model import _graph
from conv_transpose_nd.saved_model._report import Timing

# Roundings of the largest output that a difference may have: see `accelerate`.
_ROUNDINGS = {"float16": 16, "bfloat16": 16, "float32": 1024, "float64": 1024}
_ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
# Tried for lengths that are unknown, in this order; networks halve them up to five times.
LENGTHS = (64, 32, 16, 8, 128, 7)
_MAX_CALLS = 50


@dataclasses.dataclass(frozen=True)
class Options:
    """See the arguments of `accelerate`."""

    inputs: Mapping[str, Any]
    tolerance: float | None
    seconds: float
    report: Callable[[str], object]

    def __post_init__(self) -> None:
        """Raises ValueError if a number is negative."""
        for name, value in (("tolerance", self.tolerance or 0), ("seconds", self.seconds)):
            if not value >= 0:
                raise ValueError(f"{name} must be >= 0, got {value}")


_Calls = Sequence[Callable[[], list[Any]]]


class _RejectedError(Exception):
    """The original takes none of the inputs that were tried."""


def compare(
    before: pathlib.Path, after: pathlib.Path, model: Any, options: Options
) -> Iterator[Timing]:
    """Compares all signatures, and all functions that no signature calls.

    Raises:
      ValueError: if one cannot be loaded or run, or if the outputs differ.
    """
    for meta in model.meta_graphs:
        tolerance = options.tolerance if options.tolerance is not None else _tolerance(meta)
        tags = list(meta.meta_info_def.tags)
        pair = load(before, tags), load(after, tags)
        for name, functions in callables(pair, meta):
            given = options.inputs.get(name)
            try:
                timing = _compare_one(name, functions, given, tolerance, options)
            except _RejectedError as error:
                if name in pair[0].signatures:
                    raise ValueError(
                        f"signature {name} rejects the random inputs that were tried; give it "
                        f"others, with inputs={{{name!r}: ...}}: {error}"
                    ) from error
                options.report(f"{name}: not run, for it rejects random inputs: {error}")
                continue
            options.report(str(timing))
            yield timing


def _tolerance(meta: Any) -> float:
    """That of the coarsest dtype in which a convolution of the graph computes."""
    names = {
        tf.as_dtype(node.attr["T"].type).name
        for graph in _graph.graphs(meta)
        for node in graph
        if node.op.startswith("ConvTransposeND") or "BackpropInput" in node.op
    }
    return allowed_difference(names)


def allowed_difference(dtypes: Iterable[str]) -> float:
    """Of outputs, divided by the largest, where convolutions compute in these dtypes."""
    known = set(dtypes) & set(_ROUNDING)
    return max((_ROUNDINGS[n] * _ROUNDING[n] for n in known), default=2.0**-24)


def load(folder: pathlib.Path, tags: list[str]) -> Any:
    """The SavedModel in `folder`; raises ValueError if it cannot be loaded."""
    try:
        return tf.saved_model.load(str(folder), tags)
    except (tf.errors.OpError, ValueError, OSError, LookupError) as error:
        raise ValueError(f"{folder} cannot be loaded: {error}") from error


def callables(models: tuple[Any, Any], meta: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Name of each signature, or of a function that none calls, and the pair of it."""
    before, after = models
    for name in before.signatures:
        yield name, (before.signatures[name], after.signatures[name])
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    nodes = meta.object_graph_def.nodes
    for path, index in _paths(nodes):
        pair = _at(before, path), _at(after, path)
        names = nodes[index].function.concrete_functions
        concrete = [getattr(function, "concrete_functions", []) for function in pair]
        if not len(concrete[0]) == len(concrete[1]) == len(names):
            continue
        for i, name in enumerate(names):
            if not _rewritten(functions, name) or name in _signed(functions, nodes):
                continue
            suffix = f"[{i}]" if len(names) > 1 else ""
            yield ".".join(path) + suffix, (concrete[0][i], concrete[1][i])


def _paths(nodes: Any) -> Iterator[tuple[tuple[str, ...], int]]:
    """Functions below the root: names of the way there, and their node. Each is visited once."""
    waiting: list[tuple[tuple[str, ...], int]] = [((), 0)] if nodes else []
    seen = {0}
    for path, index in waiting:
        if nodes[index].WhichOneof("kind") == "function":
            yield path, index
        for child in nodes[index].children:
            if child.node_id not in seen and (path or child.local_name != "signatures"):
                seen.add(child.node_id)
                waiting.append(((*path, child.local_name), child.node_id))


def _at(root: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        root = root[int(name)] if name.isdigit() else getattr(root, name, None)
    return root


def _rewritten(functions: Mapping[str, Any], name: str) -> bool:
    inside = _graph.reached(functions, [name])
    ops = {node.op for n in inside for node in functions[n].node_def}
    return bool(ops & {"ConvTransposeND", "Conv2DBackpropInput", "Conv3DBackpropInputV2"})


def _signed(functions: Mapping[str, Any], nodes: Any) -> set[str]:
    """What the signatures call: comparing those compares it."""
    signatures = [c.node_id for c in nodes[0].children if c.local_name == "signatures"]
    children = [child.node_id for s in signatures for child in nodes[s].children]
    names = [n for child in children for n in _concrete_names(nodes[child])]
    return _graph.reached(functions, names)


def _concrete_names(node: Any) -> list[str]:
    if node.WhichOneof("kind") == "bare_concrete_function":
        return [node.bare_concrete_function.concrete_function_name]
    return list(node.function.concrete_functions)


def _compare_one(
    name: str, pair: tuple[Any, Any], given: Any, tolerance: float, options: Options
) -> Timing:
    calls, expected, shapes = _runnable(pair, given)
    try:
        got = calls[1]()
    except tf.errors.OpError as error:
        raise ValueError(
            f"{name} fails after the rewrite, nothing was written. Its inputs were {shapes}; if "
            f"random values make no sense, give it others, with inputs={{{name!r}: ...}}. {error}"
        ) from error
    difference = largest_difference(expected, got)
    if not difference <= tolerance:
        if not largest_difference(expected, calls[0]()) <= tolerance:
            options.report(f"{name}: not compared, for equal inputs give it different outputs")
        else:
            raise ValueError(
                f"{name} gives other outputs after the rewrite: they differ by {difference:.3g} of "
                f"the largest, allowed are {tolerance:.3g}; inputs {shapes}. Nothing was written"
            )
    seconds = _times(calls, options.seconds)
    return Timing(name, *seconds, shapes, difference, tolerance)


def _runnable(pair: tuple[Any, Any], given: Any) -> tuple[_Calls, list[Any], str]:
    """Both as functions without arguments, what the original gives, and the inputs' shapes."""
    problem = "none"
    candidates = [given] if given is not None else LENGTHS
    for candidate in candidates:
        try:
            args, kwargs = arguments(pair[0], candidate)
            expected = _call(pair[0], args, kwargs)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            lines = [line for line in str(error).splitlines() if line.strip() and "[[" not in line]
            problem = lines[-1] if lines else repr(error)
            continue
        calls: _Calls = [functools.partial(_call, f, args, kwargs) for f in pair]
        tensors = [t for t in tf.nest.flatten((args, kwargs)) if tf.is_tensor(t)]
        return calls, expected, ", ".join(str(list(t.shape)) for t in tensors)
    raise _RejectedError(problem)


def arguments(function: Any, candidate: Any) -> tuple[Any, Any]:
    """Arguments and keyword arguments: those given, or random ones of an unknown length."""
    args, kwargs = function.structured_input_signature
    if isinstance(candidate, int):
        rng = np.random.default_rng(1)
        return tf.nest.map_structure(lambda spec: _random(spec, candidate, rng), (args, kwargs))
    if not isinstance(candidate, Mapping):
        return tuple(map(_given, args, candidate)), kwargs
    if candidate.keys() != kwargs.keys():
        raise ValueError(f"its inputs are {sorted(kwargs)}, got {sorted(candidate)}")
    return args, {key: _given(kwargs[key], value) for key, value in candidate.items()}


def _given(spec: Any, value: Any) -> Any:
    return tf.constant(value, spec.dtype) if isinstance(spec, tf.TensorSpec) else value


def random_tensor(spec: Any, length: int = 1) -> Any:
    """One that fits `spec`, with `length` for lengths that are unknown."""
    return _random(spec, length, np.random.default_rng(1))


def _random(spec: Any, length: int, rng: np.random.Generator) -> Any:
    if not isinstance(spec, tf.TensorSpec):
        return spec
    number = spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool
    if spec.shape.rank is None or not number:
        raise ValueError(f"no random value for {spec}")
    open_axes = sum(d is None for d in spec.shape[1:]) if spec.shape.rank else 0
    length = min(length, 16) if open_axes > 2 else length
    dims = [
        d if d is not None else (2 if axis == 0 else length)
        for axis, d in enumerate(spec.shape.as_list())
    ]
    if spec.dtype.is_floating:
        return tf.constant(rng.standard_normal(dims), spec.dtype)
    return tf.cast(tf.constant(rng.integers(0, 2 if spec.dtype.is_bool else 4, dims)), spec.dtype)


def _call(function: Any, args: Any, kwargs: Any) -> list[Any]:
    return [t.numpy() for t in tf.nest.flatten(function(*args, **kwargs)) if tf.is_tensor(t)]


def largest_difference(expected: list[Any], got: list[Any]) -> float:
    """Largest difference of floating outputs over the largest output; else what share differs."""
    if [(a.shape, a.dtype) for a in expected] != [(a.shape, a.dtype) for a in got]:
        return float("inf")
    return max(map(_difference_of, expected, got), default=0.0)


def _difference_of(a: Any, b: Any) -> float:
    if a.size == 0:
        return 0.0
    if not tf.as_dtype(a.dtype).is_floating:
        return float(np.mean(a != b))
    a, b = a.astype(np.float64), b.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))  # infinities too
    if np.all(same):
        return 0.0
    difference = np.abs(a - b)[~same]
    largest = np.max(np.abs(a[np.isfinite(a)]), initial=0.0)
    if not np.all(np.isfinite(difference)) or largest == 0:
        return float("inf")
    return float(np.max(difference) / largest)


def _times(calls: _Calls, seconds: float) -> tuple[float, float]:
    """Medians. Interleaved, so that a change of the machine's speed meets both."""
    times: list[list[float]] = [[], []]
    end = time.perf_counter() + seconds
    while not times[0] or (time.perf_counter() < end and len(times[0]) < _MAX_CALLS):
        for call, measured in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            measured.append(time.perf_counter() - start)
    before, after = (float(np.median(t)) for t in times)
    return before, after
