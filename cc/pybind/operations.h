// The three operations on NumPy arrays. reference: by definition, in plain
// loops. num_threads 0: all processors.
#ifndef CONV_TRANSPOSE_ND_PYBIND_OPERATIONS_H_
#define CONV_TRANSPOSE_ND_PYBIND_OPERATIONS_H_

#include <pybind11/numpy.h>

#include <optional>

#include "cc/pybind/arguments.h"

namespace conv_transpose_nd {

pybind11::array ConvTranspose(
    const Arguments& arguments, const pybind11::array& input_argument,
    const pybind11::array& filter_argument,
    const pybind11::object& output_shape_argument,
    const std::optional<pybind11::array>& bias_argument, int num_threads,
    bool reference);

pybind11::array InputGrad(const Arguments& arguments,
                          const pybind11::array& output_grad_argument,
                          const pybind11::array& filter_argument,
                          int num_threads, bool reference);

pybind11::array FilterGrad(const Arguments& arguments,
                           const pybind11::array& input_argument,
                           const pybind11::object& filter_shape,
                           const pybind11::array& output_grad_argument,
                           int num_threads, bool reference);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_PYBIND_OPERATIONS_H_
