#include "cc/pybind/operations.h"

#include <string>

#include "cc/core/plan.h"
#include "cc/core/reference.h"
#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/pybind/memory.h"
#include "cc/pybind/thread_pool.h"

namespace py = pybind11;

namespace conv_transpose_nd {
namespace {

template <typename T>
void RunReference(const Plan& plan, const Operands& operands) {
  const auto* input = static_cast<const T*>(operands.input);
  const auto* filter = static_cast<const T*>(operands.filter);
  const auto* output_grad = static_cast<const T*>(operands.output_grad);
  auto* result = static_cast<T*>(operands.result);
  switch (plan.operation) {
    case Operation::kInputGrad:
      return reference::InputGrad(plan.call, output_grad, filter, result);
    case Operation::kFilterGrad:
      return reference::FilterGrad(plan.call, input, output_grad, result);
    default:
      return reference::ConvTranspose(plan.call, input, filter,
                                      static_cast<const T*>(operands.bias),
                                      result);
  }
}

void RunReference(const Plan& plan, const Operands& operands) {
  switch (plan.dtype) {
    case DType::kHalf:
      return RunReference<Half>(plan, operands);
    case DType::kBFloat16:
      return RunReference<BFloat16>(plan, operands);
    case DType::kFloat:
      return RunReference<float>(plan, operands);
    case DType::kDouble:
      return RunReference<double>(plan, operands);
    case DType::kInt32:
      return RunReference<int32_t>(plan, operands);
  }
}

// Plans, allocates the result, and runs without the interpreter lock.
py::array Execute(Operation operation, const Shapes& shapes,
                  const Attributes& attributes, Operands operands,
                  const py::dtype& dtype, int num_threads, bool reference) {
  ConvTransposeGeometry geometry;
  ThrowIfError(ResolveGeometry(operation, shapes, attributes, &geometry));
  if (num_threads < 0)
    Invalid("num_threads must be >= 0, got " + std::to_string(num_threads));
  const std::shared_ptr<const Plan> shared_plan =
      SharedPlanFor(operation, geometry, attributes.dtype);
  const Plan& plan = *shared_plan;
  py::array result = AllocateResult(dtype, ResultDims(operation, geometry));
  operands.result = result.mutable_data();
  py::gil_scoped_release release;
  if (plan.family == KernelFamily::kNone) return result;
  if (reference) {
    RunReference(plan, operands);
    return result;
  }
  const ParallelFor parallel_for = ThreadsFor(num_threads);
  const auto workspace =
      AllocateWorkspace(plan.WorkspaceBytes(parallel_for.max_workers));
  Run(plan, operands, workspace.get(), parallel_for);
  return result;
}

}  // namespace

py::array ConvTranspose(const Arguments& arguments,
                        const py::array& input_argument,
                        const py::array& filter_argument,
                        const py::object& output_shape_argument,
                        const std::optional<py::array>& bias_argument,
                        int num_threads, bool reference) {
  const DType dtype = DTypeOfArray("input", input_argument);
  CheckSameDType("filter", filter_argument, dtype, "input", input_argument);
  const py::array input = Contiguous(input_argument),
                  filter = Contiguous(filter_argument);
  const Attributes attributes =
      ReadArguments(arguments, "input", input.ndim(), dtype);
  Shapes shapes{ShapeOf(input), ShapeOf(filter), {}, false, {}};
  const bool output_given = !output_shape_argument.is_none();
  if (output_given) {
    shapes.output = ReadShape("output_shape", output_shape_argument);
  }
  if (output_given && shapes.output.empty()) {
    Invalid("output_shape must have " + std::to_string(input.ndim()) +
            " values, got 0");
  }
  Operands operands;
  py::array bias;
  if (bias_argument) {
    CheckSameDType("bias", *bias_argument, dtype, "input", input_argument);
    bias = Contiguous(*bias_argument);
    shapes.has_bias = true;
    shapes.bias = ShapeOf(bias);
    operands.bias = bias.data();
  }
  operands.input = input.data();
  operands.filter = filter.data();
  return Execute(Operation::kConvTranspose, shapes, attributes, operands,
                 input.dtype(), num_threads, reference);
}

py::array InputGrad(const Arguments& arguments,
                    const py::array& output_grad_argument,
                    const py::array& filter_argument, int num_threads,
                    bool reference) {
  const DType dtype = DTypeOfArray("output_grad", output_grad_argument);
  CheckSameDType("filter", filter_argument, dtype, "output_grad",
                 output_grad_argument);
  const py::array output_grad = Contiguous(output_grad_argument);
  const py::array filter = Contiguous(filter_argument);
  const Attributes attributes =
      ReadArguments(arguments, "output_grad", output_grad.ndim(), dtype);
  Shapes shapes;
  shapes.filter = ShapeOf(filter);
  shapes.output = ShapeOf(output_grad);
  Operands operands;
  operands.output_grad = output_grad.data();
  operands.filter = filter.data();
  return Execute(Operation::kInputGrad, shapes, attributes, operands,
                 output_grad.dtype(), num_threads, reference);
}

py::array FilterGrad(const Arguments& arguments,
                     const py::array& input_argument,
                     const py::object& filter_shape,
                     const py::array& output_grad_argument, int num_threads,
                     bool reference) {
  const DType dtype = DTypeOfArray("input", input_argument);
  CheckSameDType("output_grad", output_grad_argument, dtype, "input",
                 input_argument);
  const py::array input = Contiguous(input_argument);
  const py::array output_grad = Contiguous(output_grad_argument);
  const Attributes attributes =
      ReadArguments(arguments, "input", input.ndim(), dtype);
  Shapes shapes;
  shapes.input = ShapeOf(input);
  shapes.filter = ReadShape("filter_shape", filter_shape);
  shapes.output = ShapeOf(output_grad);
  Operands operands;
  operands.input = input.data();
  operands.output_grad = output_grad.data();
  return Execute(Operation::kFilterGrad, shapes, attributes, operands,
                 input.dtype(), num_threads, reference);
}

}  // namespace conv_transpose_nd
