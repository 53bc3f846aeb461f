"""Trains the generator for a given time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from conv_transpose_nd.cli.demo import data
from conv_transpose_nd.cli.demo.model import MARGIN, Generator
from conv_transpose_nd.cli.demo.progress import Report

# Chosen on china, camera and motorcycle_left while these were left out of training.
BATCH = 8
PATCH = 16  # small pixels per side of what is learnt from; the input has MARGIN more on each side
PEAK_RATE = 4e-3
WARM_UP = 0.05  # share of the time in which the learning rate rises


def train(model: Generator, seconds: float, seed: int, report: Report) -> int:
    """Minimises the mean absolute error of random patches with Adam.

    The learning rate rises linearly, then falls along a half cosine to zero; both follow the clock,
    so that any duration ends annealed.

    Args:
      model: trained in place.
      seconds: duration, not counting the tracing of the first step; > 0.
      seed: seeds the choice of patches.
      report: called after each step with (elapsed seconds, step, loss).

    Returns:
      The number of steps.
    """
    patches = data.Patches(data.training(), PATCH, MARGIN, seed)
    optimizer = tf.keras.optimizers.Adam(PEAK_RATE)
    step = _make_step(model, optimizer)
    optimizer.learning_rate = 0.0
    step(*patches.batch(BATCH))
    steps, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        optimizer.learning_rate = PEAK_RATE * schedule(elapsed / seconds)
        loss = step(*patches.batch(BATCH))
        steps += 1
        report(elapsed, steps, float(loss))
    return steps


def schedule(progress: float) -> float:
    """Share of the peak learning rate at `progress` in [0, 1]."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def _make_step(model: Generator, optimizer: Any) -> Callable[[Any, Any], Any]:
    variables = model.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step(inputs: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(abs(model.from_context(inputs) - targets))
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    return step
