// What every target_*.cc provides, and the list of them. Step 5 of the path of
// a call.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_TARGET_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_TARGET_H_

#include "cc/kernels/cpu/conv_transpose.h"

namespace conv_transpose_nd {

using RunFunction = void (*)(const Plan& plan, const Operands& operands,
                             void* workspace, const ParallelFor& parallel_for);

using PackFunction = void (*)(const Plan& plan, const void* filter,
                              void* packed, const ParallelFor& parallel_for);

struct TargetKernels {
  TargetInfo info;
  RunFunction run[5];  // by DType
  PackFunction pack[5];
};

// Null where the library was compiled for another processor family.
namespace avx512_bf16 {
const TargetKernels* Kernels();
}
namespace avx512 {
const TargetKernels* Kernels();
}
namespace avx2 {
const TargetKernels* Kernels();
}
namespace baseline {
const TargetKernels* Kernels();
}

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_TARGET_H_
