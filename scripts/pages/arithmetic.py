"""One axis of a transposed convolution, from its definition: what the figures are drawn from.

Plain Python, so that the pages are built without the package. A test compares it with the op.
"""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Axis:
    """Lengths and attributes along one axis; the names of a figure's block in docs/geometry.md."""

    n: int
    k: int
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] = (0, 0)
    output_padding: int = 0

    @property
    def full_length(self) -> int:
        """Positions that some product reaches, before padding takes any away."""
        return (self.n - 1) * self.stride + (self.k - 1) * self.dilation + 1

    @property
    def output_length(self) -> int:
        """The length of the result: arXiv:1603.07285, Relationship 14."""
        return self.full_length - sum(self.padding) + self.output_padding

    def phase(self, output: int) -> int:
        """Positions of one phase use the same taps."""
        return (output + self.padding[0]) % self.stride

    def taps(self, phase: int) -> list[int]:
        """The taps of a phase: k · dilation ≡ phase (mod stride)."""
        return [k for k in range(self.k) if k * self.dilation % self.stride == phase]

    def tap_step(self) -> int:
        """From one tap of a phase to the next."""
        return self.stride // math.gcd(self.stride, self.dilation)

    def products(self, output: int) -> list[tuple[int, int]]:
        """Pairs (input position, tap) that an output position adds up, by tap."""
        position = output + self.padding[0]
        found = []
        for k in self.taps(self.phase(output)):
            i = (position - k * self.dilation) // self.stride
            if 0 <= i < self.n:
                found.append((i, k))
        return found


def parse(text: str) -> tuple[str, Axis]:
    """The kind of a figure and its axis, of lines like `n=3 k=4 stride=2 padding=1,1`.

    Raises:
      ValueError: if a word is not `name=value` with a name of Axis, or `kind=axis` or `kind=grid`.
    """
    kind, values = "axis", {}
    names = {field.name for field in dataclasses.fields(Axis)}
    for word in text.split():
        name, _, value = word.partition("=")
        if name == "kind" and value in ("axis", "grid"):
            kind = value
        elif name == "padding":
            before, _, after = value.partition(",")
            values[name] = (int(before), int(after or before))
        elif name in names:
            values[name] = int(value)
        else:
            raise ValueError(f"a figure takes kind=axis|grid and {sorted(names)}, got {word!r}")
    return kind, Axis(**values)
