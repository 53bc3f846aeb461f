// conv_transpose_nd.core: geometry, plan and the three operations on NumPy
// arrays, without TensorFlow. Arrays that are contiguous and of a supported
// dtype are used in place.
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <variant>

#include "cc/core/geometry.h"
#include "cc/core/plan.h"
#include "cc/core/reference.h"
#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/kernels/cpu/machine.h"
#include "cc/pybind/thread_pool.h"

namespace py = pybind11;

namespace conv_transpose_nd {
namespace {

// int | one value per spatial axis | one value per dimension, in the order of
// data_format.
using Steps = std::variant<int64_t, Dims>;
// 'SAME' ... or one pair per spatial axis or per dimension.
using PaddingArgument =
    std::variant<std::string, std::vector<std::pair<int64_t, int64_t>>>;

void ThrowIfError(const Status& status) {
  if (status.ok()) return;
  if (status.code() == StatusCode::kResourceExhausted) throw std::bad_alloc();
  throw py::value_error(status.message());
}

[[noreturn]] void Invalid(const std::string& message) {
  throw py::value_error(message);
}

// Half and bfloat16 have no C++ type that NumPy knows: they are recognised by
// name (bfloat16 is the extension type of ml_dtypes).
DType DTypeOfArray(const char* name, const py::array& array) {
  const std::string dtype = py::str(array.dtype().attr("name"));
  if (dtype == "float32") return DType::kFloat;
  if (dtype == "float64") return DType::kDouble;
  if (dtype == "float16") return DType::kHalf;
  if (dtype == "bfloat16") return DType::kBFloat16;
  if (dtype == "int32") return DType::kInt32;
  Invalid(
      std::string(name) +
      " must have dtype float16, bfloat16, float32, float64 or int32, got " +
      dtype);
}

Dims ShapeOf(const py::array& array) {
  return Dims(array.shape(), array.shape() + array.ndim());
}

// output_shape or filter_shape: a list, a tuple or an array of integers.
Dims ReadShape(const char* name, const py::object& argument) {
  const py::array shape = py::array::ensure(argument);
  if (!shape) throw py::error_already_set();
  if (shape.ndim() != 1) {
    Invalid(std::string(name) + " must have rank 1, got rank " +
            std::to_string(shape.ndim()));
  }
  const char kind = shape.dtype().kind();
  if (shape.size() > 0 && kind != 'i' && kind != 'u') {
    Invalid(std::string(name) + " must hold integers below 2^63, got " +
            std::string(py::str(argument)));
  }
  const auto values = py::array_t < int64_t,
             py::array::c_style | py::array::forcecast > ::ensure(shape);
  return Dims(values.data(), values.data() + values.size());
}

py::array Contiguous(const py::array& array) {
  return py::reinterpret_steal<py::array>(
      py::detail::npy_api::get().PyArray_FromAny_(array.ptr(), nullptr, 0, 0,
                                                  py::array::c_style, nullptr));
}

// What every function takes, before the rank is known.
struct Arguments {
  Steps strides = int64_t{1};
  PaddingArgument padding = std::string("SAME");
  std::optional<Steps> output_padding;
  Steps dilations = int64_t{1};
  int64_t groups = 1;
  std::string data_format = "CHANNELS_LAST";
  std::string activation = "none";
};

Dims ExpandSteps(const char* name, const Steps& steps, int rank,
                 DataFormat format) {
  Dims values(rank + 2, 1);
  const int first = format == DataFormat::kChannelsLast ? 1 : 2;
  if (const int64_t* one = std::get_if<int64_t>(&steps)) {
    std::fill_n(values.begin() + first, rank, *one);
    return values;
  }
  const Dims& given = std::get<Dims>(steps);
  const int count = static_cast<int>(given.size());
  if (count == rank + 2) return given;
  if (count != 1 && count != rank) {
    Invalid(std::string(name) + " must have 1, " + std::to_string(rank) +
            " or " + std::to_string(rank + 2) + " values, got " +
            std::to_string(count));
  }
  for (int a = 0; a < rank; ++a) values[first + a] = given[count == 1 ? 0 : a];
  return values;
}

void ReadPadding(const PaddingArgument& argument, int rank,
                 Attributes* attributes) {
  if (const std::string* name = std::get_if<std::string>(&argument)) {
    if (*name == "SAME") {
      attributes->padding = Padding::kSame;
    } else if (*name == "SAME_LOWER") {
      attributes->padding = Padding::kSameLower;
    } else if (*name == "VALID") {
      attributes->padding = Padding::kValid;
    } else {
      Invalid(
          "padding must be 'SAME', 'VALID', 'SAME_LOWER' or a list of pairs, "
          "got '" +
          *name + "'");
    }
    return;
  }
  const auto& pairs = std::get<1>(argument);
  const int count = static_cast<int>(pairs.size());
  if (count != rank && count != rank + 2) {
    Invalid("padding must have " + std::to_string(rank) + " or " +
            std::to_string(rank + 2) + " pairs, got " + std::to_string(count));
  }
  attributes->padding = Padding::kExplicit;
  attributes->explicit_paddings.assign(2 * (rank + 2), 0);
  const int first = count == rank + 2                                      ? 0
                    : attributes->data_format == DataFormat::kChannelsLast ? 1
                                                                           : 2;
  for (int i = 0; i < count; ++i) {
    attributes->explicit_paddings[2 * (first + i)] = pairs[i].first;
    attributes->explicit_paddings[2 * (first + i) + 1] = pairs[i].second;
  }
}

// dims: the rank of the argument `name`.
Attributes ReadArguments(const Arguments& arguments, const char* name,
                         int64_t dims, DType dtype) {
  if (dims < 3 || dims > kMaxRank + 2) {
    Invalid(std::string(name) + " must have rank 3 to " +
            std::to_string(kMaxRank + 2) + ", got rank " +
            std::to_string(dims));
  }
  const int rank = static_cast<int>(dims) - 2;
  Attributes attributes;
  attributes.dtype = dtype;
  if (arguments.data_format == "CHANNELS_FIRST") {
    attributes.data_format = DataFormat::kChannelsFirst;
  } else if (arguments.data_format != "CHANNELS_LAST") {
    Invalid("data_format must be 'CHANNELS_LAST' or 'CHANNELS_FIRST', got '" +
            arguments.data_format + "'");
  }
  attributes.strides =
      ExpandSteps("strides", arguments.strides, rank, attributes.data_format);
  attributes.dilations = ExpandSteps("dilations", arguments.dilations, rank,
                                     attributes.data_format);
  ReadPadding(arguments.padding, rank, &attributes);
  if (arguments.output_padding) {
    if (const int64_t* one = std::get_if<int64_t>(&*arguments.output_padding)) {
      attributes.output_padding.assign(rank, *one);
    } else {
      attributes.output_padding = std::get<Dims>(*arguments.output_padding);
    }
  }
  attributes.groups = arguments.groups;
  if (!ParseActivation(arguments.activation, &attributes.activation)) {
    Invalid(
        "activation must be one of 'none', 'relu', 'relu6', 'leaky_relu', "
        "'elu', 'gelu', "
        "'gelu_tanh', 'sigmoid', 'tanh', 'silu', got '" +
        arguments.activation + "'");
  }
  return attributes;
}

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};

// Asks for huge pages where memory is that large: touching fresh memory page by
// page took 22 ms for 64 MB, 5 ms this way (Linux 5.10, a Sapphire Rapids
// core).
void AdviseHugePages(void* p, int64_t bytes) {
#ifdef __linux__
  constexpr uintptr_t kPage = uintptr_t{1} << 21;
  const auto begin =
      (reinterpret_cast<uintptr_t>(p) + kPage - 1) & ~(kPage - 1);
  const auto end = (reinterpret_cast<uintptr_t>(p) + bytes) & ~(kPage - 1);
  if (begin < end)
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

std::unique_ptr<void, FreeDeleter> AllocateWorkspace(int64_t bytes) {
  void* p =
      std::aligned_alloc(64, (std::max<int64_t>(bytes, 1) + 63) / 64 * 64);
  if (p == nullptr) throw std::bad_alloc();
  AdviseHugePages(p, bytes);
  return std::unique_ptr<void, FreeDeleter>(p);
}

// An array on a boundary of 64 bytes, so that no vector that the kernels store
// crosses cache lines; NumPy's own arrays are 16 bytes off it.
py::array AllocateResult(const py::dtype& dtype, const Dims& dims) {
  auto memory = AllocateWorkspace(NumElements(dims) * dtype.itemsize());
  const py::capsule owner(memory.get(), [](void* p) { std::free(p); });
  return py::array(dtype, dims, memory.release(), owner);
}

template <typename T>
void RunReference(const Plan& plan, const Operands& operands) {
  const auto* input = static_cast<const T*>(operands.input);
  const auto* filter = static_cast<const T*>(operands.filter);
  const auto* output_grad = static_cast<const T*>(operands.output_grad);
  auto* result = static_cast<T*>(operands.result);
  switch (plan.operation) {
    case Operation::kInputGrad:
      return reference::InputGrad(plan.geometry, output_grad, filter, result);
    case Operation::kFilterGrad:
      return reference::FilterGrad(plan.geometry, input, output_grad, result);
    default:
      return reference::ConvTranspose(plan.geometry, input, filter,
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

// Allocates the result and runs without the interpreter lock. num_threads 0:
// all processors.
py::array Execute(const Plan& plan, Operands operands, const Dims& result_dims,
                  const py::dtype& dtype, int num_threads, bool reference) {
  if (num_threads < 0)
    Invalid("num_threads must be >= 0, got " + std::to_string(num_threads));
  py::array result = AllocateResult(dtype, result_dims);
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

void CheckSameDType(const char* name, const py::array& array, DType dtype,
                    const char* other_name, const py::array& other) {
  if (DTypeOfArray(name, array) == dtype) return;
  Invalid(std::string(name) + " must have the dtype of " + other_name + ", " +
          std::string(py::str(other.dtype().attr("name"))) + ", got " +
          std::string(py::str(array.dtype().attr("name"))));
}

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
  ConvTransposeGeometry geometry;
  ThrowIfError(ResolveGeometry(Operation::kConvTranspose, shapes, attributes,
                               &geometry));
  operands.input = input.data();
  operands.filter = filter.data();
  return Execute(PlanFor(Operation::kConvTranspose, geometry, dtype), operands,
                 geometry.OutputDims(), input.dtype(), num_threads, reference);
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
  ConvTransposeGeometry geometry;
  ThrowIfError(
      ResolveGeometry(Operation::kInputGrad, shapes, attributes, &geometry));
  Operands operands;
  operands.output_grad = output_grad.data();
  operands.filter = filter.data();
  return Execute(PlanFor(Operation::kInputGrad, geometry, dtype), operands,
                 geometry.InputDims(), output_grad.dtype(), num_threads,
                 reference);
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
  ConvTransposeGeometry geometry;
  ThrowIfError(
      ResolveGeometry(Operation::kFilterGrad, shapes, attributes, &geometry));
  Operands operands;
  operands.input = input.data();
  operands.output_grad = output_grad.data();
  return Execute(PlanFor(Operation::kFilterGrad, geometry, dtype), operands,
                 geometry.FilterDims(), input.dtype(), num_threads, reference);
}

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

void SetTarget(const std::string& name) {
  if (ChooseTarget(name)) return;
  std::string known;
  for (const std::string& target : SupportedTargets()) known += " " + target;
  Invalid("target must be one of" + known + ", got " + name);
}

void SetFamily(const std::optional<std::string>& name) {
  if (!name) return ForceFamily(KernelFamily::kNone);
  for (KernelFamily family :
       {KernelFamily::kChannelLanes, KernelFamily::kPixelLanes,
        KernelFamily::kPixelTiles, KernelFamily::kWinograd,
        KernelFamily::kChannelwise}) {
    if (*name == KernelFamilyName(family)) return ForceFamily(family);
  }
  Invalid(
      "family must be None, 'channel_lanes', 'pixel_lanes', 'pixel_tiles', "
      "'winograd' or "
      "'channelwise', got '" +
      *name + "'");
}

Arguments Pack(Steps strides, PaddingArgument padding,
               std::optional<Steps> output_padding, Steps dilations,
               int64_t groups, std::string data_format,
               std::string activation) {
  return {std::move(strides),
          std::move(padding),
          std::move(output_padding),
          std::move(dilations),
          groups,
          std::move(data_format),
          std::move(activation)};
}

void DefineConvTranspose(py::module_& m, const char* name, bool reference,
                         const char* doc) {
  m.def(
      name,
      [reference](const py::array& input, const py::array& filter,
                  const py::object& output_shape, Steps strides,
                  PaddingArgument padding, std::optional<Steps> output_padding,
                  Steps dilations, int64_t groups, std::string data_format,
                  const std::optional<py::array>& bias, std::string activation,
                  int num_threads) {
        return ConvTranspose(Pack(strides, padding, output_padding, dilations,
                                  groups, data_format, activation),
                             input, filter, output_shape, bias, num_threads,
                             reference);
      },
      py::arg("input"), py::arg("filter"), py::kw_only(),
      py::arg("output_shape") = py::none(), py::arg("strides") = 1,
      py::arg("padding") = "SAME", py::arg("output_padding") = py::none(),
      py::arg("dilations") = 1, py::arg("groups") = 1,
      py::arg("data_format") = "CHANNELS_LAST", py::arg("bias") = py::none(),
      py::arg("activation") = "none", py::arg("num_threads") = 0, doc);
}

void DefineInputGrad(py::module_& m, const char* name, bool reference,
                     const char* doc) {
  m.def(
      name,
      [reference](const py::array& output_grad, const py::array& filter,
                  Steps strides, PaddingArgument padding, Steps dilations,
                  int64_t groups, std::string data_format, int num_threads) {
        return InputGrad(
            Pack(strides, padding, {}, dilations, groups, data_format, "none"),
            output_grad, filter, num_threads, reference);
      },
      py::arg("output_grad"), py::arg("filter"), py::kw_only(),
      py::arg("strides") = 1, py::arg("padding") = "SAME",
      py::arg("dilations") = 1, py::arg("groups") = 1,
      py::arg("data_format") = "CHANNELS_LAST", py::arg("num_threads") = 0,
      doc);
}

void DefineFilterGrad(py::module_& m, const char* name, bool reference,
                      const char* doc) {
  m.def(
      name,
      [reference](const py::array& input, const py::object& filter_shape,
                  const py::array& output_grad, Steps strides,
                  PaddingArgument padding, Steps dilations, int64_t groups,
                  std::string data_format, int num_threads) {
        return FilterGrad(
            Pack(strides, padding, {}, dilations, groups, data_format, "none"),
            input, filter_shape, output_grad, num_threads, reference);
      },
      py::arg("input"), py::arg("filter_shape"), py::arg("output_grad"),
      py::kw_only(), py::arg("strides") = 1, py::arg("padding") = "SAME",
      py::arg("dilations") = 1, py::arg("groups") = 1,
      py::arg("data_format") = "CHANNELS_LAST", py::arg("num_threads") = 0,
      doc);
}

void DefineDescriptions(py::module_& m) {
  m.def(
      "geometry",
      [](const Dims& input_shape, const Dims& filter_shape,
         const std::optional<Dims>& output_shape, Steps strides,
         PaddingArgument padding, std::optional<Steps> output_padding,
         Steps dilations, int64_t groups, std::string data_format) {
        return GeometryDict(Pack(strides, padding, output_padding, dilations,
                                 groups, data_format, "none"),
                            input_shape, filter_shape, output_shape);
      },
      py::arg("input_shape"), py::arg("filter_shape"), py::kw_only(),
      py::arg("output_shape") = py::none(), py::arg("strides") = 1,
      py::arg("padding") = "SAME", py::arg("output_padding") = py::none(),
      py::arg("dilations") = 1, py::arg("groups") = 1,
      py::arg("data_format") = "CHANNELS_LAST",
      "Resolved lengths, pads and phases of a call with these shapes, as a "
      "dict.");
  m.def(
      "plan",
      [](const Dims& input_shape, const Dims& filter_shape,
         const std::optional<Dims>& output_shape, Steps strides,
         PaddingArgument padding, std::optional<Steps> output_padding,
         Steps dilations, int64_t groups, std::string data_format,
         std::string operation, std::string dtype) {
        return PlanDict(Pack(strides, padding, output_padding, dilations,
                             groups, data_format, "none"),
                        input_shape, filter_shape, output_shape, operation,
                        dtype);
      },
      py::arg("input_shape"), py::arg("filter_shape"), py::kw_only(),
      py::arg("output_shape") = py::none(), py::arg("strides") = 1,
      py::arg("padding") = "SAME", py::arg("output_padding") = py::none(),
      py::arg("dilations") = 1, py::arg("groups") = 1,
      py::arg("data_format") = "CHANNELS_LAST",
      py::arg("operation") = "conv_transpose", py::arg("dtype") = "float32",
      "Kernel family, blocks, memory in bytes and the reason for a call, as a "
      "dict.");
  m.def("machine", &MachineDict, py::arg("num_threads") = 1,
        "Measures, for about a second, what this many threads can do at most: "
        "'gflops' by dtype, 'copy' as pairs of bytes and GB/s, 'isa'.");
  m.def("targets", &SupportedTargets,
        "Instruction sets that this machine runs, best first.");
  m.def(
      "target", [] { return std::string(ChosenTarget().name); },
      "The instruction set in use; see CONV_TRANSPOSE_ND_TARGET.");
  m.def("force_family", &SetFamily, py::arg("family"),
        "Uses this kernel family wherever it can run, None: the fastest. For "
        "tests.");
  m.def("set_target", &SetTarget, py::arg("name"),
        "Uses this instruction set from now on. ValueError where the machine "
        "lacks it.");
}

}  // namespace
}  // namespace conv_transpose_nd

PYBIND11_MODULE(core, m, py::mod_gil_not_used()) {
  using namespace conv_transpose_nd;  // NOLINT(build/namespaces)
  m.doc() =
      "Transposed convolution of NumPy arrays, its gradients, and how they are "
      "computed.";
  DefineConvTranspose(
      m, "conv_transpose", false,
      "Transposed convolution: output[n, o, co] = activation(bias[co] + sum of "
      "input[n, i, ci] * filter[k, co, ci] over o + pad_before = i * stride + "
      "k * "
      "dilation).");
  DefineConvTranspose(m, "reference_conv_transpose", true,
                      "conv_transpose by plain loops with sums in double.");
  DefineInputGrad(m, "input_grad", false,
                  "Gradient of conv_transpose with respect to input: a strided "
                  "convolution.");
  DefineInputGrad(m, "reference_input_grad", true,
                  "input_grad by plain loops, sums in double.");
  DefineFilterGrad(m, "filter_grad", false,
                   "Gradient of conv_transpose with respect to filter.");
  DefineFilterGrad(m, "reference_filter_grad", true,
                   "filter_grad by plain loops with sums in double.");
  DefineDescriptions(m);
}
