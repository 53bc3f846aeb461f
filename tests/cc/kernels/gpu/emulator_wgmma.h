// wgmma in the emulator. Operands are read from shared memory as their
// descriptors say (PTX ISA, "Strides" and "Canonical layouts", the form of the
// 128-byte swizzle), which shares no code with what fills the tiles. What a GPU
// leaves undefined shows: products read shared memory as late as the wait
// allows or as early as their issue, sums are NaN in between, and a missing
// fence, commit or wait ends the program.
#ifndef CONV_TRANSPOSE_ND_TESTS_KERNELS_GPU_EMULATOR_WGMMA_H_
#define CONV_TRANSPOSE_ND_TESTS_KERNELS_GPU_EMULATOR_WGMMA_H_

#include <cstdint>

#include "cc/core/dtype.h"

namespace emulator {

// One instruction, as every thread of the warpgroup gives it.
struct Wgmma {
  conv_transpose_nd::DType dtype;  // half or bfloat16
  bool along_rows, along_columns;  // what is adjacent: rows, columns; or depth
  uint64_t a, b;                   // descriptors
};

// sums: the 64 registers of the calling thread.
void FenceWgmma(const float* sums);
void IssueWgmma(const Wgmma& wgmma, float* sums);
void CommitWgmma();
void WaitWgmma(float* sums);
// Ends the program if products of the block that ran were not waited for.
void ExpectNoWgmma();

}  // namespace emulator

namespace conv_transpose_nd {
namespace gpu {

inline void FenceWgmma(float (&sums)[64]) { emulator::FenceWgmma(sums); }
inline void CommitWgmma() { emulator::CommitWgmma(); }
inline void WaitWgmma(float (&sums)[64]) { emulator::WaitWgmma(sums); }
template <int kAlongRows, int kAlongColumns>
void WgmmaHalf(float (&sums)[64], uint64_t a, uint64_t b) {
  emulator::IssueWgmma(
      {DType::kHalf, kAlongRows != 0, kAlongColumns != 0, a, b}, sums);
}
template <int kAlongRows, int kAlongColumns>
void WgmmaBFloat16(float (&sums)[64], uint64_t a, uint64_t b) {
  emulator::IssueWgmma(
      {DType::kBFloat16, kAlongRows != 0, kAlongColumns != 0, a, b}, sums);
}

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_KERNELS_GPU_EMULATOR_WGMMA_H_
