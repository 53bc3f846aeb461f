// Integer types and function attributes for headers that the host compiler,
// nvcc and NVRTC (which has no standard library) all read.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_TYPES_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_TYPES_H_

#if defined(__CUDACC_RTC__)
using uint8_t = unsigned char;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned;
using int64_t = long long;
using uint64_t = unsigned long long;
#else
#include <cstdint>
#endif

#if defined(__CUDACC__)
#define CT_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define CT_HOST_DEVICE inline
#endif

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_TYPES_H_
