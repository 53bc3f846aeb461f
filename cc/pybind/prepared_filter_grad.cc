#include "cc/pybind/prepared_filter_grad.h"

#include <string>
#include <utility>

#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/pybind/memory.h"
#include "cc/pybind/thread_pool.h"

namespace py = pybind11;

namespace conv_transpose_nd {
namespace {

// Calls that alternate between more shapes than these plan anew.
constexpr size_t kShapes = 8;

}  // namespace

PreparedFilterGrad::PreparedFilterGrad(Arguments arguments,
                                       const py::object& filter_shape,
                                       int num_threads)
    : arguments_(std::move(arguments)),
      filter_(ReadShape("filter_shape", filter_shape)),
      num_threads_(num_threads) {
  if (num_threads < 0)
    Invalid("num_threads must be >= 0, got " + std::to_string(num_threads));
}

py::array PreparedFilterGrad::operator()(
    const py::array& input_argument, const py::array& output_grad_argument) {
  const DType dtype = DTypeOf(input_argument);
  if (!output_grad_argument.dtype().is(input_argument.dtype())) {
    CheckSameDType("output_grad", output_grad_argument, dtype, "input",
                   input_argument);
  }
  const py::array input = Contiguous(input_argument);
  const py::array output_grad = Contiguous(output_grad_argument);
  const std::shared_ptr<const Shape> shape =
      ShapeOfCall(dtype, ShapeOf(input), ShapeOf(output_grad));
  py::array result = AllocateResult(input.dtype(), filter_);
  Operands operands;
  operands.input = input.data();
  operands.output_grad = output_grad.data();
  operands.result = result.mutable_data();
  py::gil_scoped_release release;
  const ParallelFor parallel_for = ThreadsFor(num_threads_);
  const auto workspace =
      AllocateWorkspace(shape->plan.WorkspaceBytes(parallel_for.max_workers));
  Run(shape->plan, operands, workspace.get(), parallel_for);
  return result;
}

// Looking it up takes as long as a tiny call.
DType PreparedFilterGrad::DTypeOf(const py::array& input) {
  if (!input.dtype().is(dtype_object_)) {
    dtype_ = DTypeOfArray("input", input);
    dtype_object_ = input.dtype();
  }
  return dtype_;
}

std::shared_ptr<const PreparedFilterGrad::Shape>
PreparedFilterGrad::ShapeOfCall(DType dtype, const Dims& input,
                                const Dims& output) {
  // Nothing below touches a Python object.
  py::gil_scoped_release release;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& shape : shapes_) {
    if (shape->input == input && shape->output == output &&
        shape->dtype == dtype) {
      return shape;
    }
  }
  std::shared_ptr<const Shape> made = MakeShape(dtype, input, output);
  if (shapes_.size() == kShapes) shapes_.erase(shapes_.begin());
  shapes_.push_back(made);
  return made;
}

std::shared_ptr<const PreparedFilterGrad::Shape> PreparedFilterGrad::MakeShape(
    DType dtype, const Dims& input, const Dims& output) const {
  const Attributes attributes = ReadArguments(
      arguments_, "input", static_cast<int64_t>(input.size()), dtype);
  Shapes shapes;
  shapes.input = input;
  shapes.filter = filter_;
  shapes.output = output;
  ConvTransposeGeometry geometry;
  ThrowIfError(
      ResolveGeometry(Operation::kFilterGrad, shapes, attributes, &geometry));
  auto shape = std::make_shared<Shape>();
  shape->dtype = dtype;
  shape->input = input;
  shape->output = output;
  shape->plan = PlanFor(Operation::kFilterGrad, geometry, dtype);
  return shape;
}

}  // namespace conv_transpose_nd
