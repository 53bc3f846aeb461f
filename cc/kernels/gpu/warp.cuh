// The instructions that work on shared memory, asynchronously or for a whole
// warp, one function each: PTX here, plain loops in the tests' emulator.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_WARP_CUH_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_WARP_CUH_

#include "cc/kernels/gpu/device.cuh"

namespace conv_transpose_nd {
namespace gpu {

#ifndef CONV_TRANSPOSE_ND_EMULATED

CT_DEVICE unsigned char* SharedMemory() {
  extern __shared__ __align__(128) unsigned char ct_shared[];
  return ct_shared;
}

CT_DEVICE uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

#if __CUDA_ARCH__ >= 800
// 16 bytes; zeros where `zero`, which reads nothing.
CT_DEVICE void CopyAsync16(void* shared, const void* global, bool zero) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   SharedAddress(shared)),
               "l"(global), "r"(zero ? 0 : 16)
               : "memory");
}
CT_DEVICE void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kPending>
CT_DEVICE void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
#endif

// Four 8 x 8 matrices of 2-byte elements. Lane l gives the address of row l % 8
// of matrix l / 8, and gets elements 2 * (l % 4) and the next of row l / 4 of
// each; of the transposed matrices with `transposed`.
template <bool transposed>
CT_DEVICE void LoadMatrices(const void* row, uint32_t (&fragment)[4]) {
  if (transposed) {
    asm volatile(
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]),
          "=r"(fragment[3])
        : "r"(SharedAddress(row))
        : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]),
                   "=r"(fragment[3])
                 : "r"(SharedAddress(row))
                 : "memory");
  }
}

#if __CUDA_ARCH__ >= 800
// sum += a * b, in float: m16n8k16 of half or bfloat16, m16n8k8 of TF32.
#define CT_MMA(name, shape)                                               \
  CT_DEVICE void name(const uint32_t(&a)[4], uint32_t b0, uint32_t b1,    \
                      float(&sum)[4]) {                                   \
    asm volatile("mma.sync.aligned." shape                                \
                 " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]) \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0),   \
                   "r"(b1));                                              \
  }
CT_MMA(MmaHalf, "m16n8k16.row.col.f32.f16.f16.f32")
CT_MMA(MmaBFloat16, "m16n8k16.row.col.f32.bf16.bf16.f32")
CT_MMA(MmaTf32, "m16n8k8.row.col.f32.tf32.tf32.f32")
#undef CT_MMA

// m16n8k8 of double, laid out as TF32's: one instruction from sm_90 on, four
// m8n8k4 before.
#if __CUDA_ARCH__ >= 900
CT_DEVICE void MmaDouble(const double (&a)[4], double b0, double b1,
                         double (&sum)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64"
      " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+d"(sum[0]), "+d"(sum[1]), "+d"(sum[2]), "+d"(sum[3])
      : "d"(a[0]), "d"(a[1]), "d"(a[2]), "d"(a[3]), "d"(b0), "d"(b1));
}
#else
CT_DEVICE void MmaDouble8(double a, double b, double* sum) {
  asm volatile(
      "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64"
      " {%0,%1}, {%2}, {%3}, {%0,%1};"
      : "+d"(sum[0]), "+d"(sum[1])
      : "d"(a), "d"(b));
}
CT_DEVICE void MmaDouble(const double (&a)[4], double b0, double b1,
                         double (&sum)[4]) {
  MmaDouble8(a[0], b0, sum);
  MmaDouble8(a[1], b0, sum + 2);
  MmaDouble8(a[2], b1, sum);
  MmaDouble8(a[3], b1, sum + 2);
}
#endif

// To the 10 bits of mantissa that TF32 multiplies, ties away from zero.
CT_DEVICE uint32_t RoundTf32(uint32_t bits) {
  uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(BitsToFloat(bits)));
  return result;
}
#endif

#endif  // CONV_TRANSPOSE_ND_EMULATED

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_WARP_CUH_
