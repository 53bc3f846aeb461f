// AVX-512 with BF16: Cooper Lake, Sapphire Rapids, Zen 4 and later. Wide
// bfloat16 calls multiply pairs; everything else is what AVX-512 runs.
#include "cc/kernels/cpu/target.h"

#if defined(__x86_64__)
#define CT_TARGET avx512_bf16
#define CT_TARGET_OPTIONS \
  "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c"
#define CT_VECTOR_BYTES 64
#define CT_REGISTERS 32
#define CT_HAS_F16C
#define CT_BFLOAT16_PAIRS
#define CT_OTHERWISE avx512
#include "cc/kernels/cpu/conv_transpose-inl.h"
#else
namespace conv_transpose_nd::avx512_bf16 {
const TargetKernels* Kernels() { return nullptr; }
}  // namespace conv_transpose_nd::avx512_bf16
#endif
