// The dozen functions of the CUDA driver that launches need, looked up in
// libcuda.so.1 at the first use: this library links nothing of CUDA, and loads
// where there is none.
//
// Types and constants are those of the driver's documented binary interface;
// no header of CUDA is included.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_DRIVER_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_DRIVER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "cc/core/status.h"

namespace conv_transpose_nd {
namespace gpu {

using Result = int;  // CUresult
using Context = void*;
using Module = void*;
using Function = void*;
using Stream = void*;
using DevicePointer = uint64_t;

inline constexpr Result kSuccess = 0;
inline constexpr Result kOutOfMemory = 2;
// CUdevice_attribute
inline constexpr int kMultiprocessors = 16;
inline constexpr int kComputeCapabilityMajor = 75;
inline constexpr int kComputeCapabilityMinor = 76;
inline constexpr int kSharedBytesPerBlockOptIn = 97;
// CUfunction_attribute
inline constexpr int kMaxDynamicSharedBytes = 8;

struct Driver {
  Result (*init)(unsigned flags);
  Result (*driver_version)(int* version);
  Result (*error_name)(Result, const char**);
  Result (*error_string)(Result, const char**);
  Result (*context_current)(Context*);
  Result (*context_id)(Context, unsigned long long* id);
  Result (*context_push)(Context);
  Result (*context_pop)(Context*);
  Result (*context_device)(int* device);
  Result (*stream_context)(Stream, Context*);
  Result (*device_attribute)(int* value, int attribute, int device);
  Result (*module_load)(Module*, const void* image);
  Result (*module_function)(Function*, Module, const char* name);
  Result (*function_attribute)(Function, int attribute, int value);
  Result (*copy_to_device)(DevicePointer, const void*, size_t bytes, Stream);
  Result (*copy_on_device)(DevicePointer to, DevicePointer from, size_t bytes,
                           Stream);
  Result (*launch)(Function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z,
                   unsigned shared_bytes, Stream, void** params, void** extra);

  // OK, or what failed in the driver's own words: "`doing`: out of memory
  // (CUDA_ERROR_OUT_OF_MEMORY)".
  Status Check(Result result, const std::string& doing) const;
};

// Opens `library`, looks all functions up, and initialises the driver.
Status OpenDriver(const char* library, Driver* driver);

// The one of this machine, opened once, kept for good. An error is not kept:
// the next call tries again.
Status GetDriver(const Driver** driver);

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_DRIVER_H_
