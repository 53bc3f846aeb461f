// Index maths of the CUDA kernels, for both sides of a launch: which taps a
// result position has along one axis, in closed form.
//
//   o + pad_before = i * stride + k * dilation
//
// The int32_t form is for geometries whose every intermediate value fits
// (FitsInt32 in program.cc); it is what kernels run unless a tensor is huge.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_INDEX_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_INDEX_H_

#include "cc/kernels/gpu/types.h"

namespace conv_transpose_nd {
namespace gpu {

inline constexpr int kMaxAxes = 6;

// ceil(a / b) and floor(a / b) for b > 0 and any a.
template <typename I>
CT_HOST_DEVICE I CeilDiv(I a, I b) {
  return a >= 0 ? (a + b - 1) / b : -(-a / b);
}
template <typename I>
CT_HOST_DEVICE I FloorDiv(I a, I b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}
template <typename I>
CT_HOST_DEVICE I Min(I a, I b) {
  return a < b ? a : b;
}
template <typename I>
CT_HOST_DEVICE I Max(I a, I b) {
  return a > b ? a : b;
}

// One axis. input, filter, output: lengths in elements.
template <typename I>
struct Axis {
  I input;
  I filter;
  I output;
  I stride;
  I dilation;
  I pad_before;
  I gcd;      // of stride and dilation
  I inverse;  // of dilation / gcd modulo stride / gcd
};

// The taps of one result position: tap q in [0, count) multiplies filter
// position filter + q * filter_step with source position
// source + q * source_step. All of them are inside.
template <typename I>
struct TapRange {
  I filter;
  I source;
  I count;
};

// Distance of neighbours in the TapRange of an output (reading inputs) ...
template <typename I>
CT_HOST_DEVICE I OutputFilterStep(const Axis<I>& axis) {
  return axis.stride / axis.gcd;
}
template <typename I>
CT_HOST_DEVICE I OutputSourceStep(const Axis<I>& axis) {
  return -(axis.dilation / axis.gcd);
}

// Output position `o` reads input i = (o + pad_before - k * dilation) / stride
// through the k with k * dilation = o + pad_before (mod stride). They are
// stride / gcd apart, and the first is (o + pad_before) / gcd * inverse modulo
// that: none if gcd does not divide o + pad_before.
template <typename I>
CT_HOST_DEVICE TapRange<I> OutputTaps(const Axis<I>& axis, I o) {
  TapRange<I> range{0, 0, 0};
  const I position = o + axis.pad_before;
  const I quotient = FloorDiv(position, axis.gcd);
  if (quotient * axis.gcd != position) return range;
  const I period = axis.stride / axis.gcd;
  const I residue = quotient - FloorDiv(quotient, period) * period;
  // Both factors are below stride <= 2^31.
  const I first = static_cast<I>(static_cast<uint64_t>(residue) *
                                 static_cast<uint64_t>(axis.inverse) %
                                 static_cast<uint64_t>(period));
  if (first >= axis.filter) return range;
  const I step = axis.dilation / axis.gcd;
  const I source = (position - first * axis.dilation) / axis.stride;
  const I low = Max(I(0), CeilDiv(source - axis.input + 1, step));
  const I high =
      Min((axis.filter - 1 - first) / period, FloorDiv(source, step));
  if (high < low) return range;
  return {first + low * period, source - low * step, high - low + 1};
}

// Input position `i` reads output_grad position o = i * stride + k * dilation -
// pad_before through every k that is inside: filter step 1, source step
// dilation.
template <typename I>
CT_HOST_DEVICE TapRange<I> InputTaps(const Axis<I>& axis, I i) {
  const I first = i * axis.stride - axis.pad_before;
  const I low = Max(I(0), CeilDiv(-first, axis.dilation));
  const I high =
      Min(axis.filter - 1, FloorDiv(axis.output - 1 - first, axis.dilation));
  if (high < low) return {0, 0, 0};
  return {low, first + low * axis.dilation, high - low + 1};
}

// Input positions [first, first + count) meet an output position through
// filter position `k`: o = i * stride + k * dilation - pad_before.
template <typename I>
struct PositionRange {
  I first;
  I count;
};
template <typename I>
CT_HOST_DEVICE PositionRange<I> FilterPositions(const Axis<I>& axis, I k) {
  const I shift = k * axis.dilation - axis.pad_before;
  const I low = Max(I(0), CeilDiv(-shift, axis.stride));
  const I high =
      Min(axis.input - 1, FloorDiv(axis.output - 1 - shift, axis.stride));
  if (high < low) return {0, 0};
  return {low, high - low + 1};
}

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_INDEX_H_
