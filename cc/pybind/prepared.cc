#include "cc/pybind/prepared.h"

#include <string>
#include <utility>

#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/pybind/thread_pool.h"

namespace py = pybind11;

namespace conv_transpose_nd {
namespace {

// Calls that alternate between more shapes than these plan and pack anew.
constexpr size_t kShapes = 8;

py::array Copy(const py::array& array) {
  return py::array(array.dtype(), ShapeOf(array), Contiguous(array).data());
}

std::optional<py::array> CopyBias(const std::optional<py::array>& bias,
                                  DType dtype, const py::array& filter) {
  if (!bias) return std::nullopt;
  CheckSameDType("bias", *bias, dtype, "filter", filter);
  return Copy(*bias);
}

std::optional<Dims> ReadOutputShape(const py::object& argument) {
  if (argument.is_none()) return std::nullopt;
  return ReadShape("output_shape", argument);
}

}  // namespace

PreparedCall::PreparedCall(Operation operation, Arguments arguments,
                           const py::array& filter,
                           const py::object& output_shape,
                           const std::optional<py::array>& bias,
                           int num_threads)
    : operation_(operation),
      arguments_(std::move(arguments)),
      dtype_(DTypeOfArray("filter", filter)),
      filter_(Copy(filter)),
      bias_(CopyBias(bias, dtype_, filter)),
      output_shape_(ReadOutputShape(output_shape)),
      num_threads_(num_threads) {
  if (num_threads < 0)
    Invalid("num_threads must be >= 0, got " + std::to_string(num_threads));
}

const char* PreparedCall::SourceName() const {
  return operation_ == Operation::kInputGrad ? "output_grad" : "input";
}

py::array PreparedCall::operator()(const py::array& source_argument) {
  // Looking dtypes up takes as long as a tiny call.
  if (!source_argument.dtype().is(filter_.dtype())) {
    CheckSameDType(SourceName(), source_argument, dtype_, "filter", filter_);
  }
  const py::array source = Contiguous(source_argument);
  const std::shared_ptr<const Shape> shape = ShapeOfCall(ShapeOf(source));
  py::array result = AllocateResult(source.dtype(), shape->result);
  Operands operands;
  (operation_ == Operation::kInputGrad ? operands.output_grad
                                       : operands.input) = source.data();
  operands.filter = filter_.data();
  if (bias_) operands.bias = bias_->data();
  operands.packed_filter = shape->packed_filter.get();
  operands.result = result.mutable_data();
  py::gil_scoped_release release;
  const ParallelFor parallel_for = ThreadsFor(num_threads_);
  const auto workspace = AllocateWorkspace(shape->plan.WorkspaceBytes(
      parallel_for.max_workers, operands.packed_filter != nullptr));
  Run(shape->plan, operands, workspace.get(), parallel_for);
  return result;
}

std::shared_ptr<const PreparedCall::Shape> PreparedCall::ShapeOfCall(
    const Dims& source) {
  // Nothing below touches a Python object.
  py::gil_scoped_release release;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& shape : shapes_) {
    if (shape->source == source) return shape;
  }
  std::shared_ptr<const Shape> made = MakeShape(source);
  if (shapes_.size() == kShapes) shapes_.erase(shapes_.begin());
  shapes_.push_back(made);
  return made;
}

std::shared_ptr<const PreparedCall::Shape> PreparedCall::MakeShape(
    const Dims& source) const {
  const Attributes attributes = ReadArguments(
      arguments_, SourceName(), static_cast<int64_t>(source.size()), dtype_);
  Shapes shapes;
  shapes.filter = ShapeOf(filter_);
  if (operation_ == Operation::kInputGrad) {
    shapes.output = source;
  } else {
    shapes.input = source;
    if (output_shape_) shapes.output = *output_shape_;
    shapes.has_bias = bias_.has_value();
    if (bias_) shapes.bias = ShapeOf(*bias_);
  }
  ConvTransposeGeometry geometry;
  ThrowIfError(ResolveGeometry(operation_, shapes, attributes, &geometry));
  auto shape = std::make_shared<Shape>();
  shape->source = source;
  shape->result = ResultDims(operation_, geometry);
  shape->plan = PlanFor(operation_, geometry, dtype_, true);
  shape->packed_filter = PackedFilter(shape->plan);
  return shape;
}

PreparedCall::Memory PreparedCall::PackedFilter(const Plan& plan) const {
  if (plan.packed_bytes == 0) return nullptr;
  for (const auto& shape : shapes_) {
    if (shape->packed_filter != nullptr &&
        SharePackedFilter(shape->plan, plan)) {
      return shape->packed_filter;
    }
  }
  Memory packed = AllocateWorkspace(plan.packed_bytes);
  PackFilter(plan, filter_.data(), packed.get(), ThreadsFor(num_threads_));
  return packed;
}

}  // namespace conv_transpose_nd
