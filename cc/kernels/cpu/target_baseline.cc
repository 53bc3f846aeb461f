// What every processor of the family has: SSE2 on x86-64, NEON on AArch64.
#include "cc/kernels/cpu/target.h"

#define CT_TARGET baseline
#define CT_VECTOR_BYTES 16
#if defined(__aarch64__)
#define CT_REGISTERS 32
#else
#define CT_REGISTERS 16
#endif
#include "cc/kernels/cpu/conv_transpose-inl.h"
