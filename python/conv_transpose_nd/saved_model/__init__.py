"""SavedModels from and to stock transposed convolutions, rewritten on disk.

ct.saved_model.accelerate("model", "faster")   # stock transposed convolutions -> this op
ct.saved_model.to_stock("faster", "portable")  # and back, for TFLite, ONNX and stock servers
"""

from conv_transpose_nd.saved_model._accelerate import accelerate
from conv_transpose_nd.saved_model._report import OpReport, Report, Timing
from conv_transpose_nd.saved_model._to_stock import to_stock

__all__ = ["OpReport", "Report", "Timing", "accelerate", "to_stock"]
