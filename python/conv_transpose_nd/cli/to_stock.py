"""`conv-transpose-nd to-stock SRC DST`: a SavedModel on stock TensorFlow ops."""

from __future__ import annotations

import argparse

from conv_transpose_nd.cli import _rewrite

EXAMPLE = "conv-transpose-nd to-stock faster portable"
add_arguments = _rewrite.add_arguments


def run(options: argparse.Namespace) -> int:
    """Runs `ct.saved_model.to_stock`; returns 0, or 1 if it could not be done."""
    from conv_transpose_nd import saved_model

    return _rewrite.run(saved_model.to_stock, options)
