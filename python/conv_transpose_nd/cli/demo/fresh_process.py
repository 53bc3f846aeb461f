"""Serves the SavedModels in a process that has TensorFlow and the op library, nothing else.

Run as a script, not as a module:
`python fresh_process.py LIBRARY OURS STOCK PICTURES RESULTS REPEATS`.

PICTURES is an .npz with one [1, height, width, 1] float32 array per picture. RESULTS is written as
an .npz: per picture `ours/NAME`, `stock/NAME` and `times/NAME` [repeats, 4] in seconds (whole
generator ours, stock; last layer ours, stock), and `package_modules`, how many modules of the
package are loaded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

# A script's folder is first on the path; nothing may come from there.
sys.path.pop(0)

import numpy as np
import tensorflow as tf

PACKAGE = "conv_transpose_nd"


def serve(ours: Any, stock: Any, picture: Any, repeats: int) -> tuple[Any, Any, Any]:
    """Runs one picture through both models; returns both outputs and the times [repeats, 4]."""
    features = ours.features(picture)
    calls: list[Callable[[], Any]] = [
        lambda: ours.upscale(picture),
        lambda: stock.upscale(picture),
        lambda: ours.reconstruct(features),
        lambda: stock.reconstruct(features),
    ]
    first = [call().numpy() for call in calls]  # traces and allocates: not timed
    # Interleaved, so that a change of the machine's speed meets both sides.
    times = [[_seconds(call) for call in calls] for _ in range(repeats)]
    return first[0], first[1], np.array(times)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call().numpy()
    return time.perf_counter() - start


def main(
    library: str, ours_path: str, stock_path: str, pictures: str, results: str, repeats: str
) -> None:
    """Runs every picture through both models; the arguments are the script's."""
    tf.load_op_library(library)
    ours, stock = tf.saved_model.load(ours_path), tf.saved_model.load(stock_path)
    found: dict[str, Any] = {}
    for name, picture in np.load(pictures).items():
        output, reference, times = serve(ours, stock, tf.constant(picture), int(repeats))
        found |= {f"ours/{name}": output, f"stock/{name}": reference, f"times/{name}": times}
    loaded = [name for name in sys.modules if name.partition(".")[0] == PACKAGE]
    np.savez(results, package_modules=len(loaded), **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
