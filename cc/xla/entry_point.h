// The entry point of XLA's typed custom calls, where this TensorFlow has it.
#ifndef CONV_TRANSPOSE_ND_XLA_ENTRY_POINT_H_
#define CONV_TRANSPOSE_ND_XLA_ENTRY_POINT_H_

#include "xla/ffi/api/c_api.h"

// Weak: the framework library of the distribution `tensorflow` exports it, that
// of `tensorflow-cpu` (2.18 to 2.21) does not, and would not load the op.
extern "C" __attribute__((weak)) const XLA_FFI_Api* XLA_FFI_GetApi();

namespace conv_transpose_nd {

// Without it the op is compiled to XLA's own convolution.
inline bool HasCustomCalls() { return &XLA_FFI_GetApi != nullptr; }

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_XLA_ENTRY_POINT_H_
