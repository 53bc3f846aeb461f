#include "cc/core/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace conv_transpose_nd {
namespace {

// One 2-byte format by its definition: 1 sign bit, `exponent_bits`, the rest
// mantissa.
struct Format {
  int mantissa_bits;
  int bias;
  int infinity() const { return 0x7fff >> mantissa_bits << mantissa_bits; }

  // Magnitude 0 <= bits < infinity().
  double Value(int bits) const {
    const int exponent = bits >> mantissa_bits;
    const int mantissa = bits & ((1 << mantissa_bits) - 1);
    if (exponent == 0) return std::ldexp(mantissa, 1 - bias - mantissa_bits);
    return std::ldexp((1 << mantissa_bits) + mantissa,
                      exponent - bias - mantissa_bits);
  }
};
constexpr Format kHalf{10, 15};
constexpr Format kBFloat16{7, 127};

// Nearest number of the format, ties to even: the neighbours are found in the
// table of all of them. Infinity counts as the number after the largest.
class Rounder {
 public:
  explicit Rounder(const Format& format) : infinity_(format.infinity()) {
    for (int bits = 0; bits < infinity_; ++bits) {
      table_.push_back(format.Value(bits));
    }
    table_.push_back(2 * table_.back() - table_[infinity_ - 2]);
  }

  uint16_t operator()(float value) const {
    const int sign = std::signbit(value) ? 0x8000 : 0;
    const double magnitude = std::abs(static_cast<double>(value));
    if (magnitude >= table_.back()) {
      return static_cast<uint16_t>(sign | infinity_);
    }
    const auto above =
        std::upper_bound(table_.begin(), table_.end(), magnitude);
    const int high = static_cast<int>(above - table_.begin());
    const double to_high = *above - magnitude;
    const double to_low = magnitude - above[-1];
    const bool up = to_high < to_low || (to_high == to_low && high % 2 == 0);
    return static_cast<uint16_t>(sign | (up ? high : high - 1));
  }

 private:
  const int infinity_;
  std::vector<double> table_;
};

template <typename T>
void CheckAllPatterns(const Format& format, T (*to_type)(float)) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float value = ToFloat(T{static_cast<uint16_t>(bits)});
    const int magnitude = bits & 0x7fff;
    ASSERT_EQ(std::signbit(value), bits >= 0x8000) << bits;
    const uint16_t back = to_type(value).bits;
    if (magnitude > format.infinity()) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_GT(back & 0x7fff, format.infinity()) << bits;
      ASSERT_EQ(back & 0x8000, bits & 0x8000) << bits;
      continue;
    }
    ASSERT_EQ(back, bits);
    if (magnitude == format.infinity()) {
      ASSERT_TRUE(std::isinf(value)) << bits;
    } else {
      ASSERT_EQ(std::abs(static_cast<double>(value)), format.Value(magnitude))
          << bits;
    }
  }
}

TEST(DTypeTest, AllHalfPatterns) { CheckAllPatterns<Half>(kHalf, ToHalf); }
TEST(DTypeTest, AllBFloat16Patterns) {
  CheckAllPatterns<BFloat16>(kBFloat16, ToBFloat16);
}

// Around every number of the format and every midpoint, and random bits.
template <typename T>
void CheckRounding(const Format& format, T (*to_type)(float)) {
  const Rounder expected(format);
  const auto check = [&](float value) {
    for (float signed_value : {value, -value}) {
      ASSERT_EQ(to_type(signed_value).bits, expected(signed_value))
          << std::hexfloat << signed_value;
    }
  };
  for (int bits = 0; bits + 1 < format.infinity(); ++bits) {
    const double low = format.Value(bits);
    const double high = format.Value(bits + 1);
    for (double center : {low, 0.5 * low + 0.5 * high}) {
      const float value = static_cast<float>(center);
      check(value);
      check(std::nextafter(value, 0.0f));
      check(std::nextafter(value, INFINITY));
    }
  }
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    const float value = BitsToFloat(random());
    if (!std::isnan(value)) check(value);
  }
}

TEST(DTypeTest, FloatToHalfRoundsToNearestEven) {
  CheckRounding<Half>(kHalf, ToHalf);
}
TEST(DTypeTest, FloatToBFloat16RoundsToNearestEven) {
  CheckRounding<BFloat16>(kBFloat16, ToBFloat16);
}

TEST(DTypeTest, OverflowAndInfinity) {
  EXPECT_EQ(ToHalf(65504.0f).bits, 0x7bff);
  EXPECT_EQ(ToHalf(65519.996f).bits, 0x7bff);
  EXPECT_EQ(ToHalf(65520.0f).bits, 0x7c00);
  EXPECT_EQ(ToHalf(-INFINITY).bits, 0xfc00);
  EXPECT_EQ(ToBFloat16(3.4028235e38f).bits, 0x7f80);
  EXPECT_EQ(ToBFloat16(-INFINITY).bits, 0xff80);
}

TEST(DTypeTest, NanStaysQuietNan) {
  for (uint32_t bits : {0x7f800001u, 0x7fc00000u, 0xff800001u, 0xffffffffu}) {
    const float nan = BitsToFloat(bits);
    EXPECT_EQ(ToHalf(nan).bits & 0x7e00, 0x7e00) << bits;
    EXPECT_EQ(ToBFloat16(nan).bits & 0x7fc0, 0x7fc0) << bits;
  }
}

#if defined(__SSE2__)
// TensorFlow's threads flush denormal floats to zero. The smallest halves are
// ordinary floats: they must survive there.
TEST(DTypeTest, HalfDenormalsSurviveFlushToZero) {
  const unsigned before = _mm_getcsr();
  constexpr unsigned kFlushResults = 0x8000, kFlushOperands = 0x0040;
  for (int bits = 0; bits < 0x7c00; ++bits) {
    _mm_setcsr(before | kFlushResults | kFlushOperands);
    const volatile float value = ToFloat(Half{static_cast<uint16_t>(bits)});
    const volatile uint16_t back = ToHalf(value).bits;
    _mm_setcsr(before);
    ASSERT_EQ(value, kHalf.Value(bits)) << bits;
    ASSERT_EQ(back, bits);
  }
}
#endif

TEST(DTypeTest, WidenAndNarrow) {
  EXPECT_EQ(Widen(Half{0x3c00}), 1.0f);
  EXPECT_EQ(Widen(BFloat16{0x3f80}), 1.0f);
  EXPECT_EQ(Widen(int32_t{-7}), -7);
  EXPECT_EQ(Narrow<Half>(1.0f).bits, 0x3c00);
  EXPECT_EQ(Narrow<BFloat16>(1.0f).bits, 0x3f80);
  EXPECT_EQ(Narrow<double>(0.1), 0.1);
}

TEST(DTypeTest, Sizes) {
  EXPECT_EQ(SizeOf(DType::kHalf), 2);
  EXPECT_EQ(SizeOf(DType::kBFloat16), 2);
  EXPECT_EQ(SizeOf(DType::kFloat), 4);
  EXPECT_EQ(SizeOf(DType::kDouble), 8);
  EXPECT_EQ(SizeOf(DType::kInt32), 4);
  EXPECT_EQ(DTypeOf<Half>::value, DType::kHalf);
  EXPECT_EQ(DTypeOf<int32_t>::value, DType::kInt32);
}

}  // namespace
}  // namespace conv_transpose_nd
