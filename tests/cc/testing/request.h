// Requests for tests: valid shapes and attributes of any rank, drawn from a
// seed, and the length formula that says which output lengths are valid.
#ifndef CONV_TRANSPOSE_ND_TESTS_TESTING_REQUEST_H_
#define CONV_TRANSPOSE_ND_TESTS_TESTING_REQUEST_H_

#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "cc/core/geometry.h"

namespace conv_transpose_nd {
namespace testing {

// Draws from a seed, equal with every standard library.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  // low <= result <= high.
  int64_t Uniform(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % uint64_t(high - low + 1));
  }
  int64_t Pick(std::initializer_list<int64_t> values) {
    return values.begin()[Uniform(0, values.size() - 1)];
  }
  bool OneIn(int64_t n) { return Uniform(1, n) == 1; }
  // -1 <= result < 1.
  double Real() { return (engine_() >> 11) * 0x1p-52 - 1.0; }
  uint64_t Bits() { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

// One call. The shapes of all three tensors are given; an operation takes what
// ShapesOf leaves of them.
struct Request {
  Shapes shapes;
  Attributes attributes;
};

// The shapes that the caller of `operation` passes.
Shapes ShapesOf(Operation operation, const Request& request);

// The attributes that `operation` has: gradients know no activation.
Attributes AttributesOf(Operation operation, const Request& request);

// Dies unless the request is valid.
ConvTransposeGeometry GeometryOf(Operation operation, const Request& request);

// Channels-last request without padding, dilation or groups.
Request SimpleRequest(const Dims& input, const Dims& filter, const Dims& output,
                      int64_t stride);

// Length that a convolution maps `output` to, as every framework defines it:
// SAME ceil(o / s), else floor((o + pads - k_d) / s) + 1, at least 0. An empty
// filter spans one position.
int64_t ConvolutionLength(Padding padding, const AxisGeometry& axis,
                          int64_t output);

// Output lengths that a convolution maps back to axis.input, found by trying.
std::vector<int64_t> OutputLengths(Padding padding, const AxisGeometry& axis);

// A valid request of at most `budget` multiply-adds and elements. One in
// sixteen has an empty dimension.
Request RandomRequest(Random* random, int rank, int64_t budget);

// Multiplies all numbers of channels.
void WidenChannels(Request* request, int64_t factor);

// Puts dimensions [batch, spatial..., channels] in the order of data_format.
Dims Ordered(DataFormat data_format, const Dims& channels_last);

std::string Describe(const Request& request);

inline constexpr DType kFloatingDTypes[] = {DType::kHalf, DType::kBFloat16,
                                            DType::kFloat, DType::kDouble};
inline constexpr Operation kOperations[] = {
    Operation::kConvTranspose, Operation::kInputGrad, Operation::kFilterGrad};
inline constexpr Padding kPaddings[] = {
    Padding::kValid, Padding::kSame, Padding::kSameLower, Padding::kExplicit};

}  // namespace testing
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_TESTING_REQUEST_H_
