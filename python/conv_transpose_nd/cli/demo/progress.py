"""Says how training goes, for the bar of the command line."""

from __future__ import annotations

from collections.abc import Callable

from conv_transpose_nd.cli._progress import Update

Report = Callable[[float, int, float], None]
_SMOOTHING = 0.98  # of the shown loss: single batches jump


def training_report(seconds: float, update: Update) -> Report:
    """A function of (elapsed seconds, step, loss) that shows the way to `seconds`."""
    smoothed: float | None = None

    def report(elapsed: float, step: int, loss: float) -> None:
        nonlocal smoothed
        mean = loss if smoothed is None else _SMOOTHING * smoothed + (1 - _SMOOTHING) * loss
        smoothed = mean
        update(elapsed, seconds, f"training: step {step}, loss {mean:.4f}")

    return report
