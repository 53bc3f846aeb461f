// What TensorFlow's profiler shows of a call, inside the event that TensorFlow
// itself records for the op: the plan, the work, and the shapes.
#ifndef CONV_TRANSPOSE_ND_KERNELS_TRACE_H_
#define CONV_TRANSPOSE_ND_KERNELS_TRACE_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "cc/core/plan.h"
#include "tensorflow/core/profiler/lib/traceme.h"

namespace conv_transpose_nd {

// Every operand read once, the result written once.
inline int64_t OperandBytes(const Plan& plan) {
  return (NumElements(plan.call.InputDims()) +
          NumElements(plan.call.FilterDims()) +
          NumElements(plan.call.OutputDims())) *
         SizeOf(plan.dtype);
}

// The profiler splits metadata at commas, but not between quotes.
inline std::string ShapeText(const Dims& dims) {
  return absl::StrCat("\"[", absl::StrJoin(dims, ", "), "]\"");
}

// Made only while a profiler records. `type` names the op; `name`, its node.
inline std::string TraceText(absl::string_view type, absl::string_view name,
                             const Plan& plan) {
  const ConvTransposeGeometry& geometry = plan.call;
  return tsl::profiler::TraceMeEncode(
      absl::StrCat(type, " ", KernelFamilyName(plan.family)),
      {{"node", name},
       {"plan", KernelFamilyName(plan.family)},
       {"target", plan.target.name},
       {"reason", absl::StrCat("\"", plan.reason, "\"")},
       {"flops", static_cast<int64_t>(2 * plan.multiply_adds)},
       {"bytes", OperandBytes(plan)},
       {"phases", plan.phases},
       {"input", ShapeText(geometry.InputDims())},
       {"filter", ShapeText(geometry.FilterDims())},
       {"output", ShapeText(geometry.OutputDims())}});
}

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_TRACE_H_
