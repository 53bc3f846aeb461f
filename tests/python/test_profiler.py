"""What profilers show of the ops: plan and FLOPs of every call, and the counts of a graph."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.tsl.profiler.protobuf import xplane_pb2

import conv_transpose_nd as ct
from conv_transpose_nd import core

X, W, STRIDES = [2, 6, 5, 8], [4, 3, 16, 8], [2, 3]
OPS = ("ConvTransposeND", "ConvTransposeNDInputGrad", "ConvTransposeNDFilterGrad")


def flops_by_definition(input_shape, filter_shape, strides, output_shape, pad_before):
    """Counts tap by tap what lands inside."""
    per_axis = [
        sum(0 <= i * s + k - p < out for i in range(n) for k in range(taps))
        for n, taps, s, out, p in zip(
            input_shape[1:-1],
            filter_shape[:-2],
            strides,
            output_shape[1:-1],
            pad_before,
            strict=True,
        )
    ]
    return 2 * input_shape[0] * math.prod(per_axis) * filter_shape[-2] * input_shape[-1]


@tf.function
def forward_and_gradients(x, w):
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = ct.conv_transpose_nd(x, w, strides=STRIDES, name="upsample")
    return y, tape.gradient(y, [x, w], tf.ones_like(y))


def events(folder: Path) -> list[tuple[str, dict[str, object]]]:
    """Name and metadata of all events of all threads."""
    (path,) = folder.glob("plugins/profile/*/*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    found = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                stats = {}
                for stat in event.stats:
                    value = getattr(stat, stat.WhichOneof("value"))
                    if stat.WhichOneof("value") == "ref_value":
                        value = plane.stat_metadata[value].name
                    stats[plane.stat_metadata[stat.metadata_id].name] = value
                found.append((plane.event_metadata[event.metadata_id].name, stats))
    return found


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.standard_normal(X), tf.float32)
    w = tf.constant(rng.standard_normal(W), tf.float32)
    forward_and_gradients(x, w)
    folder = tmp_path_factory.mktemp("trace")
    tf.profiler.experimental.start(str(folder))
    forward_and_gradients(x, w)
    tf.profiler.experimental.stop()
    return events(folder)


@pytest.mark.parametrize(
    ("op", "operation"),
    list(zip(OPS, ("conv_transpose", "input_grad", "filter_grad"), strict=True)),
)
def test_the_trace_has_plan_and_flops_of_each_op(trace, op, operation):
    plan = core.plan(X, W, strides=STRIDES, operation=operation)
    geometry = core.geometry(X, W, strides=STRIDES)
    ((_, shown),) = [e for e in trace if e[0] == f"{op} {plan['family']}"]
    assert shown["plan"] == plan["family"]
    assert shown["target"] == core.target()
    assert shown["reason"].strip('"') == plan["reason"]
    assert int(shown["flops"]) == 2 * plan["multiply_adds"]
    output = geometry["output_shape"]
    assert int(shown["bytes"]) == 4 * sum(map(math.prod, (X, W, output)))
    assert shown["output"].strip('"') == str(output)
    # TensorFlow's own event of the op has the same node.
    assert any(name.startswith(shown["node"]) for name, _ in trace)
    if op == "ConvTransposeND":
        assert "upsample" in shown["node"]


def test_nothing_is_recorded_without_a_profiler(trace):
    """One call was made before the profiler started: each op is there once."""
    for op in OPS:
        assert sum(name.startswith(f"{op} ") for name, _ in trace) == 1


def test_the_graph_knows_its_flops():
    function = forward_and_gradients.get_concrete_function(
        tf.TensorSpec(X, tf.float32), tf.TensorSpec(W, tf.float32)
    )
    geometry = core.geometry(X, W, strides=STRIDES)
    expected = flops_by_definition(X, W, STRIDES, geometry["output_shape"], geometry["pad_before"])
    for op in OPS:
        (node,) = [n for n in function.graph.as_graph_def().node if n.op == op]
        assert ops.get_stats_for_node_def(function.graph, node, "flops").value == expected
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    found = tf.compat.v1.profiler.profile(function.graph, cmd="op", options=options)
    assert found.total_float_ops >= 3 * expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": [[0, 0], [1, 0], [0, 1], [0, 0]], "strides": 3},
        {"padding": "SAME_LOWER", "strides": 2},
        {"padding": "VALID", "dilations": [2, 1]},
        {"groups": 2},
    ],
)
def test_every_attribute_counts(arguments):
    with tf.Graph().as_default() as graph:
        x = tf.zeros([1, 4, 5, 4])
        w = tf.zeros([3, 2, 6 // arguments.get("groups", 1), 4])
        ct.conv_transpose_nd(x, w, **arguments)
        (node,) = [n for n in graph.as_graph_def().node if n.op == OPS[0]]
        counted = ops.get_stats_for_node_def(graph, node, "flops").value
    plan = core.plan([1, 4, 5, 4], w.shape.as_list(), **arguments)
    assert counted == 2 * plan["multiply_adds"] > 0


def test_unknown_shapes_have_no_figure():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4, 3])
        ct.conv_transpose_nd(x, tf.zeros([2, 5, 3]), strides=2)
        (node,) = [n for n in graph.as_graph_def().node if n.op == OPS[0]]
        with pytest.raises(ValueError, match="not fully defined"):
            ops.get_stats_for_node_def(graph, node, "flops")
