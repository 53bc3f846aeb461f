"""Weights that PyTorch trained, in a Keras model with this op, and back.

In PyTorch: `np.savez(path, **{k: v.numpy() for k, v in model.state_dict().items()})`, so that
PyTorch need not be installed here. The model there is

    nn.Sequential(nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1), nn.ReLU(),
                  nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1, groups=2))
"""

import sys

import keras
import numpy as np

import conv_transpose_nd as ct

GROUPS = {"0": 1, "2": 2}


class Decoder(keras.layers.Layer):
    """The model above, on channels-last pictures; layers are named as in the state_dict."""

    def build(self, shape):
        """Makes the variables, in this package's layout."""
        self.filters = {
            "0": self.add_weight(shape=[4, 4, 8, shape[-1]], name="0_weight"),
            "2": self.add_weight(shape=[3, 3, 3, 8], name="2_weight"),
        }
        self.biases = {
            n: self.add_weight(shape=[c], name=f"{n}_bias") for n, c in (("0", 8), ("2", 6))
        }

    def call(self, x):
        """Crops 1 at both ends, as padding=1 does; the second layer adds one position."""
        w, b, crop = self.filters, self.biases, [(1, 1), (1, 1)]
        x = ct.conv_transpose_nd(x, w["0"], None, 2, crop, bias=b["0"], activation="relu")
        more = {"output_padding": 1, "groups": GROUPS["2"], "bias": b["2"]}
        return ct.conv_transpose_nd(x, w["2"], None, 2, crop, **more)

    def load(self, state):
        """Takes the arrays of a state_dict."""
        for name, groups in GROUPS.items():
            self.filters[name].assign(ct.weights.from_torch(state[f"{name}.weight"], groups))
            self.biases[name].assign(state[f"{name}.bias"])

    def state_dict(self):
        """The way back: arrays for torch.from_numpy."""
        weights = {
            f"{n}.weight": ct.weights.to_torch(self.filters[n], g) for n, g in GROUPS.items()
        }
        return weights | {f"{n}.bias": np.asarray(bias) for n, bias in self.biases.items()}


if __name__ == "__main__":
    decoder = Decoder()
    decoder.build([None, None, None, 16])
    decoder.load(np.load(sys.argv[1]))
    print("a picture of 8 x 8 becomes", decoder(np.ones([1, 8, 8, 16], "float32")).shape)
