"""Transposed convolution as a TF1 layer, of any rank; `layers` has those that TF1 had."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from conv_transpose_nd import _arguments, ops
from conv_transpose_nd.compat.v1._layer import Layer

# TensorFlow's functions that the op applies in its one store; by identity, they are aliases of one.
_FUSED = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "leaky_relu": tf.nn.leaky_relu,
    "elu": tf.nn.elu,
    "gelu": tf.nn.gelu,
    "sigmoid": tf.nn.sigmoid,
    "tanh": tf.nn.tanh,
    "silu": tf.nn.silu,
}


class ConvTranspose(Layer):
    """Bias, activation and variables of the layers in `layers`, which document the arguments."""

    def __init__(
        self,
        rank: int,
        default_name: str,
        *,
        filters: int,
        kernel_size: Any,
        strides: Any,
        padding: str,
        data_format: str,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        activity_regularizer: Any,
        kernel_constraint: Any,
        bias_constraint: Any,
        trainable: bool,
        name: Any,
        dtype: Any = None,
        dilation_rate: Any = 1,
        output_padding: Any = None,
        groups: int = 1,
        _scope: Any = None,
        _reuse: Any = None,
    ) -> None:
        activity_regularizer = _resolve("regularizers", activity_regularizer)
        super().__init__(default_name, trainable, name, dtype, activity_regularizer, _scope, _reuse)
        self.rank = rank
        self.filters = _at_least_one("filters", filters)
        self.groups = _at_least_one("groups", groups)
        self.kernel_size = _per_axis("kernel_size", kernel_size, rank)
        self.strides = _per_axis("strides", strides, rank)
        self.dilation_rate = _per_axis("dilation_rate", dilation_rate, rank)
        self.output_padding = output_padding
        self.padding = _one_of("padding", padding, "valid", "same")
        self.data_format = _one_of("data_format", data_format, "channels_last", "channels_first")
        self.activation = _resolve("activations", activation)
        self.use_bias = use_bias
        self.kernel_initializer = _resolve("initializers", kernel_initializer)
        self.bias_initializer = _resolve("initializers", bias_initializer)
        self.kernel_regularizer = _resolve("regularizers", kernel_regularizer)
        self.bias_regularizer = _resolve("regularizers", bias_regularizer)
        self.kernel_constraint = _resolve("constraints", kernel_constraint)
        self.bias_constraint = _resolve("constraints", bias_constraint)
        if self.filters % self.groups:
            raise ValueError(f"filters must be a multiple of groups {groups}, got {filters}")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates `kernel` and `bias`."""
        if input_shape.rank != self.rank + 2:
            raise ValueError(f"inputs must have rank {self.rank + 2}, got shape {input_shape}")
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        if channels is None:
            raise ValueError(
                f"inputs must have a known number of channels, got shape {input_shape} with "
                f"data_format {self.data_format!r}"
            )
        self.kernel = self.add_weight(
            "kernel",
            [*self.kernel_size, self.filters // self.groups, channels],
            self.kernel_initializer,
            self.kernel_regularizer,
            self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                "bias",
                [self.filters],
                self.bias_initializer,
                self.bias_regularizer,
                self.bias_constraint,
            )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Computes the output."""
        fused = next((name for name, f in _FUSED.items() if f is self.activation), None)
        output = ops.call(
            "conv_transpose",
            self.rank,
            inputs,
            tf.convert_to_tensor(self.kernel),
            None,
            self.strides,
            self.padding.upper(),
            output_padding=self._op_output_padding(),
            data_format="NC" if self.data_format == "channels_first" else None,
            dilations=self.dilation_rate,
            groups=self.groups,
            bias=None if self.bias is None else tf.convert_to_tensor(self.bias),
            activation=fused,
        )
        if fused is None and self.activation is not None:
            return self.activation(output)
        return output

    def _op_output_padding(self) -> Any:
        """Where 'valid' has none given, TF1's output length is that of a kernel >= stride."""
        if self.output_padding is not None or self.padding == "same":
            return self.output_padding
        sizes = zip(self.kernel_size, self.strides, self.dilation_rate, strict=True)
        return [max(s - (k - 1) * d - 1, 0) for k, s, d in sizes]


def _resolve(kind: str, value: Any) -> Any:
    """Returns functions, classes and None as they are; Keras knows names and configurations."""
    if value is None or callable(value):
        return value
    import keras

    return getattr(keras, kind).get(value)


def _per_axis(name: str, value: Any, rank: int) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)):
        return (_at_least_one(name, value),) * rank
    if len(value) != rank:
        raise ValueError(f"{name} must be an int or have {rank} values, got {value!r}")
    return tuple(_at_least_one(f"{name}[{a}]", v) for a, v in enumerate(value))


def _at_least_one(name: str, value: Any) -> int:
    number = _arguments.integer(name, value)
    if number < 1:
        raise ValueError(f"{name} must be >= 1, got {number}")
    return number


def _one_of(name: str, value: Any, *allowed: str) -> str:
    lower = value.lower() if isinstance(value, str) else value
    if lower not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, got {value!r}")
    return str(lower)
