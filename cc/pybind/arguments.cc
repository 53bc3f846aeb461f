#include "cc/pybind/arguments.h"

#include <algorithm>
#include <new>

namespace py = pybind11;

namespace conv_transpose_nd {
namespace {

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

}  // namespace

void ThrowIfError(const Status& status) {
  if (status.ok()) return;
  if (status.code() == StatusCode::kResourceExhausted) throw std::bad_alloc();
  throw py::value_error(status.message());
}

[[noreturn]] void Invalid(const std::string& message) {
  throw py::value_error(message);
}

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
  using Integers =
      py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
  const Integers values = Integers::ensure(shape);
  return Dims(values.data(), values.data() + values.size());
}

py::array Contiguous(const py::array& array) {
  return py::reinterpret_steal<py::array>(
      py::detail::npy_api::get().PyArray_FromAny_(array.ptr(), nullptr, 0, 0,
                                                  py::array::c_style, nullptr));
}

void CheckSameDType(const char* name, const py::array& array, DType dtype,
                    const char* other_name, const py::array& other) {
  if (DTypeOfArray(name, array) == dtype) return;
  Invalid(std::string(name) + " must have the dtype of " + other_name + ", " +
          std::string(py::str(other.dtype().attr("name"))) + ", got " +
          std::string(py::str(array.dtype().attr("name"))));
}

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

}  // namespace conv_transpose_nd
