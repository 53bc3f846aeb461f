// The three operations in XLA's own terms, for every device that XLA knows.
//
// XLA's convolution holds all of them: our stride is its lhs_dilation where the
// input is spread, its window stride where the output is read, and its
// rhs_dilation where the input takes the place of a filter.
#ifndef CONV_TRANSPOSE_ND_XLA_LOWERING_H_
#define CONV_TRANSPOSE_ND_XLA_LOWERING_H_

#include <vector>

#include "cc/xla/call.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape.h"

namespace conv_transpose_nd {

// The shape of the result, row-major, of the operands' type.
xla::Shape ResultShape(const Call& call, xla::PrimitiveType type);

// operands: those of `call`. Sums of 16-bit types are in float32.
xla::XlaOp LowerToHlo(const Call& call,
                      const std::vector<xla::XlaOp>& operands);

// The same as one call of the CPU kernels (handler.cc).
xla::XlaOp LowerToCall(const Call& call,
                       const std::vector<xla::XlaOp>& operands);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_XLA_LOWERING_H_
