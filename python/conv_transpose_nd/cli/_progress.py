"""A bar on stderr while something takes long; nothing where the output is no terminal."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Steps done, steps in all (None: nobody knows), what is going on.
Update = Callable[[float, float | None, str], object]


@contextmanager
def bar() -> Iterator[Update]:
    """Yields a function that shows how far it is. The bar vanishes at the end.

    Without rich there is no bar.
    """
    if (
        not (sys.stdout.isatty() and sys.stderr.isatty())
        or importlib.util.find_spec("rich") is None
    ):
        yield lambda done, total, what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)

        def update(done: float, total: float | None, what: str) -> None:
            progress.update(task, completed=done, total=total, description=what)

        yield update
