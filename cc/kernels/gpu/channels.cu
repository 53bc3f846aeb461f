// Transposed convolutions and input gradients that have few channels per
// position, up to rank 3: a thread per position.
//   ct_few_*:         up to 8 result channels, all in one thread, with the
//                     filter in shared memory
//   ct_channelwise_*: one channel per group, 16 bytes of channels in a thread
// Neighbouring threads have neighbouring positions, of whatever phase: stores
// are contiguous, and loads find what the neighbours read.
#include "cc/kernels/gpu/gemm.cuh"

namespace conv_transpose_nd {
namespace gpu {
namespace {

constexpr int kChannelThreads = 256;
constexpr int kAxes = 3;

// The taps of one position: a box, one step along each axis.
struct Box {
  int32_t count[kAxes];
  int32_t source_step[kAxes];
  int32_t filter_step[kAxes];  // in filter positions
  int32_t source;              // element of the first tap, channel 0
  int32_t filter;              // filter position of the first tap
  int32_t batch;
};

CT_DEVICE Box FindBox(const ChannelsParams& p, int32_t index) {
  const DirectParams<int32_t>& g = p.gather;
  Box box;
  int32_t rest = index, filter_positions = 1;
  box.source = box.filter = 0;
#pragma unroll
  for (int a = kAxes - 1; a >= 0; --a) {
    box.count[a] = 1;
    box.source_step[a] = box.filter_step[a] = 0;
    if (a >= g.rank) continue;
    const Axis<int32_t>& axis = g.axis[a];
    const int32_t length = g.forward ? axis.output : axis.input;
    const int32_t at = rest % length;
    rest /= length;
    const TapRange<int32_t> taps =
        g.forward ? OutputTaps(axis, at) : InputTaps(axis, at);
    box.count[a] = taps.count;
    box.source_step[a] =
        (g.forward ? OutputSourceStep(axis) : axis.dilation) * g.source.axis[a];
    box.filter_step[a] =
        (g.forward ? OutputFilterStep(axis) : 1) * filter_positions;
    box.source += taps.source * g.source.axis[a];
    box.filter += taps.filter * filter_positions;
    filter_positions *= axis.filter;
  }
  box.batch = rest;
  box.source += rest * g.source.batch;
  return box;
}

// Calls visit(source element, filter position) for each tap, in order. One
// loop without branches: threads of a warp have boxes of different shapes.
template <typename Visit>
CT_DEVICE void ForEachTap(const Box& box, Visit visit) {
  // Steps along one axis that also take the axes within it back to their start.
  const int32_t source_1 =
      box.source_step[1] - (box.count[2] - 1) * box.source_step[2];
  const int32_t filter_1 =
      box.filter_step[1] - (box.count[2] - 1) * box.filter_step[2];
  const int32_t source_0 = box.source_step[0] -
                           (box.count[1] - 1) * box.source_step[1] -
                           (box.count[2] - 1) * box.source_step[2];
  const int32_t filter_0 = box.filter_step[0] -
                           (box.count[1] - 1) * box.filter_step[1] -
                           (box.count[2] - 1) * box.filter_step[2];
  const int32_t taps = box.count[0] * box.count[1] * box.count[2];
  int32_t source = box.source, filter = box.filter, at_1 = 0, at_2 = 0;
#pragma unroll 1
  for (int32_t tap = 0; tap < taps; ++tap) {
    visit(source, filter);
    ++at_2;
    const bool end_2 = at_2 == box.count[2];
    at_2 = end_2 ? 0 : at_2;
    at_1 += end_2 ? 1 : 0;
    const bool end_1 = end_2 && at_1 == box.count[1];
    at_1 = end_1 ? 0 : at_1;
    source += end_1 ? source_0 : (end_2 ? source_1 : box.source_step[2]);
    filter += end_1 ? filter_0 : (end_2 ? filter_1 : box.filter_step[2]);
  }
}

// weight[filter position][depth - begin][kColumns]
template <typename T, int kColumns>
CT_DEVICE void LoadFilter(const ChannelsParams& p, int32_t begin,
                          const T* filter, Accumulator<T>* weight) {
  const DirectParams<int32_t>& g = p.gather;
  for (int32_t i = threadIdx.x; i < p.taps * p.depth_block * kColumns;
       i += kChannelThreads) {
    const int32_t column = i % kColumns;
    const int32_t rest = i / kColumns;
    const int32_t depth = begin + rest % p.depth_block;
    const int32_t tap = rest / p.depth_block;
    weight[i] = column < g.columns && depth < g.depth
                    ? Widen(filter[tap * p.tap_stride + depth * g.depth_stride +
                                   column * g.column_stride])
                    : Accumulator<T>(0);
  }
}

template <typename A, int kColumns>
CT_DEVICE void AddProducts(A x, const A* weight, A (&sum)[kColumns]) {
#pragma unroll
  for (int c = 0; c < kColumns; ++c) sum[c] += x * weight[c];
}

// In a loop for what takes calls, and kN selections in it, so that they appear
// once and `value` stays in registers.
template <typename A, int kN>
CT_DEVICE void ActivateAll(int32_t activation, A (&value)[kN]) {
  if (activation <= kLastSimpleActivation) {
#pragma unroll
    for (int i = 0; i < kN; ++i) {
      value[i] = ActivateSimple(activation, value[i]);
    }
    return;
  }
#pragma unroll 1
  for (int n = 0; n < kN; ++n) {
    A z = value[0];
#pragma unroll
    for (int i = 1; i < kN; ++i) z = i == n ? value[i] : z;
    z = Activate(activation, z);
#pragma unroll
    for (int i = 0; i < kN; ++i) value[i] = i == n ? z : value[i];
  }
}

template <typename T, int kColumns>
CT_DEVICE void Few(const ChannelsParams& p, const void* first,
                   const void* second, const void* bias, void* result) {
  using A = Accumulator<T>;
  constexpr int kLength = Chunk<T>::kLength;
  const DirectParams<int32_t>& g = p.gather;
  A* weight = reinterpret_cast<A*>(SharedMemory());
  const int32_t index = blockIdx.x * kChannelThreads + threadIdx.x;
  const bool exists = index < g.elements;
  const Box box = FindBox(p, exists ? index : 0);
  A sum[kColumns] = {};
  for (int32_t begin = 0; begin < g.depth; begin += p.depth_block) {
    __syncthreads();
    LoadFilter<T, kColumns>(p, begin, static_cast<const T*>(second), weight);
    __syncthreads();
    if (!exists) continue;
    const int32_t depth = Min(g.depth - begin, p.depth_block);
    ForEachTap(box, [&](int32_t source, int32_t tap) {
      const T* x =
          static_cast<const T*>(first) + source + begin * g.source.channel;
      const A* w = weight + tap * p.depth_block * kColumns;
      if (p.vector) {
#pragma unroll 1
        for (int32_t d = 0; d < depth; d += kLength) {
          const Chunk<T> chunk = *reinterpret_cast<const Chunk<T>*>(x + d);
#pragma unroll
          for (int i = 0; i < kLength; ++i) {
            AddProducts<A, kColumns>(Widen(chunk.value[i]),
                                     w + (d + i) * kColumns, sum);
          }
        }
      } else {
#pragma unroll 1
        for (int32_t d = 0; d < depth; ++d) {
          AddProducts<A, kColumns>(Widen(x[d * g.source.channel]),
                                   w + d * kColumns, sum);
        }
      }
    });
  }
  if (!exists) return;
  T* to = static_cast<T*>(result) +
          (g.channels_last ? index * g.columns
                           : index + box.batch * (g.columns - 1) * p.positions);
  const int32_t step = g.channels_last ? 1 : p.positions;
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    if (bias != nullptr && c < g.columns) {
      sum[c] += Widen(static_cast<const T*>(bias)[c]);
    }
  }
  ActivateAll<A, kColumns>(g.activation, sum);
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    if (c < g.columns) Narrow(sum[c], to + c * step);
  }
}

template <typename T>
CT_DEVICE void Channelwise(const ChannelsParams& p, const void* first,
                           const void* second, const void* bias, void* result) {
  using A = Accumulator<T>;
  constexpr int kLength = Chunk<T>::kLength;
  const DirectParams<int32_t>& g = p.gather;
  const int32_t index = blockIdx.x * kChannelThreads + threadIdx.x;
  const int32_t across = g.channels / kLength;
  const int32_t position = index / across;
  if (position >= g.elements) return;
  const int32_t channel = index % across * kLength;
  A sum[kLength] = {};
  ForEachTap(FindBox(p, position), [&](int32_t source, int32_t tap) {
    const auto x = *reinterpret_cast<const Chunk<T>*>(
        static_cast<const T*>(first) + source + channel);
    const auto w = *reinterpret_cast<const Chunk<T>*>(
        static_cast<const T*>(second) + tap * p.tap_stride + channel);
#pragma unroll
    for (int i = 0; i < kLength; ++i) {
      sum[i] += Widen(x.value[i]) * Widen(w.value[i]);
    }
  });
  if (bias != nullptr) {
#pragma unroll
    for (int i = 0; i < kLength; ++i) {
      sum[i] += Widen(static_cast<const T*>(bias)[channel + i]);
    }
  }
  ActivateAll<A, kLength>(g.activation, sum);
  Chunk<T> chunk;
#pragma unroll
  for (int i = 0; i < kLength; ++i) Narrow(sum[i], &chunk.value[i]);
  *reinterpret_cast<Chunk<T>*>(static_cast<T*>(result) +
                               (position * g.channels + channel)) = chunk;
}

}  // namespace

#define CT_FEW(T, suffix, columns)                                          \
  CT_KERNEL(ct_few_##suffix##_##columns, ChannelsParams, kChannelThreads) { \
    Few<T, columns>(params, first, second, bias, result);                   \
  }
#define CT_CHANNELS(T, suffix)                                          \
  CT_FEW(T, suffix, 1)                                                  \
  CT_FEW(T, suffix, 4)                                                  \
  CT_FEW(T, suffix, 8)                                                  \
  CT_KERNEL(ct_channelwise_##suffix, ChannelsParams, kChannelThreads) { \
    Channelwise<T>(params, first, second, bias, result);                \
  }

CT_CHANNELS(Half, half)
CT_CHANNELS(BFloat16, bfloat16)
CT_CHANNELS(float, float)
CT_CHANNELS(double, double)

}  // namespace gpu
}  // namespace conv_transpose_nd
