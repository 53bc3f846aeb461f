"""Griffe's extension: this project's sections of docstrings in the words that Griffe knows."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Sections(griffe.Extension):
    """`Example:` holds doctest lines, which only `Examples:` shows as code."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Renames the sections of every docstring."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )
