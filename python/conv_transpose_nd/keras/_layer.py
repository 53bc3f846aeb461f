"""`ConvTransposeND`, the layer of any rank; those of `layers` fix its rank.

Longer than most files, for Keras has 18 arguments, each to be documented, stored and serialized.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from conv_transpose_nd import _arguments, _library
from conv_transpose_nd.keras import _options, _shapes, ops

_activations = keras.activations

# Keras' functions that the op applies in its one store. Not sigmoid: Keras' losses look for its
# argument behind the output, to form the cross entropy without loss of digits.
_FUSED = {
    _activations.linear: None,
    _activations.relu: "relu",
    _activations.relu6: "relu6",
    _activations.leaky_relu: "leaky_relu",
    _activations.elu: "elu",
    _activations.gelu: "gelu",
    _activations.tanh: "tanh",
    _activations.silu: "silu",
}

# Arguments that go through a getter and a serializer of Keras' modules.
_OBJECTS = {
    "kernel_initializer": keras.initializers,
    "bias_initializer": keras.initializers,
    "kernel_regularizer": keras.regularizers,
    "bias_regularizer": keras.regularizers,
    "kernel_constraint": keras.constraints,
    "bias_constraint": keras.constraints,
}


@keras.saving.register_keras_serializable("conv_transpose_nd")
class ConvTransposeND(keras.layers.Layer):
    """Transposed convolution layer over `rank` spatial axes, bias and activation included.

    Over all `i` (input) and `k` (kernel) with `o + crop = i * stride + k * dilation_rate`, where
    `crop` positions are cut off before the first output position (none with 'valid'):

        output[n, o, co] = activation(bias[co] + Σ_i,k,ci inputs[n, i, ci] * kernel[k, co, ci])

    Variables are those of Keras' layers, in their order: `kernel`, of shape `[kernel_size...,
    filters / groups, in_channels]`, and `bias`, `[filters]`. With groups = 1 weights and weight
    files go from one to the other. Inputs are `[batch, spatial..., in_channels]`, or channels
    second with 'channels_first'; outputs have the lengths of `keras.ops.conv_transpose`.

    Args:
      rank: 1 to 6, the number of spatial axes.
      filters: >= 1, the number of output channels.
      kernel_size: >= 1, taps per axis: an int, or one per spatial axis.
      strides: >= 1, output positions per input position, in the forms of `kernel_size`.
      padding: 'valid' or 'same', in any letter case.
      output_padding: None, or output positions added at the end, >= 0 and < strides.
      data_format: 'channels_last' or 'channels_first'; None is
        `keras.config.image_data_format()`.
      dilation_rate: >= 1, output positions from one tap to the next; above 1 together with
        `strides` above 1 is fine.
      activation: a function, or the name of one of Keras' activations. linear, relu, relu6,
        leaky_relu, elu, gelu, tanh and silu are computed inside the op.
      use_bias: whether there is a bias.
      kernel_initializer: of the kernel; see `initializers.ICNR`.
      bias_initializer: of the bias.
      kernel_regularizer: of the kernel, or None.
      bias_regularizer: of the bias, or None.
      activity_regularizer: of the output, or None.
      kernel_constraint: of the kernel, or None.
      bias_constraint: of the bias, or None.
      groups: >= 1, a divisor of `filters` and of the input channels. Part g of the input channels
        maps to part g of the output channels.
      **kwargs: of `keras.layers.Layer`: trainable, name, dtype, autocast.

    Raises:
      ValueError: unless `1 <= rank <= 6`, `filters >= 1`, `kernel_size >= 1`, `strides >= 1`,
        `0 <= output_padding < strides`, `dilation_rate >= 1`, `filters % groups == 0`; when
        built, unless the input channels are known and a multiple of `groups`; and as
        `ops.conv_transpose`.
      TypeError: if one of these is not an integer.

    Example:
      >>> layer = ct.keras.layers.ConvTransposeND(4, 2, 3, strides=2, padding="same")
      >>> layer(np.ones([1, 2, 3, 4, 5, 8])).shape
      TensorShape([1, 4, 6, 8, 10, 2])

    Reference:
      `keras.layers.Conv2DTranspose`; arXiv:1603.07285, Relationship 14.
    """

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        # Keras compiles a model by itself only where every layer says so.
        self.supports_jit = _library.has_xla
        self.rank = _arguments.integer("rank", rank)
        if not 1 <= self.rank <= 6:
            raise ValueError(f"rank must be in [1, 6], got {rank}")
        self._options = _options.canonical(
            self.rank, strides, padding, output_padding, data_format, dilation_rate, groups
        )
        self.filters = _options.at_least("filters", filters, 1)
        self.kernel_size = _options.per_axis("kernel_size", kernel_size, self.rank, 1)
        self.strides = self._options.strides
        self.padding = self._options.padding
        self.output_padding = self._options.output_padding
        self.data_format = self._options.data_format
        self.dilation_rate = self._options.dilation_rate
        self.groups = self._options.groups
        self.activation = _activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(
            "glorot_uniform" if kernel_initializer is None else kernel_initializer
        )
        self.bias_initializer = keras.initializers.get(
            "zeros" if bias_initializer is None else bias_initializer
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.input_spec = keras.InputSpec(ndim=self.rank + 2)
        self._check()

    def build(self, input_shape: Any) -> None:
        """Creates `kernel` and `bias` for inputs of this shape, of any spatial lengths."""
        axis = self._options.channel_axis
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f"inputs must have a known number of channels to build {self.name}, got shape "
                f"{tuple(input_shape)} with data_format {self.data_format!r}"
            )
        if channels % self.groups:
            raise ValueError(
                f"the input channels must be a multiple of groups {self.groups}, got {channels}"
            )
        self.input_spec = keras.InputSpec(ndim=self.rank + 2, axes={axis: channels})
        self.kernel = self.add_weight(
            name="kernel",
            shape=self._kernel_shape(channels),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any) -> Any:
        """Returns the output for a batch of inputs."""
        fused = self._fused_activation()
        bias = None if self.bias is None else keras.ops.convert_to_tensor(self.bias)
        outputs = ops.convolve(
            keras.ops.convert_to_tensor(inputs),
            keras.ops.convert_to_tensor(self.kernel),
            self._options,
            bias,
            fused,
        )
        if fused is None and self.activation is not None:
            return self.activation(outputs)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> _options.Shape:
        """Returns the shape of the output; a dimension is None where that of the input is."""
        channels = input_shape[self._options.channel_axis]
        kernel_shape = self._kernel_shape(channels)
        return _shapes.output_shape(self._options, tuple(input_shape), kernel_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, for `from_config` and saved models."""
        config = super().get_config()
        names = (
            *("rank", "filters", "kernel_size", "strides", "padding", "output_padding"),
            *("data_format", "dilation_rate", "use_bias", "groups"),
        )
        config.update({name: getattr(self, name) for name in names})
        config["activation"] = _activations.serialize(self.activation)
        regularizer = self.activity_regularizer
        config["activity_regularizer"] = keras.regularizers.serialize(regularizer)
        for name, module in _OBJECTS.items():
            config[name] = module.serialize(getattr(self, name))
        return config

    def _fused_activation(self) -> str | None:
        # A callable object of the user's may be unhashable.
        function = self.activation
        return next((name for known, name in _FUSED.items() if known is function), None)

    def _kernel_shape(self, channels: int | None) -> _options.Shape:
        return (*self.kernel_size, self.filters // self.groups, channels)

    def _check(self) -> None:
        if self.filters % self.groups:
            raise ValueError(
                f"filters must be a multiple of groups {self.groups}, got {self.filters}"
            )
        for a, p in enumerate(self.output_padding or ()):
            s = self.strides[a]
            if p >= s:
                raise ValueError(f"output_padding[{a}] must be < strides[{a}] = {s}, got {p}")
