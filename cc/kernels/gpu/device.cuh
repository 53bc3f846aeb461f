// What all device code starts from: element types, their conversions,
// activations, and the form of a kernel. No header of CUDA's, so that NVRTC
// needs nothing but this folder. Tests run the same code on the CPU: their
// emulator defines CONV_TRANSPOSE_ND_EMULATED and what is declared in the first
// branch below.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_DEVICE_CUH_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_DEVICE_CUH_

#include "cc/kernels/gpu/params.h"

#define CT_DEVICE __device__ __forceinline__

// A kernel of the signature in program.h.
// CT_TUNED_KERNEL: of which `blocks` are to be resident on a multiprocessor.
#ifndef CONV_TRANSPOSE_ND_EMULATED
#define CT_SIGNATURE(name, Params)                               \
  name(const __grid_constant__ Params params, const void* first, \
       const void* second, const void* bias, void* result, void* workspace)
#define CT_KERNEL(name, Params, threads)                \
  extern "C" __global__ void __launch_bounds__(threads) \
      CT_SIGNATURE(name, Params)
#define CT_TUNED_KERNEL(name, Params, threads, blocks)          \
  extern "C" __global__ void __launch_bounds__(threads, blocks) \
      CT_SIGNATURE(name, Params)
#endif

namespace conv_transpose_nd {
namespace gpu {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

#ifndef CONV_TRANSPOSE_ND_EMULATED
CT_DEVICE uint32_t FloatBits(float value) { return __float_as_uint(value); }
CT_DEVICE float BitsToFloat(uint32_t bits) { return __uint_as_float(bits); }
CT_DEVICE float HalfToFloat(uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
// Rounds to nearest even, as the conversion of bfloat16 below.
CT_DEVICE uint16_t FloatToHalf(float value) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
#endif

CT_DEVICE uint16_t FloatToBFloat16(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint16_t result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result) : "f"(value));
  return result;
#else
  const uint32_t bits = FloatBits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#endif
}

template <typename T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
template <typename T>
using Accumulator = typename AccumulatorOf<T>::type;

CT_DEVICE float Widen(float value) { return value; }
CT_DEVICE double Widen(double value) { return value; }
CT_DEVICE float Widen(Half value) { return HalfToFloat(value.bits); }
CT_DEVICE float Widen(BFloat16 value) {
  return BitsToFloat(uint32_t{value.bits} << 16);
}

CT_DEVICE void Narrow(float value, float* to) { *to = value; }
CT_DEVICE void Narrow(double value, double* to) { *to = value; }
CT_DEVICE void Narrow(float value, Half* to) { to->bits = FloatToHalf(value); }
CT_DEVICE void Narrow(float value, BFloat16* to) {
  to->bits = FloatToBFloat16(value);
}

CT_DEVICE float Exp(float z) { return expf(z); }
CT_DEVICE double Exp(double z) { return exp(z); }
CT_DEVICE float Expm1(float z) { return expm1f(z); }
CT_DEVICE double Expm1(double z) { return expm1(z); }
CT_DEVICE float Erf(float z) { return erff(z); }
CT_DEVICE double Erf(double z) { return erf(z); }
CT_DEVICE float Tanh(float z) { return tanhf(z); }
CT_DEVICE double Tanh(double z) { return tanh(z); }

// As core/activation.h, whose enumerators are the cases; a NaN stays one.
template <typename A>
CT_DEVICE A Activate(int32_t activation, A z) {
  switch (activation) {
    case 1:  // relu
      return z < A(0) ? A(0) : z;
    case 2:  // relu6
      return z < A(0) ? A(0) : (z > A(6) ? A(6) : z);
    case 3:  // leaky_relu
      return z < A(0) ? z * A(0.2) : z;
    case 4:  // elu
      return z < A(0) ? Expm1(z) : z;
    case 5:  // gelu
      return A(0.5) * z * (A(1) + Erf(z * A(0.70710678118654752440)));
    case 6:  // gelu_tanh
      return A(0.5) * z *
             (A(1) +
              Tanh(A(0.79788456080286535588) * (z + A(0.044715) * z * z * z)));
    case 7:  // sigmoid
      return A(1) / (A(1) + Exp(-z));
    case 8:  // tanh
      return Tanh(z);
    case 9:  // silu
      return z / (A(1) + Exp(-z));
    default:
      return z;
  }
}

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_DEVICE_CUH_
