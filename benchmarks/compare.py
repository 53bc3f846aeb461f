"""Are two results equal? Runs in the peers' processes, beside each other, on files in memory."""

from __future__ import annotations

import numpy as np

# Elements at a time: a whole difference of large arrays would need as much memory again.
_PART = 1 << 22


def difference(array: np.ndarray, oracle: np.ndarray) -> float | None:
    """The largest absolute difference; None where the shapes differ, or where it is no number."""
    if array.shape != oracle.shape:
        return None
    largest = 0.0
    flat, expected = array.reshape(-1), oracle.reshape(-1)
    for start in range(0, flat.size, _PART):
        part = np.abs(flat[start : start + _PART] - expected[start : start + _PART])
        if not np.isfinite(part).all():
            return None
        largest = max(largest, float(part.max()))
    return largest
