// Element types. Half and BFloat16 are two-byte layouts with the conversions
// that the scalar code needs; arithmetic on them happens in float.
#ifndef CONV_TRANSPOSE_ND_CORE_DTYPE_H_
#define CONV_TRANSPOSE_ND_CORE_DTYPE_H_

#include <cstdint>
#include <cstring>

namespace conv_transpose_nd {

enum class DType { kHalf, kBFloat16, kFloat, kDouble, kInt32 };

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};
static_assert(sizeof(Half) == 2 && sizeof(BFloat16) == 2, "two-byte layouts");

inline uint32_t FloatBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float BitsToFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline float ToFloat(BFloat16 value) {
  return BitsToFloat(uint32_t{value.bits} << 16);
}

// Rounds to nearest even; NaN stays a quiet NaN.
inline BFloat16 ToBFloat16(float value) {
  const uint32_t bits = FloatBits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return BFloat16{static_cast<uint16_t>((bits >> 16) | 0x40u)};
  }
  return BFloat16{
      static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

// Adding to the exponent field moves a half's bias (15) to a float's (127). A
// denormal is 2^-14 * mantissa: (2^-14 + it) - 2^-14, which no step makes a
// float denormal, so that flushing those to zero, as TensorFlow's threads do,
// changes nothing.
inline float ToFloat(Half value) {
  const uint32_t magnitude = uint32_t{value.bits & 0x7fffu} << 13;
  float result = BitsToFloat(magnitude + 0x38000000u);
  if (magnitude < 0x00800000u) {
    result = BitsToFloat(magnitude + 0x38800000u) - BitsToFloat(0x38800000u);
  } else if (magnitude >= 0x0f800000u) {
    result = BitsToFloat(magnitude + 0x70000000u);
  }
  return BitsToFloat(FloatBits(result) |
                     (uint32_t{value.bits & 0x8000u} << 16));
}

// Rounds to nearest even. Below 2^-14 the addition of 0.5 aligns the mantissa
// of a half's denormal with the low bits of the float, and the hardware's own
// rounding does the rest.
inline Half ToHalf(float value) {
  const uint32_t bits = FloatBits(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t result;
  if (magnitude > 0x7f800000u) {
    result = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x47800000u) {
    result = 0x7c00u;
  } else if (magnitude < 0x38800000u) {
    result = FloatBits(BitsToFloat(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    result =
        (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return Half{static_cast<uint16_t>(sign | result)};
}

// The type that sums are kept in, for each stored type.
template <typename T>
struct AccumulatorOf {
  using type = T;
};
template <>
struct AccumulatorOf<Half> {
  using type = float;
};
template <>
struct AccumulatorOf<BFloat16> {
  using type = float;
};
template <typename T>
using Accumulator = typename AccumulatorOf<T>::type;

template <typename T>
inline Accumulator<T> Widen(T value) {
  return value;
}
inline float Widen(Half value) { return ToFloat(value); }
inline float Widen(BFloat16 value) { return ToFloat(value); }

template <typename T>
inline T Narrow(Accumulator<T> value) {
  return value;
}
template <>
inline Half Narrow<Half>(float value) {
  return ToHalf(value);
}
template <>
inline BFloat16 Narrow<BFloat16>(float value) {
  return ToBFloat16(value);
}

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<Half> {
  static constexpr DType value = DType::kHalf;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::kBFloat16;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kFloat;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kDouble;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kInt32;
};

inline int64_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kHalf:
    case DType::kBFloat16:
      return 2;
    case DType::kDouble:
      return 8;
    default:
      return 4;
  }
}

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_DTYPE_H_
