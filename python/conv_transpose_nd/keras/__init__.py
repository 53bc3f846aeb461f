"""The transposed convolutions of Keras 3: `ops`, `layers` and `initializers`.

Needs Keras with the TensorFlow backend: the op is a TensorFlow op.
"""

from __future__ import annotations

import keras as _keras

if _keras.config.backend() != "tensorflow":
    raise ImportError(
        "conv_transpose_nd.keras needs the TensorFlow backend of Keras, got backend "
        f"{_keras.config.backend()!r}. Repair: set KERAS_BACKEND=tensorflow before keras is "
        "imported"
    )

# After the check, for these register classes with Keras.
from conv_transpose_nd.keras import initializers, layers, ops

__all__ = ["initializers", "layers", "ops"]
