// AVX2 with FMA: Haswell, Zen and later.
#include "cc/kernels/cpu/target.h"

#if defined(__x86_64__)
#define CT_TARGET avx2
#define CT_TARGET_OPTIONS "avx2,fma,f16c"
#define CT_VECTOR_BYTES 32
#define CT_REGISTERS 16
#define CT_HAS_F16C
#include "cc/kernels/cpu/conv_transpose-inl.h"
#else
namespace conv_transpose_nd::avx2 {
const TargetKernels* Kernels() { return nullptr; }
}  // namespace conv_transpose_nd::avx2
#endif
