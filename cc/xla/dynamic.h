// Lengths that XLA knows as a bound only, and replaces while a program runs
// (after tf.boolean_mask, for example): the operation on tensors of the bounds,
// zeros behind the true ends, cut where the result truly ends.
#ifndef CONV_TRANSPOSE_ND_XLA_DYNAMIC_H_
#define CONV_TRANSPOSE_ND_XLA_DYNAMIC_H_

#include <vector>

#include "absl/status/statusor.h"
#include "cc/xla/call.h"
#include "xla/hlo/builder/xla_builder.h"

namespace conv_transpose_nd {

// A call whose geometry was resolved for the bounds.
struct DynamicCall {
  Call call;
  Padding padding = Padding::kValid;
  std::vector<xla::XlaOp> operands;
  // The argument of ConvTransposeND, or null where it was inferred.
  const xla::XlaOp* output_shape = nullptr;
  bool call_kernels = false;
};

absl::StatusOr<xla::XlaOp> LowerDynamic(const DynamicCall& dynamic);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_XLA_DYNAMIC_H_
