"""Runs calls that may end a process, in a child that is started again behind each that does.

A call is a dict of JSON values: 'op' ('transpose', 'input_grad', 'filter_grad'), the shapes of the
operands and the attributes of the op. It runs in every mode: eager, traced with static shapes, and
traced with nothing known; 'transpose' also through the Python function.
"""

import json
import subprocess
import sys
import time

MODES = ("eager", "static", "dynamic", "python", "python static")
_OPERANDS = {
    "transpose": ("input", "filter", "output_shape", "bias"),
    "input_grad": ("output_grad", "filter"),
    "filter_grad": ("input", "filter_shape", "output_grad"),
}


def modes(call):
    """The modes in which `call` runs; the Python function takes no raw paddings."""
    if "only" in call:
        return call["only"]
    python = call["op"] == "transpose" and "explicit_paddings" not in call
    return MODES if python and len(call.get("bias") or []) <= 1 else MODES[:3]


def outcomes(calls, environment):
    """Runs every call in every mode. Returns {(name, mode): {'error', 'message', 'shape', ...}}."""
    results = {}
    pending = [(name, mode) for name, call in calls.items() for mode in modes(call)]
    while pending:
        job = json.dumps([(name, mode, calls[name]) for name, mode in pending])
        child = subprocess.run(
            [sys.executable, __file__],
            input=job,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        finished = [json.loads(line) for line in child.stdout.splitlines()]
        for name, mode, result in finished:
            results[name, mode] = result
        if len(finished) == len(pending):
            return results
        crash = f"the process ended with status {child.returncode}"
        results[pending[len(finished)]] = {"error": "crash", "message": crash + child.stderr[-400:]}
        pending = pending[len(finished) + 1 :]
    return results


def _main():
    import numpy as np
    import tensorflow as tf

    import conv_transpose_nd as ct
    from conv_transpose_nd import core
    from conv_transpose_nd._library import library

    functions = {
        "transpose": library.conv_transpose_nd,
        "input_grad": library.conv_transpose_nd_input_grad,
        "filter_grad": library.conv_transpose_nd_filter_grad,
    }

    def filled(shape, dtype):
        # Not symmetric, exact in every dtype.
        count = int(np.prod(shape, dtype=np.int64))
        return tf.constant((np.arange(count) % 5 - 1).reshape(shape), dtype)

    def operand(call, name):
        value = call.get(name)
        if name.endswith("_shape"):
            dtype = call.get("shape_dtype", "int32")
            return tf.constant([] if value is None else value, dtype)
        dtype = call.get("dtype", "float32")
        if name == "bias":
            return [filled(shape, dtype) for shape in value or []]
        return filled(value, dtype)

    def attributes(call):
        known = ("op", "only", "dtype", "shape_dtype", *_OPERANDS[call["op"]])
        return {key: value for key, value in call.items() if key not in known}

    def reference(call, operands):
        """The result by definition, where that takes no time."""
        given = attributes(call)
        kwargs = {"data_format": given.get("data_format", "CHANNELS_LAST")}
        kwargs |= {"groups": given.get("groups", 1), "strides": given["strides"]}
        kwargs["dilations"] = given.get("dilations") or 1
        pads = given.get("explicit_paddings")
        kwargs["padding"] = (
            list(zip(pads[::2], pads[1::2], strict=True)) if pads else given["padding"]
        )
        arrays = {k: v.numpy() for k, v in operands.items() if k != "bias"}
        if call["op"] == "input_grad":
            return core.reference_input_grad(arrays["output_grad"], arrays["filter"], **kwargs)
        if call["op"] == "filter_grad":
            shape = arrays["filter_shape"].tolist()
            return core.reference_filter_grad(
                arrays["input"], shape, arrays["output_grad"], **kwargs
            )
        shape = arrays["output_shape"].tolist() or None
        bias = operands["bias"][0].numpy() if operands["bias"] else None
        return core.reference_conv_transpose(
            arrays["input"],
            arrays["filter"],
            output_shape=shape,
            bias=bias,
            output_padding=given.get("output_padding"),
            **kwargs,
        )

    def traced(function, signature):
        # Without autograph: it takes longer than all the rest.
        function = tf.function(function, input_signature=signature, autograph=False)
        return function.get_concrete_function()

    def run(mode, call):
        operands = {name: operand(call, name) for name in _OPERANDS[call["op"]] if name != "bias"}
        if call["op"] == "transpose":
            operands["bias"] = operand(call, "bias")
        function, given = functions[call["op"]], attributes(call)
        if mode == "eager":
            return operands, function(**operands, **given)
        if mode.startswith("python"):
            layout = given.pop("data_format", "CHANNELS_LAST").lower()
            shape = call.get("output_shape")
            bias = operands["bias"][0].numpy() if operands["bias"] else None
            arrays = operands["input"].numpy(), operands["filter"].numpy()

            def python_function():
                return ct.conv_transpose_nd(*arrays, shape, data_format=layout, bias=bias, **given)

            return operands, python_function() if mode == "python" else traced(
                python_function, []
            )()
        flat = tf.nest.flatten(operands)
        if mode == "static":
            # Everything is known while tracing, values of shapes included: errors must come now.
            def function_of_constants():
                constants = tf.nest.map_structure(lambda v: tf.constant(v.numpy()), operands)
                return function(**constants, **given)

            return operands, traced(function_of_constants, [])()

        def function_of_unknowns(*values):
            return function(**tf.nest.pack_sequence_as(operands, values), **given)

        signature = [tf.TensorSpec(None, v.dtype) for v in flat]
        return operands, traced(function_of_unknowns, signature)(*flat)

    for name, mode, call in json.loads(sys.stdin.read()):
        start = time.monotonic()
        try:
            operands, value = run(mode, call)
            value = value.numpy()
            result = {"error": None, "shape": list(value.shape), "zero": not value.any()}
            result["right"] = bool(np.array_equal(value, reference(call, operands)))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            result = {"error": type(error).__name__, "message": str(error)}
        result["seconds"] = round(time.monotonic() - start, 3)
        print(json.dumps((name, mode, result)), flush=True)


if __name__ == "__main__":
    _main()
