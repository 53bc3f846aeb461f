// Runs device code on the CPU: include this first, then the .cu files.
//
// The threads of a block are fibers that take turns at barriers, so that
// kernels with barriers, warp-wide instructions and asynchronous copies run as
// they are written. What a GPU leaves undefined shows: shared memory starts as
// NaN, a copy lands as late as its wait allows or as early as its issue,
// threads run first to last or last to first, warps or warpgroups as far ahead
// of the others as barriers let them, and threads that wait for different
// things end the program.
#ifndef CONV_TRANSPOSE_ND_TESTS_KERNELS_GPU_EMULATOR_H_
#define CONV_TRANSPOSE_ND_TESTS_KERNELS_GPU_EMULATOR_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cc/core/dtype.h"
#include "cc/kernels/gpu/program.h"

#define CONV_TRANSPOSE_ND_EMULATED
#define __device__
#define __global__
#define __host__
#define __forceinline__ inline

namespace emulator {

struct Dim3 {
  unsigned x, y, z;
};
extern Dim3 thread_index, block_index, block_size, grid_size;

// Of the block that runs.
unsigned char* SharedMemory();
void BlockBarrier();
bool BlockOr(bool value);

// Calls work(arguments of the 32 lanes, by lane) once all lanes of the warp
// have come here with one argument each.
void Warp(void* argument, void (*work)(void* const* arguments));

// The same for the 128 threads of a warpgroup, and its number.
void Warpgroup(void* argument, void (*work)(void* const* arguments));
int CurrentWarpgroup();

// cp.async and its groups.
void CopyAsync(void* shared, const void* global, int bytes, bool zero);
void CommitCopies();
void WaitCopies(int pending_groups);
bool EarlyCopies();

// Copies that a thread has waited for are visible to wgmma once it has fenced
// them. True where all threads have.
void FenceCopies();
bool CopiesAreFenced();

// Shared memory does not begin at address 0, nor at a multiple of 1024.
uint32_t SharedAddress(const void* shared);
// Ends the program where `bytes` from there on are not the block's.
const unsigned char* AtSharedAddress(uint32_t address, int bytes);

[[noreturn]] void Die(const char* message);

using Entry = void (*)(const void* params, const void* first,
                       const void* second, const void* bias, void* result,
                       void* workspace);
struct Registration {
  Registration(const char* name, int threads, int64_t params_bytes,
               Entry entry);
};

// Bytes of the parameters of a kernel; -1 where it is unknown.
int64_t ParamsBytes(const char* kernel);

struct Options {
  bool last_to_first = false;  // order of blocks, and of threads
  bool early_copies = false;   // asynchronous copies land at their issue
};

// Issues the launches of `program`. Fails the current test where a kernel is
// unknown, its block is larger than it allows, or shared memory beyond its own
// is written to.
void Run(const conv_transpose_nd::gpu::Program& program, const void* first,
         const void* second, const void* bias, void* result, void* workspace,
         const Options& options);

}  // namespace emulator

#define threadIdx (::emulator::thread_index)
#define blockIdx (::emulator::block_index)
#define blockDim (::emulator::block_size)
#define gridDim (::emulator::grid_size)
#define __syncthreads() ::emulator::BlockBarrier()
// Instructions of a whole warp wait for its lanes here as it is.
#define __syncwarp() static_cast<void>(0)
#define __syncthreads_or(value) ::emulator::BlockOr(value)

#define CT_KERNEL(name, Params, threads)                                       \
  static void name(const Params& params, const void* first,                    \
                   const void* second, const void* bias, void* result,         \
                   void* workspace);                                           \
  static const ::emulator::Registration name##_registration(                   \
      #name, threads, sizeof(Params),                                          \
      [](const void* params, const void* first, const void* second,            \
         const void* bias, void* result, void* workspace) {                    \
        name(*static_cast<const Params*>(params), first, second, bias, result, \
             workspace);                                                       \
      });                                                                      \
  static void name(                                                            \
      [[maybe_unused]] const Params& params,                                   \
      [[maybe_unused]] const void* first, [[maybe_unused]] const void* second, \
      [[maybe_unused]] const void* bias, [[maybe_unused]] void* result,        \
      [[maybe_unused]] void* workspace)

#define CT_TUNED_KERNEL(name, Params, threads, blocks) \
  CT_KERNEL(name, Params, threads)

