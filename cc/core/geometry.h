// Shapes and attributes -> validated geometry. Step 4 of the path of a call,
// and the only layer that can fail on user input. The shape functions of the
// ops, the kernels and the NumPy module all come through here, so they cannot
// disagree.
#ifndef CONV_TRANSPOSE_ND_CORE_GEOMETRY_H_
#define CONV_TRANSPOSE_ND_CORE_GEOMETRY_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/activation.h"
#include "cc/core/dtype.h"
#include "cc/core/status.h"

namespace conv_transpose_nd {

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }
inline int64_t FloorDiv(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -CeilDiv(-a, b);
}

inline constexpr int kMaxRank = 6;
// A length that is not known before run time. Only InferShapes takes it.
inline constexpr int64_t kUnknown = -1;
// Bound on the elements of a tensor: byte counts and sums of a few offsets then
// fit in int64.
inline constexpr int64_t kMaxElements = int64_t{1} << 56;

enum class Padding { kValid, kSame, kSameLower, kExplicit };
enum class DataFormat { kChannelsLast, kChannelsFirst };

using Dims = std::vector<int64_t>;

// The attributes of the ops, in their form: strides and dilations hold rank + 2
// values and explicit_paddings rank + 2 pairs in the order of data_format.
struct Attributes {
  Dims strides;
  Dims dilations;          // empty: 1 everywhere
  Dims explicit_paddings;  // empty unless padding is kExplicit
  Dims output_padding;     // one value per spatial axis; empty: not given
  Padding padding = Padding::kValid;
  DataFormat data_format = DataFormat::kChannelsLast;
  int64_t groups = 1;
  Activation activation = Activation::kNone;
  DType dtype = DType::kFloat;
};

// The shapes of one call of any of the three operations.
struct Shapes {
  Dims input;   // [batch, spatial..., in_channels], or channels second
  Dims filter;  // [spatial..., out_channels / groups, in_channels]
  Dims output;  // as input, with out_channels
  bool has_bias = false;  // bias: [out_channels]
  Dims bias;
};

// One spatial axis. output position o reads input position i through tap k
// where
//   o + pad_before = i * stride + k * dilation.
struct AxisGeometry {
  int64_t input = 0;  // lengths, in elements
  int64_t filter = 0;
  int64_t output = 0;
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t pad_before = 0;
  int64_t pad_after = 0;

  bool operator==(const AxisGeometry& other) const {
    return input == other.input && filter == other.filter &&
           output == other.output && stride == other.stride &&
           dilation == other.dilation && pad_before == other.pad_before &&
           pad_after == other.pad_after;
  }
};

struct ConvTransposeGeometry {
  int rank = 0;
  int64_t batch = 0;
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  int64_t groups = 1;
  std::array<AxisGeometry, kMaxRank> axis;
  DataFormat data_format = DataFormat::kChannelsLast;
  Activation activation = Activation::kNone;
  bool has_bias = false;

  int64_t group_in_channels() const { return in_channels / groups; }
  int64_t group_out_channels() const { return out_channels / groups; }
  Dims InputDims() const;
  Dims FilterDims() const;
  Dims OutputDims() const;

  bool operator==(const ConvTransposeGeometry& other) const {
    return rank == other.rank && batch == other.batch &&
           in_channels == other.in_channels &&
           out_channels == other.out_channels && groups == other.groups &&
           axis == other.axis && data_format == other.data_format &&
           activation == other.activation && has_bias == other.has_bias;
  }
};

// Which of the three operations a geometry is resolved for: it decides what is
// inferred and how the arguments are named in errors.
enum class Operation {
  kConvTranspose,  // output from input and filter
  kInputGrad,      // input gradient from output_grad and filter
  kFilterGrad,     // filter gradient from input and output_grad
};

// What the operation computes, and its number of elements.
Dims ResultDims(Operation operation, const ConvTransposeGeometry& geometry);
int64_t ResultElements(Operation operation,
                       const ConvTransposeGeometry& geometry);

// Strides in elements of a tensor [batch, spatial..., channels] stored in
// `data_format`.
struct ElementStrides {
  int64_t batch = 0;
  int64_t channel = 0;
  std::array<int64_t, kMaxRank> axis{};
};

// Validates everything and fills `geometry`. All lengths in `shapes` must be
// known, except that
//   kConvTranspose  infers the output where shapes.output is empty:
//                   SAME n*s, or (n-1)*s + k_d - 2*(k_d / 2) + output_padding
//                   where that is given; else (n-1)*s + k_d - pads +
//                   output_padding; k_d = (k-1)*dilation + 1;
//   kInputGrad      infers the input: the length that a convolution maps each
//   output axis to.
// Errors name the argument, the rule and the value received.
Status ResolveGeometry(Operation operation, const Shapes& shapes,
                       const Attributes& attributes,
                       ConvTransposeGeometry* geometry);

// The same for shapes that hold kUnknown: rejects what cannot be valid whatever
// the unknown lengths turn out to be, and leaves kUnknown in `geometry` where
// nothing can be said. known_output_length is false where even the number of
// values in output_shape is open.
Status InferShapes(Operation operation, const Shapes& shapes,
                   const Attributes& attributes, bool known_output_length,
                   ConvTransposeGeometry* geometry);

ElementStrides InputStrides(const ConvTransposeGeometry& geometry);
ElementStrides OutputStrides(const ConvTransposeGeometry& geometry);

// Product of `dims`; -1 where it exceeds kMaxElements.
int64_t NumElements(const Dims& dims);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_GEOMETRY_H_
