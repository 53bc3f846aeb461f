"""Shows how training goes: a bar on a terminal, four plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[float, int, float], None]
_LINES = 4
_SMOOTHING = 0.98  # of the shown loss: single batches jump


class _Smoothed:
    def __init__(self) -> None:
        self._value: float | None = None

    def __call__(self, loss: float) -> float:
        old = loss if self._value is None else self._value
        self._value = _SMOOTHING * old + (1 - _SMOOTHING) * loss
        return self._value


@contextmanager
def training_progress(seconds: float) -> Iterator[Report]:
    """Yields a function of (elapsed seconds, step, loss) that shows the way to `seconds`."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        with _bar(seconds) as report:
            yield report
    else:
        yield _plain_lines(seconds)


def _plain_lines(seconds: float) -> Report:
    smoothed, printed = _Smoothed(), 0

    def report(elapsed: float, step: int, loss: float) -> None:
        nonlocal printed
        mean = smoothed(loss)
        if elapsed >= (printed + 1) * seconds / (_LINES + 1):
            printed += 1
            print(
                f"training: {elapsed:.0f} of {seconds:.0f} s, step {step}, loss {mean:.4f}",
                file=sys.stderr,
            )

    return report


@contextmanager
def _bar(seconds: float) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    smoothed = _Smoothed()
    columns = (
        TextColumn("training"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=seconds)

        def report(elapsed: float, step: int, loss: float) -> None:
            text = f"step {step}, loss {smoothed(loss):.4f}"
            progress.update(task, completed=elapsed, description=text)

        yield report
        progress.update(task, completed=seconds)
