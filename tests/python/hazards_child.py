"""The child of hazards.py: runs each call in its mode and prints the outcome as a line of JSON.

A call is a dict of JSON values: 'op' ('transpose', 'input_grad', 'filter_grad'), the shapes of the
operands and the attributes of the op. Modes: the op itself ('eager', traced with everything known:
'static', traced with nothing known: 'dynamic'), the NumPy module ('core'), the Python function
('python', 'python static'), its gradients, and the function of `nn`.
"""

import json
import sys

import numpy as np
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import core
from conv_transpose_nd._library import library

FUNCTIONS = {
    "transpose": library.conv_transpose_nd,
    "input_grad": library.conv_transpose_nd_input_grad,
    "filter_grad": library.conv_transpose_nd_filter_grad,
}
OPERANDS = {
    "transpose": ("input", "filter", "output_shape", "bias"),
    "input_grad": ("output_grad", "filter"),
    "filter_grad": ("input", "filter_shape", "output_grad"),
}


def filled(shape, dtype="float32"):
    """Values that are not symmetric, and small integers: sums are exact in any order."""
    count = int(np.prod(shape, dtype=np.int64))
    return tf.constant((np.arange(count) % 5 - 1).reshape(shape), dtype)


def operand(call, name):
    value = call.get(name)
    if name.endswith("_shape"):
        return tf.constant([] if value is None else value, call.get("shape_dtype", "int32"))
    return [filled(shape) for shape in value or []] if name == "bias" else filled(value)


def attributes(call):
    known = ("op", "only", "shape_dtype", *OPERANDS[call["op"]])
    return {key: value for key, value in call.items() if key not in known}


def core_attributes(call):
    """The attributes in the form of core.*."""
    given = attributes(call)
    pads = given.pop("explicit_paddings", None)
    if pads is not None:
        given["padding"] = list(zip(pads[::2], pads[1::2], strict=True))
    return given


def numpy_core(call, operands, prefix=""):
    """The result of the NumPy module; prefix "reference_": by definition."""
    given = core_attributes(call)
    arrays = [np.asarray(v) for v in tf.nest.flatten(list(operands.values()))]
    if call["op"] == "input_grad":
        return getattr(core, prefix + "input_grad")(*arrays, **given)
    if call["op"] == "filter_grad":
        function = getattr(core, prefix + "filter_grad")
        return function(arrays[0], arrays[1].tolist(), arrays[2], **given)
    x, w, shape, *bias = arrays
    if bias:
        given["bias"] = bias[0]
    # To the op an empty output_shape is one to infer.
    shape = shape.tolist()
    return getattr(core, prefix + "conv_transpose")(
        x, w, output_shape=None if shape == [] else shape, **given
    )


def reference(call, operands):
    return numpy_core(call, operands, "reference_")


def traced(function, *signature):
    # Without autograph: it takes longer than all the rest.
    function = tf.function(function, input_signature=signature, autograph=False)
    return function.get_concrete_function()


def static(call, operands):
    """Everything is known while tracing, values of shapes included: errors must come then."""

    def function():
        constants = tf.nest.map_structure(lambda v: tf.constant(v.numpy()), operands)
        return FUNCTIONS[call["op"]](**constants, **attributes(call))

    return traced(function)()


def dynamic(call, operands):
    def function(*values):
        return FUNCTIONS[call["op"]](
            **tf.nest.pack_sequence_as(operands, values), **attributes(call)
        )

    values = tf.nest.flatten(operands)
    return traced(function, *[tf.TensorSpec(None, v.dtype) for v in values])(*values)


def python(call, operands, function=ct.conv_transpose_nd):
    given = attributes(call)
    given["data_format"] = given.pop("data_format", "CHANNELS_LAST").lower()
    if operands["bias"]:
        given["bias"] = operands["bias"][0].numpy()
    arrays = operands["input"].numpy(), operands["filter"].numpy()
    return function(*arrays, call.get("output_shape"), **given)


def gradient(call, operands):
    """The output, after both gradients were found equal to their definition."""
    given = attributes(call)
    layout = given.pop("data_format", "CHANNELS_LAST").lower()
    x, w = operands["input"], operands["filter"]
    bias = operands["bias"][0] if operands["bias"] else None
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = ct.conv_transpose_nd(
            x, w, call.get("output_shape"), bias=bias, data_format=layout, **given
        )
    dy = filled(y.shape)
    dx, dw = tape.gradient(y, [x, w], dy)
    given = core_attributes(call)
    given.pop("output_padding", None)
    exact_dx = core.reference_input_grad(dy.numpy(), w.numpy(), **given)
    exact_dw = core.reference_filter_grad(x.numpy(), w.shape.as_list(), dy.numpy(), **given)
    assert np.array_equal(dx, exact_dx), "input gradient"
    assert np.array_equal(dw, exact_dw), "filter gradient"
    return y


RUN = {
    "eager": lambda call, operands: FUNCTIONS[call["op"]](**operands, **attributes(call)),
    "static": static,
    "dynamic": dynamic,
    "core": lambda call, operands: tf.constant(numpy_core(call, operands)),
    "python": python,
    "python static": lambda call, operands: traced(lambda: python(call, operands))(),
    "gradient": gradient,
    "nn": lambda call, operands: python(call, operands, ct.nn.conv_transpose),
}


def outcome(mode, call):
    try:
        operands = {name: operand(call, name) for name in OPERANDS[call["op"]]}
        value = RUN[mode](call, operands).numpy()
        right = np.array_equal(value, reference(call, operands))
    except (ValueError, TypeError, AssertionError, tf.errors.OpError) as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"error": None, "shape": list(value.shape), "right": bool(right)}


if __name__ == "__main__":
    for name, mode, call in json.loads(sys.stdin.read()):
        print(json.dumps((name, mode, outcome(mode, call))), flush=True)
