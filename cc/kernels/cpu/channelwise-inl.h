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
        vectors_(StoresVectors(call)),
        stream_(StreamsVectors(call)),
        tiles_(call.plan) {}

  void RunUnit(int64_t unit, int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    const int64_t row_blocks = plan_.units / plan_.phases;
    tiles_.SetPhase(unit / row_blocks);
    const int64_t begin = unit % row_blocks * 64;
    const int64_t end = std::min(tiles_.rows(), begin + 64);
    if (begin >= end) return;
    filter_taps_ = reinterpret_cast<int64_t*>(p);
    offsets_ = filter_taps_ + std::max<int64_t>(1, tiles_.phase_taps());
    p += RoundUp64(plan_.scratch_bytes -
                   RoundUp64(2 * channels_ * static_cast<int64_t>(sizeof(A))));
    sums_ = reinterpret_cast<A*>(p);
    tiles_.Seek(begin);
    for (int64_t row = begin; row < end; row += kChannelwiseRows) {
      RunRows(static_cast<int>(std::min<int64_t>(end - row, kChannelwiseRows)));
    }
    if (stream_) FinishStreams();
  }

 private:
  // The next rows of the phase: their taps are found together.
  void RunRows(int count) {
    tiles_.Take(count, count);
    const int64_t taps =
        tiles_.FindTaps(0, tiles_.taps(), count, filter_taps_, offsets_);
    for (int r = 0; r < count; ++r) {
      T* result = call_.result + tiles_.result_offset(r);
      const int64_t done = SumVectors(r, count, taps, result);
      if (done == channels_) continue;
      SumRest(done, r, count, taps);
      StoreColumns(call_, sums_, channels_ - done, done, result);
    }
  }

  // Blocks of four vectors keep their sums in registers over all taps. Returns
  // how many channels are done.
  int64_t SumVectors(int row, int rows, int64_t taps, T* result) const {
    int64_t c = 0;
    if constexpr (std::is_same_v<T, A>) {
      if (!vectors_) return 0;
      constexpr int kBlock = 4 * kLanes<A>;
      for (; c + kBlock <= channels_; c += kBlock) {
        Vec<A> acc[4] = {};
        for (int64_t t = 0; t < taps; ++t) {
          const int64_t offset = offsets_[t * rows + row];
          if (offset < 0) continue;
          const A* x = call_.source + offset + c;
          const A* w = filter_ + filter_taps_[t] * channels_ + c;
#pragma GCC unroll 4
          for (int v = 0; v < 4; ++v) {
            acc[v] += Load(x + v * kLanes<A>) * Load(w + v * kLanes<A>);
          }
        }
        for (int v = 0; v < 4; ++v) {
          StoreVector(call_, acc[v], c + v * kLanes<A>, stream_, result);
        }
      }
    }
    return c;
  }

  // Sums of the channels from `first` on.
  void SumRest(int64_t first, int row, int rows, int64_t taps) const {
    const int64_t count = channels_ - first;
    A* wide = sums_ + channels_;
    std::fill(sums_, sums_ + count, A(0));
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t offset = offsets_[t * rows + row];
      if (offset < 0) continue;
      WidenRow<T>(call_.source + offset + first, 1, count, wide);
      MultiplyChannels(wide, filter_ + filter_taps_[t] * channels_ + first,
                       count, sums_);
    }
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const A* filter_;
  char* scratch_;
  const int64_t channels_;
  const bool vectors_, stream_;
  RowTiles tiles_;

  // The unit at hand.
  int64_t* filter_taps_ = nullptr;
  int64_t* offsets_ = nullptr;
  A* sums_ = nullptr;
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
