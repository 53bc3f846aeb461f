// What a compiled XLA program passes to our own CPU kernels: the name of the
// call, and a resolved geometry as integers. Beside step 4 of the path of a
// call, without an OpKernel.
#ifndef CONV_TRANSPOSE_ND_XLA_CALL_H_
#define CONV_TRANSPOSE_ND_XLA_CALL_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cc/core/geometry.h"

namespace conv_transpose_nd {

inline constexpr char kCallTarget[] = "conv_transpose_nd";

// A call of one of the three operations. Its operands are the tensors that
// Operands (cc/kernels/cpu/conv_transpose.h) lists for the operation, in that
// order.
struct Call {
  Operation operation = Operation::kConvTranspose;
  DType dtype = DType::kFloat;
  ConvTransposeGeometry geometry;
};

// The two are inverse to each other. Both sides are in one build, so that the
// order of the integers is nobody else's concern.
std::vector<int64_t> Encode(const Call& call);
// False where `values` is not the work of Encode.
bool Decode(const int64_t* values, size_t size, Call* call);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_XLA_CALL_H_