namespace conv_transpose_nd {
namespace gpu {

inline unsigned char* SharedMemory() { return emulator::SharedMemory(); }
inline uint32_t SharedAddress(const void* shared) {
  return emulator::SharedAddress(shared);
}
inline void FenceSharedForWgmma() { emulator::FenceCopies(); }
inline uint32_t FloatBits(float value) {
  return conv_transpose_nd::FloatBits(value);
}
inline float BitsToFloat(uint32_t bits) {
  return conv_transpose_nd::BitsToFloat(bits);
}
inline float HalfToFloat(uint16_t bits) {
  return ToFloat(conv_transpose_nd::Half{bits});
}
inline uint16_t FloatToHalf(float value) { return ToHalf(value).bits; }

inline void CopyAsync16(void* shared, const void* global, bool zero) {
  emulator::CopyAsync(shared, global, 16, zero);
}
inline void CommitCopies() { emulator::CommitCopies(); }
template <int kPending>
void WaitCopies() {
  emulator::WaitCopies(kPending);
}
inline uint32_t RoundTf32(uint32_t bits) {
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return (finite ? bits + 0x1000u : bits) & 0xffffe000u;
}

// Lane l has a[i] of row l / 4 + i % 2 * 8 and chunk l % 4 of half i / 2 of the
// depth, b0 and b1 of column l / 4 likewise, and sums of rows l / 4 and
// l / 4 + 8, columns 2 * (l % 4) and the next (PTX ISA, "Matrix fragments").
struct MmaArguments {
  const uint32_t* a;
  uint32_t b[2];
  float* sum;
};
// The elements of one 32-bit register.
using Unpack = void (*)(uint32_t word, float* elements);
template <Unpack kUnpack, int kPerWord>
void MmaOfWarp(void* const* arguments) {
  constexpr int kDepth = 8 * kPerWord;
  float a[16][kDepth], b[kDepth][8];
  for (int l = 0; l < 32; ++l) {
    const auto* lane = static_cast<const MmaArguments*>(arguments[l]);
    for (int half = 0; half < 2; ++half) {
      const int depth = (half * 4 + l % 4) * kPerWord;
      kUnpack(lane->a[half * 2], &a[l / 4][depth]);
      kUnpack(lane->a[half * 2 + 1], &a[l / 4 + 8][depth]);
      float elements[kPerWord];
      kUnpack(lane->b[half], elements);
      for (int e = 0; e < kPerWord; ++e) b[depth + e][l / 4] = elements[e];
    }
  }
  for (int row = 0; row < 16; ++row) {
    float sum[8] = {};
    for (int depth = 0; depth < kDepth; ++depth) {
      for (int column = 0; column < 8; ++column) {
        sum[column] += a[row][depth] * b[depth][column];
      }
    }
    for (int column = 0; column < 8; ++column) {
      static_cast<const MmaArguments*>(arguments[row % 8 * 4 + column / 2])
          ->sum[row / 8 * 2 + column % 2] += sum[column];
    }
  }
}
inline void UnpackHalf(uint32_t word, float* elements) {
  elements[0] = HalfToFloat(word & 0xffff);
  elements[1] = HalfToFloat(word >> 16);
}
inline void UnpackBFloat16(uint32_t word, float* elements) {
  elements[0] = BitsToFloat(word << 16);
  elements[1] = BitsToFloat(word & 0xffff0000u);
}
inline void UnpackTf32(uint32_t word, float* elements) {
  // The hardware ignores the other bits.
  elements[0] = BitsToFloat(word & 0xffffe000u);
}
template <Unpack kUnpack, int kPerWord>
void Mma(const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (&sum)[4]) {
  MmaArguments arguments{a, {b0, b1}, sum};
  emulator::Warp(&arguments, MmaOfWarp<kUnpack, kPerWord>);
}
inline void MmaHalf(const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                    float (&sum)[4]) {
  Mma<UnpackHalf, 2>(a, b0, b1, sum);
}
inline void MmaBFloat16(const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                        float (&sum)[4]) {
  Mma<UnpackBFloat16, 2>(a, b0, b1, sum);
}
inline void MmaTf32(const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                    float (&sum)[4]) {
  Mma<UnpackTf32, 1>(a, b0, b1, sum);
}

// m16n8k8, laid out as TF32's.
struct MmaDoubleArguments {
  const double* a;
  double b[2];
  double* sum;
};
inline void MmaDoubleOfWarp(void* const* arguments) {
  const auto lane = [arguments](int l) {
    return static_cast<const MmaDoubleArguments*>(arguments[l]);
  };
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      double* sum =
          &lane(row % 8 * 4 + column / 2)->sum[row / 8 * 2 + column % 2];
      for (int depth = 0; depth < 8; ++depth) {
        *sum += lane(row % 8 * 4 + depth % 4)->a[row / 8 + depth / 4 * 2] *
                lane(column * 4 + depth % 4)->b[depth / 4];
      }
    }
  }
}
inline void MmaDouble(const double (&a)[4], double b0, double b1,
                      double (&sum)[4]) {
  MmaDoubleArguments arguments{a, {b0, b1}, sum};
  emulator::Warp(&arguments, MmaDoubleOfWarp);
}

struct LoadArguments {
  const void* row;
  uint32_t* fragment;
};
template <bool transposed>
void LoadOfWarp(void* const* arguments) {
  for (int l = 0; l < 32; ++l) {
    uint32_t* fragment = static_cast<LoadArguments*>(arguments[l])->fragment;
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint16_t element[2];
      for (int e = 0; e < 2; ++e) {
        const int row = transposed ? l % 4 * 2 + e : l / 4;
        const int column = transposed ? l / 4 : l % 4 * 2 + e;
        const void* address =
            static_cast<LoadArguments*>(arguments[matrix * 8 + row])->row;
        std::memcpy(&element[e], static_cast<const uint16_t*>(address) + column,
                    2);
      }
      fragment[matrix] = element[0] | uint32_t{element[1]} << 16;
    }
  }
}
template <bool transposed>
void LoadMatrices(const void* row, uint32_t (&fragment)[4]) {
  LoadArguments arguments{row, fragment};
  emulator::Warp(&arguments, LoadOfWarp<transposed>);
}

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_KERNELS_GPU_EMULATOR_H_
