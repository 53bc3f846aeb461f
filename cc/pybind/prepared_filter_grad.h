// Filter gradients of one layer: what only shapes decide is kept.
#ifndef CONV_TRANSPOSE_ND_PYBIND_PREPARED_FILTER_GRAD_H_
#define CONV_TRANSPOSE_ND_PYBIND_PREPARED_FILTER_GRAD_H_

#include <pybind11/numpy.h>

#include <memory>
#include <mutex>
#include <vector>

#include "cc/core/plan.h"
#include "cc/pybind/arguments.h"

namespace conv_transpose_nd {

// Thread-safe.
class PreparedFilterGrad {
 public:
  PreparedFilterGrad(Arguments arguments, const pybind11::object& filter_shape,
                     int num_threads);

  pybind11::array operator()(const pybind11::array& input_argument,
                             const pybind11::array& output_grad_argument);

 private:
  // What calls of the same shapes and dtype share.
  struct Shape {
    DType dtype;
    Dims input, output;
    Plan plan;
  };

  DType DTypeOf(const pybind11::array& input);
  std::shared_ptr<const Shape> ShapeOfCall(DType dtype, const Dims& input,
                                           const Dims& output);
  std::shared_ptr<const Shape> MakeShape(DType dtype, const Dims& input,
                                         const Dims& output) const;

  const Arguments arguments_;
  const Dims filter_;
  const int num_threads_;

  // Of the latest call; the interpreter lock guards them.
  pybind11::object dtype_object_;
  DType dtype_ = DType::kFloat;

  std::mutex mutex_;
  std::vector<std::shared_ptr<const Shape>> shapes_;  // the latest ones
};

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_PYBIND_PREPARED_FILTER_GRAD_H_
