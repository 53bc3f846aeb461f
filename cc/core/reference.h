// The three operations by definition: plain loops over the equation in
// geometry.h, sums in double. Oracle of every test; nothing here is shared with
// the kernels.
//
//   o + pad_before = i * stride + k * dilation                       (per axis)
//   output[n, o, co]      = activation(bias[co] + sum_k,ci input[n, i, ci] *
//   filter[k, co, ci]) input_grad[n, i, ci]  = sum_k,co output_grad[n, o, co] *
//   filter[k, co, ci] filter_grad[k, co, ci] = sum_n,i input[n, i, ci] *
//   output_grad[n, o, co]
#ifndef CONV_TRANSPOSE_ND_CORE_REFERENCE_H_
#define CONV_TRANSPOSE_ND_CORE_REFERENCE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cc/core/activation.h"
#include "cc/core/geometry.h"

namespace conv_transpose_nd {
namespace reference {

// int32 sums wrap as TensorFlow's do: they are kept in uint32 so that the wrap
// is defined.
template <typename T>
using Sum = std::conditional_t<std::is_same_v<T, int32_t>, uint32_t, double>;

// Calls visit(n, g, i_offset, o_offset, k_index) for every product that the
// equation names: offsets address the first channel of group g, k_index the
// filter position.
template <typename Visit>
void ForEachProduct(const ConvTransposeGeometry& geometry, const Visit& visit) {
  const ElementStrides in = InputStrides(geometry);
  const ElementStrides out = OutputStrides(geometry);
  int64_t taps = 1, positions = 1;
  for (int a = 0; a < geometry.rank; ++a) {
    taps *= geometry.axis[a].filter;
    positions *= geometry.axis[a].input;
  }
  for (int64_t n = 0; n < geometry.batch; ++n) {
    for (int64_t position = 0; position < positions; ++position) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        int64_t i_offset = n * in.batch, o_offset = n * out.batch;
        int64_t position_rest = position, tap_rest = tap;
        bool inside = true;
        for (int a = geometry.rank - 1; a >= 0; --a) {
          const AxisGeometry& axis = geometry.axis[a];
          const int64_t i = position_rest % axis.input;
          const int64_t k = tap_rest % axis.filter;
          position_rest /= axis.input;
          tap_rest /= axis.filter;
          const int64_t o =
              i * axis.stride + k * axis.dilation - axis.pad_before;
          inside = inside && o >= 0 && o < axis.output;
          i_offset += i * in.axis[a];
          o_offset += o * out.axis[a];
        }
        if (inside) visit(i_offset, o_offset, tap);
      }
    }
  }
}

// Calls visit(input element, output element, filter element) per multiply-add.
template <typename Visit>
void ForEachMultiplyAdd(const ConvTransposeGeometry& geometry,
                        const Visit& visit) {
  const int64_t in_step = InputStrides(geometry).channel;
  const int64_t out_step = OutputStrides(geometry).channel;
  const int64_t group_in = geometry.group_in_channels();
  const int64_t group_out = geometry.group_out_channels();
  if (geometry.in_channels == 0 || geometry.out_channels == 0) return;
  ForEachProduct(geometry,
                 [&](int64_t i_offset, int64_t o_offset, int64_t tap) {
                   for (int64_t co = 0; co < geometry.out_channels; ++co) {
                     const int64_t group = co / group_out;
                     const int64_t row = tap * group_out + co % group_out;
                     for (int64_t c = 0; c < group_in; ++c) {
                       const int64_t ci = group * group_in + c;
                       visit(i_offset + ci * in_step, o_offset + co * out_step,
                             row * geometry.in_channels + ci);
                     }
                   }
                 });
}

template <typename T>
T Round(double sum) {
  return Narrow<T>(static_cast<Accumulator<T>>(sum));
}
template <typename T>
T Round(uint32_t sum) {
  return static_cast<T>(sum);
}

template <typename T>
void ConvTranspose(const ConvTransposeGeometry& geometry, const T* input,
                   const T* filter, const T* bias, T* output) {
  using S = Sum<T>;
  std::vector<S> sums(NumElements(geometry.OutputDims()), S(0));
  ForEachMultiplyAdd(geometry, [&](int64_t i, int64_t o, int64_t f) {
    sums[o] +=
        static_cast<S>(Widen(input[i])) * static_cast<S>(Widen(filter[f]));
  });
  const int64_t channel_stride = OutputStrides(geometry).channel;
  for (size_t o = 0; o < sums.size(); ++o) {
    const int64_t co =
        (static_cast<int64_t>(o) / channel_stride) % geometry.out_channels;
    if (bias != nullptr) sums[o] += static_cast<S>(Widen(bias[co]));
    if constexpr (std::is_same_v<T, int32_t>) {
      output[o] = Activate(geometry.activation, Round<T>(sums[o]));
    } else {
      output[o] = Round<T>(Activate(geometry.activation, sums[o]));
    }
  }
}

template <typename T>
void InputGrad(const ConvTransposeGeometry& geometry, const T* output_grad,
               const T* filter, T* input_grad) {
  using S = Sum<T>;
  std::vector<S> sums(NumElements(geometry.InputDims()), S(0));
  ForEachMultiplyAdd(geometry, [&](int64_t i, int64_t o, int64_t f) {
    sums[i] += static_cast<S>(Widen(output_grad[o])) *
               static_cast<S>(Widen(filter[f]));
  });
  for (size_t i = 0; i < sums.size(); ++i) input_grad[i] = Round<T>(sums[i]);
}

template <typename T>
void FilterGrad(const ConvTransposeGeometry& geometry, const T* input,
                const T* output_grad, T* filter_grad) {
  using S = Sum<T>;
  std::vector<S> sums(NumElements(geometry.FilterDims()), S(0));
  ForEachMultiplyAdd(geometry, [&](int64_t i, int64_t o, int64_t f) {
    sums[f] +=
        static_cast<S>(Widen(input[i])) * static_cast<S>(Widen(output_grad[o]));
  });
  for (size_t f = 0; f < sums.size(); ++f) filter_grad[f] = Round<T>(sums[f]);
}

}  // namespace reference
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_REFERENCE_H_
