// Family 4: depthwise. Every channel by itself, lanes along channels. Step 6 of
// the path of a call.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_CHANNELWISE_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_CHANNELWISE_INL_H_

// sums[c] += left[c] * right[c].
template <typename A>
inline void MultiplyChannels(const A* left, const A* right, int64_t count,
                             A* sums) {
  int64_t c = 0;
  for (; c + kLanes<A> <= count; c += kLanes<A>) {
    Store(sums + c, Load(sums + c) + Load(left + c) * Load(right + c));
  }
  for (; c < count; ++c) sums[c] += left[c] * right[c];
}

template <typename T>
class Channelwise {
 public:
  using A = Compute<T>;

  Channelwise(const GatherCall<T>& call, const A* filter, char* scratch)
      : call_(call),
        plan_(call.plan),
        filter_(filter),
        scratch_(scratch),
        channels_(call.plan.geometry.groups),
        tiles_(call.plan) {}

  void RunUnit(int64_t unit, int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    const int64_t row_blocks = plan_.units / plan_.phases;
    tiles_.SetPhase(unit / row_blocks);
    const int64_t begin = unit % row_blocks * 64;
    const int64_t end = std::min(tiles_.rows(), begin + 64);
    if (begin >= end) return;
    int64_t* filter_taps = reinterpret_cast<int64_t*>(p);
    int64_t* offsets = filter_taps + std::max<int64_t>(1, tiles_.taps());
    p += RoundUp64(plan_.scratch_bytes -
                   RoundUp64(2 * channels_ * static_cast<int64_t>(sizeof(A))));
    A* sums = reinterpret_cast<A*>(p);
    A* wide = sums + channels_;
    tiles_.Seek(begin);
    for (int64_t row = begin; row < end; ++row) {
      tiles_.Take(1, 1);
      const int64_t taps =
          tiles_.FindTaps(0, tiles_.taps(), 1, filter_taps, offsets);
      SumRow(taps, filter_taps, offsets, sums, wide);
      StoreColumns(call_, sums, channels_, 0,
                   call_.result + tiles_.result_offset(0));
    }
  }

 private:
  // Blocks of four vectors keep their sums in registers over all taps.
  void SumRow(int64_t taps, const int64_t* filter_taps, const int64_t* offsets,
              A* sums, A* wide) const {
    int64_t c = 0;
    if constexpr (kNative<T>) {
      constexpr int kBlock = 4 * kLanes<A>;
      const A* source = reinterpret_cast<const A*>(call_.source);
      for (; c + kBlock <= channels_; c += kBlock) {
        Vec<A> acc[4] = {};
        for (int64_t t = 0; t < taps; ++t) {
          const A* x = source + offsets[t] + c;
          const A* w = filter_ + filter_taps[t] * channels_ + c;
#pragma GCC unroll 4
          for (int v = 0; v < 4; ++v) {
            acc[v] += Load(x + v * kLanes<A>) * Load(w + v * kLanes<A>);
          }
        }
        for (int v = 0; v < 4; ++v) Store(sums + c + v * kLanes<A>, acc[v]);
      }
    }
    if (c == channels_) return;
    std::fill(sums + c, sums + channels_, A(0));
    for (int64_t t = 0; t < taps; ++t) {
      WidenRow<T>(call_.source + offsets[t] + c, 1, channels_ - c, wide);
      MultiplyChannels(wide, filter_ + filter_taps[t] * channels_ + c,
                       channels_ - c, sums + c);
    }
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const A* filter_;
  char* scratch_;
  const int64_t channels_;
  RowTiles tiles_;
};

template <typename T>
void RunChannelwise(const GatherCall<T>& call, const Compute<T>* filter,
                    char* scratch, const ParallelFor& parallel_for) {
  const Channelwise<T> kernel(call, filter, scratch);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    Channelwise<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_CHANNELWISE_INL_H_
