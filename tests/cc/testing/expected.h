// What a kernel should compute, from reference.h, and how far off it may be.
#ifndef CONV_TRANSPOSE_ND_TESTS_TESTING_EXPECTED_H_
#define CONV_TRANSPOSE_ND_TESTS_TESTING_EXPECTED_H_

#include <vector>

#include "cc/core/geometry.h"
#include "cc/core/plan.h"
#include "tests/cc/testing/buffer.h"
#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace testing {

inline constexpr DType kDTypes[] = {DType::kHalf, DType::kBFloat16,
                                    DType::kFloat, DType::kDouble,
                                    DType::kInt32};
const char* DTypeName(DType dtype);

// The operands of one call, each as its dtype holds it.
struct Values {
  std::vector<double> input;
  std::vector<double> filter;
  std::vector<double> output_grad;
  std::vector<double> bias;  // empty: none
};

// Floating-point values in [-1, 1), integers over all of int32 (so that sums
// wrap), rounded to `dtype`.
Values RandomValues(Random* random, DType dtype,
                    const ConvTransposeGeometry& geometry);

// What reference.h makes of `values`: exact integers, or sums in double that
// are not rounded to the dtype.
std::vector<double> Expected(Operation operation, DType dtype,
                             const ConvTransposeGeometry& geometry,
                             const Values& values);

// Per element of the result, how far a kernel may be from Expected (before it
// rounds to the dtype): c * epsilon * (sum |x| |w| + |bias|), epsilon that of
// the accumulator.
//
// c = 8. A sum of n rounded additions is off by a random walk of steps
// epsilon/2 * |partial sum|: for operands of random sign that is about
// epsilon/2 * sum |x| |w|, whatever n. The activations multiply it by at most
// 1.13 (gelu), and add a few epsilon of their result. A product below the
// smallest normal number is off by half the spacing there, each by itself.
std::vector<double> Tolerance(Operation operation, DType dtype,
                              const ConvTransposeGeometry& geometry,
                              const Values& values,
                              const std::vector<double>& expected);

// The same for `plan`: its family may sum other products than those of the
// definition (winograd_error.h), or flush to zero what is below the smallest
// normal number, as the instruction for pairs of bfloat16 does. Then a product
// with such an operand is missing, and each addition, the bias and the rounding
// of the result lose at most that number; the activation multiplies it all.
std::vector<double> Tolerance(const Plan& plan, const Values& values,
                              const std::vector<double>& expected);

// Fails the test where `got` is further from `expected` than tolerance +
// rounding to the dtype, or where only one of them is NaN or infinite.
void ExpectClose(const Tensor& got, const std::vector<double>& expected,
                 const std::vector<double>& tolerance);

// Bit for bit.
bool SameBits(const Tensor& a, const Tensor& b);

}  // namespace testing
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_TESTING_EXPECTED_H_
