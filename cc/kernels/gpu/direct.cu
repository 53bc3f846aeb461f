// The three operations for every geometry: a thread per element of the result,
// no table, no shared memory, no barrier. What runs where no other kernel does.
// Loops over axes are not unrolled: with their divisions that would make an
// image of a megabyte per architecture.
#include "cc/kernels/gpu/device.cuh"

namespace conv_transpose_nd {
namespace gpu {
namespace {

// Index of the first item of this thread, and the distance to its next.
CT_DEVICE int64_t FirstItem() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
CT_DEVICE int64_t ItemStep() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

// Takes the remainder of *rest by `length`, and divides it.
template <typename I>
CT_DEVICE I Next(I* rest, I length) {
  const I quotient = *rest / length;
  const I remainder = *rest - quotient * length;
  *rest = quotient;
  return remainder;
}

// What one element of the result sums: the box of taps, and where its first
// product is.
template <typename I>
struct Walk {
  I count[kMaxAxes];
  I source;
  I filter;
  bool empty;
};

template <typename I>
CT_DEVICE I SourceStep(const DirectParams<I>& p, int a) {
  return (p.forward ? OutputSourceStep(p.axis[a]) : p.axis[a].dilation) *
         p.source.axis[a];
}
template <typename I>
CT_DEVICE I FilterStep(const DirectParams<I>& p, int a) {
  return (p.forward ? OutputFilterStep(p.axis[a]) : I(1)) * p.filter_axis[a];
}

// `channel`: of the result.
template <typename I>
CT_DEVICE Walk<I> StartWalk(const DirectParams<I>& p, I element, I* channel) {
  Walk<I> walk;
  walk.source = walk.filter = 0;
  walk.empty = p.depth == 0;
  I rest = element;
  if (p.channels_last) *channel = Next(&rest, p.channels);
#pragma unroll 1
  for (int a = kMaxAxes - 1; a >= 0; --a) {
    walk.count[a] = 1;
    if (a >= p.rank) continue;
    const Axis<I>& axis = p.axis[a];
    const I position = Next(&rest, p.forward ? axis.output : axis.input);
    const TapRange<I> taps =
        p.forward ? OutputTaps(axis, position) : InputTaps(axis, position);
    walk.count[a] = taps.count;
    walk.empty = walk.empty || taps.count == 0;
    walk.source += taps.source * p.source.axis[a];
    walk.filter += taps.filter * p.filter_axis[a];
  }
  if (!p.channels_last) *channel = Next(&rest, p.channels);
  const I group = *channel / p.columns;
  walk.source += rest * p.source.batch + group * p.depth * p.source.channel;
  walk.filter +=
      group * p.group_stride + (*channel - group * p.columns) * p.column_stride;
  return walk;
}

template <typename T, typename I>
CT_DEVICE Accumulator<T> Sum(const DirectParams<I>& p, const Walk<I>& walk,
                             const T* source, const T* filter) {
  Accumulator<T> sum = 0;
  I at[kMaxAxes] = {};
  I s = walk.source, f = walk.filter;
  bool more = !walk.empty;
  while (more) {
    for (I d = 0; d < p.depth; ++d) {
      sum += Widen(source[s + d * p.source.channel]) *
             Widen(filter[f + d * p.depth_stride]);
    }
    // The next tap: the innermost axis that has one advances, those within it
    // start again.
    more = false;
#pragma unroll 1
    for (int a = kMaxAxes - 1; a >= 0; --a) {
      if (more || a >= p.rank) continue;
      const I source_step = SourceStep(p, a), filter_step = FilterStep(p, a);
      if (at[a] + 1 < walk.count[a]) {
        ++at[a];
        s += source_step;
        f += filter_step;
        more = true;
      } else {
        s -= at[a] * source_step;
        f -= at[a] * filter_step;
        at[a] = 0;
      }
    }
  }
  return sum;
}

template <typename T, typename I>
CT_DEVICE void Direct(const DirectParams<I>& p, const void* source,
                      const void* filter, const void* bias, void* result) {
  for (int64_t e = FirstItem(); e < p.elements; e += ItemStep()) {
    I channel = 0;
    const Walk<I> walk = StartWalk(p, static_cast<I>(e), &channel);
    Accumulator<T> sum = Sum(p, walk, static_cast<const T*>(source),
                             static_cast<const T*>(filter));
    if (bias != nullptr) sum += Widen(static_cast<const T*>(bias)[channel]);
    Narrow(Activate(p.activation, sum), static_cast<T*>(result) + e);
  }
}

// Sum over the rows [begin, end) of the products of one filter element, given
// as its position along each axis and its channels.
template <typename T, typename I>
CT_DEVICE Accumulator<T> SumRows(const DirectFilterGradParams<I>& p, I begin,
                                 I end, I tap, I in_channel, I out_channel,
                                 const T* input, const T* output_grad) {
  PositionRange<I> range[kMaxAxes];
  I first_input = in_channel * p.input.channel;
  I first_output = out_channel * p.output.channel;
  bool empty = false;
  I outermost_shift = 0;
#pragma unroll 1
  for (int a = kMaxAxes - 1; a >= 0; --a) {
    range[a] = {0, 1};
    if (a >= p.rank) continue;
    const Axis<I>& axis = p.axis[a];
    const I k = Next(&tap, axis.filter);
    range[a] = FilterPositions(axis, k);
    empty = empty || range[a].count == 0;
    const I shift = k * axis.dilation - axis.pad_before;
    if (a == 0) {
      outermost_shift = shift;
    } else {
      first_input += range[a].first * p.input.axis[a];
      first_output += (range[a].first * axis.stride + shift) * p.output.axis[a];
    }
  }
  Accumulator<T> sum = 0;
  if (empty) return sum;
  for (I row = begin; row < end; ++row) {
    const I n = row / p.axis[0].input;
    const I i = row - n * p.axis[0].input;
    if (i < range[0].first || i >= range[0].first + range[0].count) continue;
    I in = first_input + n * p.input.batch + i * p.input.axis[0];
    I out = first_output + n * p.output.batch +
            (i * p.axis[0].stride + outermost_shift) * p.output.axis[0];
    I at[kMaxAxes] = {};
    bool more = true;
    while (more) {
      sum += Widen(input[in]) * Widen(output_grad[out]);
      more = false;
#pragma unroll 1
      for (int a = kMaxAxes - 1; a >= 1; --a) {
        if (more || a >= p.rank) continue;
        const I out_step = p.axis[a].stride * p.output.axis[a];
        if (at[a] + 1 < range[a].count) {
          ++at[a];
          in += p.input.axis[a];
          out += out_step;
          more = true;
        } else {
          in -= at[a] * p.input.axis[a];
          out -= at[a] * out_step;
          at[a] = 0;
        }
      }
    }
  }
  return sum;
}

template <typename T, typename I>
CT_DEVICE void DirectFilterGrad(const DirectFilterGradParams<I>& p,
                                const void* input, const void* output_grad,
                                void* result, void* workspace) {
  const int64_t items = p.elements * p.splits;
  for (int64_t item = FirstItem(); item < items; item += ItemStep()) {
    const int64_t split = item / p.elements;
    const I element = static_cast<I>(item - split * p.elements);
    I tap = element;
    const I in_channel = Next(&tap, p.in_channels);
    const I row = Next(&tap, p.group_out);
    const I out_channel = in_channel / p.group_in * p.group_out + row;
    const I begin = static_cast<I>(split) * p.rows_per_split;
    const I end = begin + Min(p.rows - begin, p.rows_per_split);
    const Accumulator<T> sum = SumRows(
        p, begin, end, tap, in_channel, out_channel,
        static_cast<const T*>(input), static_cast<const T*>(output_grad));
    if (p.splits == 1) {
      Narrow(sum, static_cast<T*>(result) + element);
    } else {
      static_cast<Accumulator<T>*>(workspace)[item] = sum;
    }
  }
}

template <typename T>
CT_DEVICE void Reduce(const ReduceParams& p, void* result,
                      const void* workspace) {
  const auto* sums = reinterpret_cast<const Accumulator<T>*>(
      static_cast<const char*>(workspace) + p.offset);
  for (int64_t e = FirstItem(); e < p.elements; e += ItemStep()) {
    Accumulator<T> sum = sums[e];
    for (int32_t s = 1; s < p.splits; ++s) sum += sums[s * p.elements + e];
    Narrow(sum, static_cast<T*>(result) + e);
  }
}

}  // namespace

#define CT_DIRECT(T, suffix, I, width)                             \
  CT_KERNEL(ct_direct_##suffix##_##width, DirectParams<I>, 256) {  \
    Direct<T>(params, first, second, bias, result);                \
  }                                                                \
  CT_KERNEL(ct_direct_filter_grad_##suffix##_##width,              \
            DirectFilterGradParams<I>, 256) {                      \
    DirectFilterGrad<T>(params, first, second, result, workspace); \
  }
#define CT_DIRECT_TYPE(T, suffix)                    \
  CT_DIRECT(T, suffix, int32_t, i32)                 \
  CT_DIRECT(T, suffix, int64_t, i64)                 \
  CT_KERNEL(ct_reduce_##suffix, ReduceParams, 256) { \
    Reduce<T>(params, result, workspace);            \
  }

CT_DIRECT_TYPE(Half, half)
CT_DIRECT_TYPE(BFloat16, bfloat16)
CT_DIRECT_TYPE(float, float)
CT_DIRECT_TYPE(double, double)

}  // namespace gpu
}  // namespace conv_transpose_nd
