"""Photographs, and the pair (small picture, original) that super-resolution learns from.

Every picture is a file inside the wheels of scikit-image and scikit-learn; nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SCALE = 3

# Photographs only seen after training. Four kinds: a portrait, fur, a still life, a flower.
HELD_OUT = ("astronaut.png", "chelsea.png", "coffee.png", "flower.jpg")
# None shows a scene of the held-out ones. Of the stereo pair one half is enough.
TRAINING = (
    "brick.png",
    "camera.png",
    "china.jpg",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "rocket.jpg",
    "text.png",
)
_SCIKIT_LEARN = frozenset({"china.jpg", "flower.jpg"})

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """One photograph at both sizes, YCbCr with the channel last, 8 bits.

    small: [height, width, 3]; original: [3·height, 3·width, 3].
    """

    name: str
    small: Bytes
    original: Bytes


def photograph(file_name: str) -> Image.Image:
    """Opens a photograph from the installed wheels, as RGB.

    Args:
      file_name: one of HELD_OUT or TRAINING.

    Raises:
      FileNotFoundError: the installed wheel does not hold the file.
    """
    package = "sklearn.datasets.images" if file_name in _SCIKIT_LEARN else "skimage.data"
    with resources.as_file(resources.files(package) / file_name) as path, Image.open(path) as image:
        return image.convert("RGB")


def bicubic(channel: NDArray[np.generic], height: int, width: int) -> Floats:
    """Resizes one channel: Keys' cubic (a = −0.5), half-pixel centres, edges renormalised.

    Where it shrinks, the kernel is widened by the scale (antialias). float32 in and out, so that
    nothing is rounded before the end.
    """
    image = Image.fromarray(np.asarray(channel, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def to_bytes(channel: NDArray[np.generic]) -> Bytes:
    """Rounds values in 0..255 to 8 bits, as saving a picture does."""
    return np.clip(np.rint(channel), 0, 255).astype(np.uint8)


def make_pair(name: str, image: Image.Image) -> Pair:
    """Shrinks a photograph by SCALE; the original is first cut to a multiple of SCALE.

    The small picture is rounded to 8 bits like any file that a user would want enlarged.
    """
    width, height = image.width // SCALE, image.height // SCALE
    original = image.crop((0, 0, SCALE * width, SCALE * height))
    small = original.resize((width, height), Image.Resampling.BICUBIC)
    return Pair(name, np.asarray(small.convert("YCbCr")), np.asarray(original.convert("YCbCr")))


def held_out() -> list[Pair]:
    """The pictures that training never sees, at full size."""
    return [make_pair(name.partition(".")[0], photograph(name)) for name in HELD_OUT]


def training(sizes: tuple[float, ...] = (1.0, 0.75)) -> list[Pair]:
    """The training pictures, each also reduced to the given sizes, which gives finer detail."""
    pairs = []
    for name in TRAINING:
        image = photograph(name)
        for size in sizes:
            width, height = round(image.width * size), round(image.height * size)
            resized = (
                image.resize((width, height), Image.Resampling.BICUBIC) if size != 1 else image
            )
            pairs.append(make_pair(f"{name}@{size}", resized))
    return pairs


class Patches:
    """Draws random training batches of luminance in [0, 1].

    Each example is a patch of `size` small pixels; its input has `margin` more real pixels on each
    side, so that training sees no artificial border. One of the eight symmetries is applied.
    """

    # pairs: at least one, each larger than the patch with its margin. size, margin: small pixels.
    def __init__(self, pairs: list[Pair], size: int, margin: int, seed: int) -> None:
        self._luminance = [(pair.small[..., 0], pair.original[..., 0]) for pair in pairs]
        areas = np.array([small.size for small, _ in self._luminance], np.float64)
        self._weights = areas / areas.sum()
        self._size, self._margin = size, margin
        self._random = np.random.default_rng(seed)

    def batch(self, count: int) -> tuple[Floats, Floats]:
        """Returns inputs [count, size + 2·margin, same, 1] and targets [count, 3·size, same, 1]."""
        examples = [self._example() for _ in range(count)]
        inputs, targets = zip(*examples, strict=True)
        return _to_float(np.stack(inputs)), _to_float(np.stack(targets))

    def _example(self) -> tuple[Bytes, Bytes]:
        index = self._random.choice(len(self._weights), p=self._weights)
        small, original = self._luminance[index]
        side = self._size + 2 * self._margin
        row, column = (int(self._random.integers(n - side + 1)) for n in small.shape)
        top, left = SCALE * (row + self._margin), SCALE * (column + self._margin)
        target_side = SCALE * self._size
        patch = small[row : row + side, column : column + side]
        target = original[top : top + target_side, left : left + target_side]
        turns, mirrored = int(self._random.integers(4)), bool(self._random.integers(2))
        return _symmetry(patch, turns, mirrored), _symmetry(target, turns, mirrored)


def _symmetry(patch: Bytes, turns: int, mirrored: bool) -> Bytes:
    turned = np.rot90(patch, turns)
    return turned[:, ::-1] if mirrored else turned


def _to_float(patches: Bytes) -> Floats:
    return (patches[..., np.newaxis] / np.float32(255)).astype(np.float32)
