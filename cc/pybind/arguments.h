// What the functions of the NumPy module take, and its errors: ValueError with
// the argument, the value received and the rule.
#ifndef CONV_TRANSPOSE_ND_PYBIND_ARGUMENTS_H_
#define CONV_TRANSPOSE_ND_PYBIND_ARGUMENTS_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cc/core/dtype.h"
#include "cc/core/geometry.h"
#include "cc/core/status.h"

namespace conv_transpose_nd {

// int | one value per spatial axis | one value per dimension, in the order of
// data_format.
using Steps = std::variant<int64_t, Dims>;
// 'SAME' ... or one pair per spatial axis or per dimension.
using PaddingArgument =
    std::variant<std::string, std::vector<std::pair<int64_t, int64_t>>>;

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

// Throws what Python knows a status as.
void ThrowIfError(const Status& status);
[[noreturn]] void Invalid(const std::string& message);

// Half and bfloat16 have no C++ type that NumPy knows: they are recognised by
// name (bfloat16 is the extension type of ml_dtypes).
DType DTypeOfArray(const char* name, const pybind11::array& array);
void CheckSameDType(const char* name, const pybind11::array& array, DType dtype,
                    const char* other_name, const pybind11::array& other);

Dims ShapeOf(const pybind11::array& array);
// output_shape or filter_shape: a list, a tuple or an array of integers.
Dims ReadShape(const char* name, const pybind11::object& argument);
// The array itself where it is contiguous, else a copy.
pybind11::array Contiguous(const pybind11::array& array);

// dims: the rank of the argument `name`.
Attributes ReadArguments(const Arguments& arguments, const char* name,
                         int64_t dims, DType dtype);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_PYBIND_ARGUMENTS_H_
