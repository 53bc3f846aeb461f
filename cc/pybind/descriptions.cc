#include "cc/pybind/descriptions.h"

#include <algorithm>

#include "cc/core/plan.h"
#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/kernels/cpu/machine.h"

namespace py = pybind11;

namespace conv_transpose_nd {
namespace {

DType DTypeOfName(const std::string& name) {
  if (name == "float32") return DType::kFloat;
  if (name == "float64") return DType::kDouble;
  if (name == "float16") return DType::kHalf;
  if (name == "bfloat16") return DType::kBFloat16;
  if (name == "int32") return DType::kInt32;
  Invalid("dtype must be float16, bfloat16, float32, float64 or int32, got " +
          name);
}

ConvTransposeGeometry GeometryOf(const Arguments& arguments, const Dims& input,
                                 const Dims& filter,
                                 const std::optional<Dims>& output_shape,
                                 DType dtype) {
  const Attributes attributes =
      ReadArguments(arguments, "input_shape", input.size(), dtype);
  const Shapes shapes{input, filter, output_shape.value_or(Dims()), false, {}};
  ConvTransposeGeometry geometry;
  ThrowIfError(ResolveGeometry(Operation::kConvTranspose, shapes, attributes,
                               &geometry));
  return geometry;
}

Operation OperationOfName(const std::string& name) {
  if (name == "conv_transpose") return Operation::kConvTranspose;
  if (name == "input_grad") return Operation::kInputGrad;
  if (name == "filter_grad") return Operation::kFilterGrad;
  Invalid(
      "operation must be 'conv_transpose', 'input_grad' or 'filter_grad', got "
      "'" +
      name + "'");
}

// A plan lists the taps of each axis. Here no filter exists that bounds them.
void CheckFilterCouldExist(const ConvTransposeGeometry& geometry) {
  constexpr int64_t kMaxTaps = int64_t{1} << 24;
  for (int a = 0; a < geometry.rank; ++a) {
    const int64_t length = geometry.axis[a].filter;
    if (length <= kMaxTaps) continue;
    Invalid("filter_shape[" + std::to_string(a) + "] must be <= " +
            std::to_string(kMaxTaps) + ", got " + std::to_string(length));
  }
  const int64_t elements = NumElements(geometry.FilterDims());
  if (elements > kMaxPlannedFilter) {
    Invalid("filter_shape must have at most 2^47 elements, got " +
            std::to_string(elements));
  }
}

}  // namespace

py::dict GeometryDict(const Arguments& arguments, const Dims& input,
                      const Dims& filter,
                      const std::optional<Dims>& output_shape) {
  const auto geometry =
      GeometryOf(arguments, input, filter, output_shape, DType::kFloat);
  Dims pads_before, pads_after, phases;
  for (int a = 0; a < geometry.rank; ++a) {
    pads_before.push_back(geometry.axis[a].pad_before);
    pads_after.push_back(geometry.axis[a].pad_after);
    phases.push_back(
        std::min(geometry.axis[a].stride, geometry.axis[a].output));
  }
  py::dict result;
  result["rank"] = geometry.rank;
  result["batch"] = geometry.batch;
  result["in_channels"] = geometry.in_channels;
  result["out_channels"] = geometry.out_channels;
  result["groups"] = geometry.groups;
  result["input_shape"] = geometry.InputDims();
  result["filter_shape"] = geometry.FilterDims();
  result["output_shape"] = geometry.OutputDims();
  result["pad_before"] = pads_before;
  result["pad_after"] = pads_after;
  result["phases"] = phases;
  return result;
}

py::dict PlanDict(const Arguments& arguments, const Dims& input,
                  const Dims& filter, const std::optional<Dims>& output_shape,
                  const std::string& operation, const std::string& dtype_name) {
  const DType dtype = DTypeOfName(dtype_name);
  const ConvTransposeGeometry geometry =
      GeometryOf(arguments, input, filter, output_shape, dtype);
  CheckFilterCouldExist(geometry);
  const Plan plan = PlanFor(OperationOfName(operation), geometry, dtype);
  py::dict result;
  result["operation"] = operation;
  result["family"] = KernelFamilyName(plan.family);
  result["target"] = plan.target.name;
  result["reason"] = plan.reason;
  result["folded"] = plan.folded;
  result["phases"] = plan.phases;
  result["units"] = plan.units;
  result["multiply_adds"] = plan.multiply_adds;
  result["shared_bytes"] = plan.shared_bytes;
  result["packed_bytes"] = plan.packed_bytes;
  result["scratch_bytes"] = plan.scratch_bytes;
  return result;
}

py::dict MachineDict(int num_threads) {
  if (num_threads < 1)
    Invalid("num_threads must be >= 1, got " + std::to_string(num_threads));
  MachineLimits limits;
  {
    py::gil_scoped_release release;
    limits = MeasureMachine(num_threads);
  }
  py::dict gflops, isa, result;
  gflops["float32"] = limits.float32.gflops;
  // Its operands are converted and multiplied as float32.
  gflops["float16"] = limits.float32.gflops;
  gflops["bfloat16"] = limits.bfloat16.gflops;
  gflops["float64"] = limits.float64.gflops;
  isa["float32"] = limits.float32.isa;
  isa["bfloat16"] = limits.bfloat16.isa;
  py::list copy;
  for (const MachineLimits::Copy& one : limits.copies)
    copy.append(py::make_tuple(one.bytes, one.gbytes));
  result["gflops"] = gflops;
  result["copy"] = copy;
  result["isa"] = isa;
  return result;
}

}  // namespace conv_transpose_nd
