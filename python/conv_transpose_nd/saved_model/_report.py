"""What was done to a SavedModel: per op, per signature."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class OpReport:
    """One op of a SavedModel.

    Attributes:
      function: the function that holds it; "" for the graph itself.
      name: of its node, before.
      op: its type, before.
      rewritten: False if it was left alone.
      what: what it became, or why it was left alone.
    """

    function: str
    name: str
    op: str
    rewritten: bool
    what: str

    def __str__(self) -> str:
        place = f"{self.function}: " if self.function else ""
        verb = "->" if self.rewritten else "left alone:"
        return f"{place}{self.name}: {self.op} {verb} {self.what}"


@dataclasses.dataclass(frozen=True)
class Timing:
    """One signature or function, run before and after on equal random inputs.

    Attributes:
      name: of the signature, or the path of the function below the model.
      before_s: median of the calls of the original, in seconds.
      after_s: median of the calls of the result, in seconds.
      shapes: of the inputs, as text.
      difference: largest difference of an output, divided by the largest output.
      tolerance: what was allowed for `difference`.
    """

    name: str
    before_s: float
    after_s: float
    shapes: str
    difference: float
    tolerance: float

    def __str__(self) -> str:
        return (
            f"{self.name}({self.shapes}): {self.before_s * 1e3:.3g} ms before, "
            f"{self.after_s * 1e3:.3g} ms after, {self.before_s / self.after_s:.2f} times as fast; "
            f"outputs differ by {self.difference:.2g} of the largest (allowed {self.tolerance:.2g})"
        )


@dataclasses.dataclass(frozen=True)
class Report:
    """What `accelerate` or `to_stock` did.

    Attributes:
      ops: every transposed convolution that was found.
      timings: every signature and function that was run; none with `check=False`.
      notes: what else there is to say.
    """

    ops: tuple[OpReport, ...]
    timings: tuple[Timing, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rewritten(self) -> int:
        """How many ops were rewritten."""
        return sum(op.rewritten for op in self.ops)

    def __str__(self) -> str:
        return "\n".join(map(str, (*self.ops, *self.timings, *self.notes)))
