"""Runs the saved generator on the held-out pictures in a fresh process and judges the result."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conv_transpose_nd.cli.demo import data
from conv_transpose_nd.cli.demo.data import Bytes, Floats, Pair
from conv_transpose_nd.cli.demo.model import FEATURES, TAIL_SIZE, Generator

# An output of the last layer sums at most this many products and the bias.
_TERMS = (TAIL_SIZE // data.SCALE) ** 2 * FEATURES + 1
# Two float32 sums of n terms, in any order, each err by at most n·u·Σ|terms| with u = 2⁻²⁴
# (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).
_TOLERANCE = 2 * _TERMS * 2.0**-24
_BLOCK = np.ones((data.SCALE, data.SCALE), np.uint8)


class DemoError(RuntimeError):
    """The demo ran, and what it shows is not what it must show."""


@dataclass(frozen=True)
class Judged:
    """One held-out picture, enlarged. Luminance in 8 bits, PSNR in dB over every pixel of it.

    psnr_input: of the small picture with each pixel repeated 3 times 3.
    difference: greatest |this op − stock| divided by its tolerance; at most 1 is equal.
    times: medians in seconds: the generator with this op, with stock; its last layer likewise.
    """

    pair: Pair
    bicubic: Bytes
    ours: Bytes
    psnr_input: float
    psnr_bicubic: float
    psnr_ours: float
    difference: float
    times: tuple[float, float, float, float]


def psnr(picture: Bytes, original: Bytes) -> float:
    """Peak signal-to-noise ratio 10·log₁₀(255² / mean squared error), in dB; inf where equal."""
    error = np.mean((picture.astype(np.float64) - original) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def as_batch(channel: Bytes) -> Floats:
    """8-bit [height, width] -> float32 [1, height, width, 1] in [0, 1]."""
    return (channel[np.newaxis, :, :, np.newaxis] / np.float32(255)).astype(np.float32)


def evaluate(
    model: Generator, paths: tuple[Path, Path], pairs: list[Pair], repeats: int
) -> list[Judged]:
    """Enlarges `pairs` with the SavedModels at `paths` in a fresh process.

    Args:
      model: the generator that was saved; only for the rounding bound.
      paths: the SavedModels with this op and with stock TensorFlow.
      pairs: held-out pictures.
      repeats: timed runs per picture and model.

    Raises:
      DemoError: the fresh process failed, or loaded more than the op library.
    """
    results = _run_fresh_process(paths, pairs, repeats)
    if int(results["package_modules"]) != 0:
        raise DemoError("the fresh process loaded the Python package, not only the op library")
    return [_judge(model, pair, results) for pair in pairs]


def complaints(judged: list[Judged]) -> list[str]:
    """What the demo fails by: pictures where bicubic is as good, outputs that differ from stock."""
    messages = []
    for one in judged:
        if not one.psnr_ours > one.psnr_bicubic:
            messages.append(
                f"{one.pair.name}: {one.psnr_ours:.2f} dB must be above bicubic's "
                f"{one.psnr_bicubic:.2f} dB (train longer: --seconds)"
            )
        if not one.difference <= 1:
            messages.append(
                f"{one.pair.name}: outputs of this op and of stock TensorFlow differ by "
                f"{one.difference:.2f} times the rounding bound, must be <= 1"
            )
    return messages


def _run_fresh_process(paths: tuple[Path, Path], pairs: list[Pair], repeats: int) -> dict[str, Any]:
    from conv_transpose_nd import sysconfig

    script = Path(__file__).with_name("fresh_process.py")
    with tempfile.TemporaryDirectory() as folder:
        pictures, results = Path(folder, "pictures.npz"), Path(folder, "results.npz")
        batches: dict[str, Any] = {pair.name: as_batch(pair.small[..., 0]) for pair in pairs}
        np.savez(pictures, **batches)
        arguments = [sysconfig.get_lib(), *paths, pictures, results, repeats]
        process = subprocess.run(
            [sys.executable, str(script), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
            check=False,
        )
        if process.returncode != 0:
            raise DemoError(f"the fresh process failed:\n{process.stderr[-2000:]}")
        with np.load(results) as found:
            return dict(found)


def _judge(model: Generator, pair: Pair, results: dict[str, Any]) -> Judged:
    original = pair.original[..., 0]
    enlarged = data.to_bytes(data.bicubic(pair.small[..., 0], *original.shape))
    raw, stock = results[f"ours/{pair.name}"], results[f"stock/{pair.name}"]
    ours = data.to_bytes(255 * raw[0, :, :, 0])
    magnitude = model.magnitude(model.padded_features(as_batch(pair.small[..., 0]))).numpy()
    times = np.median(results[f"times/{pair.name}"], axis=0)
    return Judged(
        pair=pair,
        bicubic=enlarged,
        ours=ours,
        psnr_input=psnr(np.kron(pair.small[..., 0], _BLOCK), original),
        psnr_bicubic=psnr(enlarged, original),
        psnr_ours=psnr(ours, original),
        difference=float(np.max(abs(raw - stock) / (_TOLERANCE * magnitude))),
        times=(float(times[0]), float(times[1]), float(times[2]), float(times[3])),
    )
