// Runs device code on the CPU: include this first, then the .cu files.
//
// The threads of a block are fibers that take turns at barriers, so that
// kernels with barriers, warp-wide instructions and asynchronous copies run as
// they are written. What a GPU leaves undefined shows: shared memory starts as
// NaN, a copy lands as late as its wait allows or as early as its issue,
// threads run first to last or last to first, and threads that wait for
// different things end the program.
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

// cp.async and its groups.
void CopyAsync(void* shared, const void* global, int bytes, bool zero);
void CommitCopies();
void WaitCopies(int pending_groups);

using Entry = void (*)(const void* params, const void* first,
                       const void* second, const void* bias, void* result,
                       void* workspace);
struct Registration {
  Registration(const char* name, int threads, int64_t params_bytes,
               Entry entry);
};

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

namespace conv_transpose_nd {
namespace gpu {

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

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_KERNELS_GPU_EMULATOR_H_
