"""Earlier interfaces of TensorFlow, named as in `tf.compat`."""

from conv_transpose_nd.compat import v1

__all__ = ["v1"]
