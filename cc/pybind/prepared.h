// Calls of the NumPy module whose filter never changes: it is packed once, and
// what only shapes decide is kept.
#ifndef CONV_TRANSPOSE_ND_PYBIND_PREPARED_H_
#define CONV_TRANSPOSE_ND_PYBIND_PREPARED_H_

#include <pybind11/numpy.h>

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cc/core/plan.h"
#include "cc/pybind/arguments.h"
#include "cc/pybind/memory.h"

namespace conv_transpose_nd {

// Thread-safe.
class PreparedCall {
 public:
  // operation: kConvTranspose or kInputGrad. Copies filter and bias.
  PreparedCall(Operation operation, Arguments arguments,
               const pybind11::array& filter,
               const pybind11::object& output_shape,
               const std::optional<pybind11::array>& bias, int num_threads);

  // source: input, or output_grad.
  pybind11::array operator()(const pybind11::array& source_argument);

 private:
  using Memory = std::shared_ptr<void>;
  // What calls of one source shape share.
  struct Shape {
    Dims source;
    Dims result;
    Plan plan;
    Memory packed_filter;  // null: the filter is read as it is
  };

  const char* SourceName() const;
  std::shared_ptr<const Shape> ShapeOfCall(const Dims& source);
  std::shared_ptr<const Shape> MakeShape(const Dims& source) const;
  // That of another shape where it fits, else a new one.
  Memory PackedFilter(const Plan& plan) const;

  const Operation operation_;
  const Arguments arguments_;
  const DType dtype_;
  const pybind11::array filter_;
  const std::optional<pybind11::array> bias_;
  const std::optional<Dims> output_shape_;
  const int num_threads_;

  std::mutex mutex_;
  std::vector<std::shared_ptr<const Shape>> shapes_;  // the latest ones
};

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_PYBIND_PREPARED_H_
