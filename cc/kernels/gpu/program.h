// Geometry -> the launches that compute it on a CUDA device. Step 4 of the path
// of a call. Standard C++17: the device code of the kernels that are named here
// is in the .cu files beside it, and whoever launches them needs no more than
// this header.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_PROGRAM_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_PROGRAM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/dtype.h"
#include "cc/core/geometry.h"

namespace conv_transpose_nd {
namespace gpu {

// What a program needs to know of a device.
struct DeviceInfo {
  int compute_capability = 80;  // 10 * major + minor: 75, 80, ... 120
  int multiprocessors = 1;
  // That a kernel may opt in to
  // (CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN).
  int64_t shared_bytes_per_block = 48 << 10;
  // Kernels of gemm_wgmma.cu run there, and are wanted; wherever they can run,
  // not only where they should take least time.
  bool wgmma = false;
  bool wgmma_always = false;
};

// Every architecture gets an image of each of the .cu files in this folder
// (CONV_TRANSPOSE_ND_GPU_SOURCES in CMakeLists.txt), named after its stem;
// what an architecture cannot run is left out of its image, and no program for
// it names it. The device code includes no header outside this folder and needs
// no option but the architecture, C++17 and the include path of this
// repository.
//
// One call of a kernel. All kernels have the signature
//   extern "C" __global__ void kernel(const Params params, const void* first,
//       const void* second, const void* bias, void* result, void* workspace);
// with `params` a struct of their own that is passed by value.
struct Launch {
  // Stem of the .cu file: which image to load `kernel` from.
  const char* module = nullptr;
  const char* kernel = nullptr;
  uint32_t grid[3] = {1, 1, 1};
  uint32_t block[3] = {1, 1, 1};
  // Dynamic. Above 48 KiB the launcher sets
  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES first.
  uint32_t shared_bytes = 0;
  std::vector<char> params;  // the bytes of Params, 8-byte aligned, <= 4000
};

// Launches of one call, to be issued in order on one stream. None where the
// result is empty. Depends on the arguments of MakeProgram alone, and so do the
// bits of the result.
struct Program {
  std::vector<Launch> launches;
  // To be copied to the head of the workspace before the first launch. Mostly
  // empty: tables that fit travel in `params`.
  std::vector<char> constants;
  int64_t workspace_bytes = 0;  // of 256-byte aligned memory; 0: null will do
  std::string reason;           // which kernel, and why
};

// Operands of the launches, by operation:
//                    first        second       result
//   kConvTranspose   input        filter       output
//   kInputGrad       output_grad  filter       input_grad
//   kFilterGrad      input        output_grad  filter_grad
// bias is null unless geometry.has_bias and the operation is kConvTranspose,
// which also applies geometry.activation. Operands are aligned to 16 bytes
// unless `aligned` is false: then to one element.
//
// dtype: kHalf, kBFloat16, kFloat (sums in float) or kDouble (sums in double).
// allow_tf32: products of kFloat may be rounded as TF32 rounds them.
// Deterministic: no atomics, and a fixed order of every sum.
Program MakeProgram(Operation operation, const ConvTransposeGeometry& geometry,
                    DType dtype, const DeviceInfo& device, bool allow_tf32,
                    bool aligned = true);

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_PROGRAM_H_
