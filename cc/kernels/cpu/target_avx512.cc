// AVX-512 (F, BW, DQ, VL): Skylake-SP, Zen 4 and later.
#include "cc/kernels/cpu/target.h"

#if defined(__x86_64__)
#define CT_TARGET avx512
#define CT_TARGET_OPTIONS "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
#define CT_VECTOR_BYTES 64
#define CT_REGISTERS 32
#define CT_HAS_F16C
#include "cc/kernels/cpu/conv_transpose-inl.h"
#else
namespace conv_transpose_nd::avx512 {
const TargetKernels* Kernels() { return nullptr; }
}  // namespace conv_transpose_nd::avx512
#endif
