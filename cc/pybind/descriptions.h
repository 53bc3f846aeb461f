// What a call would be and do, and what the machine can do, as dictionaries.
#ifndef CONV_TRANSPOSE_ND_PYBIND_DESCRIPTIONS_H_
#define CONV_TRANSPOSE_ND_PYBIND_DESCRIPTIONS_H_

#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "cc/pybind/arguments.h"

namespace conv_transpose_nd {

pybind11::dict GeometryDict(const Arguments& arguments, const Dims& input,
                            const Dims& filter,
                            const std::optional<Dims>& output_shape);

pybind11::dict PlanDict(const Arguments& arguments, const Dims& input,
                        const Dims& filter,
                        const std::optional<Dims>& output_shape,
                        const std::string& operation,
                        const std::string& dtype_name);

pybind11::dict MachineDict(int num_threads);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_PYBIND_DESCRIPTIONS_H_
