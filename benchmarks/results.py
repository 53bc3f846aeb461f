"""The file of figures: written after every case, read again to go on where a run ended."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
from typing import Any

FORMAT = 1


@dataclasses.dataclass
class Results:
    """Everything that one run measured."""

    machine: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    limits: dict[str, Any] = dataclasses.field(default_factory=dict)  # by number of threads
    cases: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    scaling: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    date: str = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    )

    def has(self, key: tuple[str, str, str, int], peers: list[str]) -> bool:
        """True if the case was measured with at least these peers."""
        return any(case_key(c) == key and set(peers) <= set(c["peers"]) for c in self.cases)

    def add(self, case: dict[str, Any]) -> None:
        """Takes a case, in the place of an earlier measurement of it."""
        self.cases = [c for c in self.cases if case_key(c) != case_key(case)] + [case]

    def to_json(self) -> dict[str, Any]:
        """What read takes."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    def write(self, path: pathlib.Path) -> None:
        """Replaces the file as a whole, so that an interruption leaves the last good one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)


def case_key(case: dict[str, Any]) -> tuple[str, str, str, int]:
    """What tells cases apart."""
    return case["workload"], case["operation"], case["dtype"], case["threads"]


def read(path: pathlib.Path) -> Results:
    """Reads what write wrote; ValueError for a file of another format."""
    value = json.loads(path.read_text(encoding="utf-8"))
    found = value.pop("format", None) if isinstance(value, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path} must hold results of format {FORMAT}, got format {found}")
    return Results(**value)
