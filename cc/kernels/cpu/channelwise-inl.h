// Family 4: depthwise. Every channel by itself, lanes along channels. Step 6 of
// the path of a call.
//
// It is bound by loads and stores, so that no tap is looked for per position: a
// unit takes lines of the result, finds the taps of the outer axes once for
// each, and walks along it. Where all taps of a phase are inside, a block of
// positions x channels stays in registers over all of them.
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

// Vectors of channels of a register block of four positions: 16 sums and 4
// weights, or 8 and 2.
inline constexpr int kChannelwiseVectors = CT_REGISTERS >= 32 ? 4 : 2;

// Taps of the innermost axis in the order of what they read: a core fetches
// ahead what is read upwards. (Forward, where offsets descend, a 3 x 3 layer of
// 33 MB took 5.3 ms in the order of the filter, and takes 2.3.)
struct ChannelwiseRow {
  const Tap* first;
  int64_t step;  // 1 or -1
  int64_t count;

  const Tap& operator[](int64_t t) const { return first[t * step]; }
};

// Whether a phase's later taps read earlier positions.
inline bool Descends(const Phase& phase) {
  return phase.taps.front().source_offset > phase.taps.back().source_offset;
}

inline ChannelwiseRow RowOf(const Phase& phase, const TapRange& range) {
  const Tap* taps = phase.taps.data();
  if (Descends(phase) && range.size() > 0) {
    return {taps + range.end - 1, -1, range.size()};
  }
  return {taps + range.begin, 1, range.size()};
}

// Products of one result position: with a source line and its filter positions
// for each combination of outer taps, and with some taps of the innermost axis
// on each. Offsets are in elements.
struct ChannelwiseTaps {
  const int64_t* line_source;
  const int64_t* line_filter;
  int64_t lines;
  ChannelwiseRow row;
  int64_t source_step;  // of a source position of the innermost axis
  int64_t filter_step;  // of a filter position: the channels
  // What the next result line reads first is fetched meanwhile: this far ahead
  // of the last fetched_lines lines, by the first fetched_taps taps of each.
  int64_t fetched_lines;
  int64_t fetched_taps;
  int64_t fetched_ahead;
};

// A part of a result line, one phase of it: positions a constant step apart.
template <typename T>
struct ChannelwiseRun {
  int64_t source;       // of the first position, at tap offset 0
  int64_t source_step;  // from one position to the next
  T* result;
  int64_t result_step;
  int64_t positions;
};

// Adds the bias, activates and stores a block of sums, which stay in registers:
// what is asked is asked once for the block, not for each vector, and no
// address of a sum is passed on. (It was: 3.7 stores per sum, half of the
// time.)
template <typename T, int kPositions, int kVectors>
[[gnu::always_inline]] inline void StoreBlock(
    const GatherCall<T>& call, Vec<Compute<T>> (&sums)[kPositions][kVectors],
    int64_t channel, bool stream, T* result, int64_t result_step) {
  using A = Compute<T>;
  const auto each = [&](const auto& visit) {
#pragma GCC unroll 4
    for (int p = 0; p < kPositions; ++p) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        visit(sums[p][v], p * result_step + channel + v * kLanes<A>,
              v * kLanes<A>);
      }
    }
  };
  if (call.bias != nullptr) {
    each([&](Vec<A>& sum, int64_t, int64_t c) {
      sum += Load(call.bias + channel + c);
    });
  }
  if (call.plan.geometry.activation == Activation::kRelu) {
    each([&](Vec<A>& sum, int64_t, int64_t) {
      sum = sum < A(0) ? Vec<A>{} : sum;
    });
  }
  if (stream) {
    each([&](Vec<A>& sum, int64_t at, int64_t) { Stream(result + at, sum); });
  } else {
    each([&](Vec<A>& sum, int64_t at, int64_t) { Store(result + at, sum); });
  }
}

// kVectors vectors of channels, from `channel` on, of a run whose positions all
// have the same taps; kPositions at a time. kStoresVectors: whether vectors of
// sums are what is stored. Returns how many positions are done.
template <typename T, int kPositions, int kVectors, bool kStoresVectors>
CT_NOINLINE int64_t SumChannels(const GatherCall<T>& call,
                                const Compute<T>* filter,
                                const ChannelwiseTaps& taps,
                                const ChannelwiseRun<T>& run, bool stream,
                                int64_t channel) {
  using A = Compute<T>;
  const int64_t step = run.source_step;
  int64_t source = run.source + channel;
  T* result = run.result;
  int64_t done = 0;
  for (; done + kPositions <= run.positions; done += kPositions) {
    Vec<A> sums[kPositions][kVectors];
#pragma GCC unroll 4
    for (int p = 0; p < kPositions; ++p) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[p][v] = Vec<A>{};
    }
    for (int64_t n = 0; n < taps.lines; ++n) {
      const int64_t line_source = taps.line_source[n] + source;
      const A* line_filter = filter + taps.line_filter[n] + channel;
      const bool fetches = n >= taps.lines - taps.fetched_lines;
      for (int64_t t = 0; t < taps.row.count; ++t) {
        const Tap& tap = taps.row[t];
        const T* x =
            call.source + (line_source + tap.source_offset * taps.source_step);
        if (fetches && t < taps.fetched_taps) {
          const T* ahead = x + taps.fetched_ahead;
#pragma GCC unroll 4
          for (int p = 0; p < kPositions; ++p, ahead += step) {
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; ++v) {
              __builtin_prefetch(ahead + v * kLanes<A>, 0, 2);
            }
          }
        }
        const A* w = line_filter + tap.filter_index * taps.filter_step;
        Vec<A> weights[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) weights[v] = Load(w + v * kLanes<A>);
#pragma GCC unroll 4
        for (int p = 0; p < kPositions; ++p) {
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            sums[p][v] += LoadWide<T>(x + v * kLanes<A>) * weights[v];
          }
          x += step;
        }
      }
    }
    if constexpr (kStoresVectors) {
      StoreBlock<T>(call, sums, channel, stream, result, run.result_step);
    } else {
      for (int p = 0; p < kPositions; ++p) {
        A row[kVectors * kLanes<A>];
        for (int v = 0; v < kVectors; ++v) {
          Store(row + v * kLanes<A>, sums[p][v]);
        }
        StoreColumns(call, row, kVectors * kLanes<A>, channel,
                     result + p * run.result_step);
      }
    }
    result += kPositions * run.result_step;
    source += kPositions * step;
  }
  return done;
}

// At most so many products per position have their weights in registers for a
// whole run: all of a layer that upsamples by 2 with a 4 x 4 filter.
inline constexpr int64_t kMostHeldTaps = 4;

// The same for a run of kTaps products per position. Their weights stay in
// registers, so that a product is one load: 0.8 cycles instead of 2 (Zen 5, all
// in a level-1 cache).
template <typename T, int kTaps, int kVectors>
CT_NOINLINE void SumWithHeldWeights(const GatherCall<T>& call, const T* filter,
                                    const ChannelwiseTaps& taps,
                                    const ChannelwiseRun<T>& run, bool stream,
                                    int64_t channel) {
  const T* sources[kTaps];
  Vec<T> weights[kTaps][kVectors];
  int64_t line = 0, t = 0;
  for (int n = 0; n < kTaps; ++n) {
    const Tap& tap = taps.row[t];
    sources[n] = call.source + (taps.line_source[line] + run.source + channel +
                                tap.source_offset * taps.source_step);
    const T* w = filter + taps.line_filter[line] + channel +
                 tap.filter_index * taps.filter_step;
    for (int v = 0; v < kVectors; ++v) weights[n][v] = Load(w + v * kLanes<T>);
    if (++t == taps.row.count) {
      t = 0;
      ++line;
    }
  }
  const auto each = [&](const auto& store) {
    T* result = run.result + channel;
    int64_t at = 0;
    for (int64_t p = 0; p < run.positions; ++p) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        Vec<T> sum{};
#pragma GCC unroll 4
        for (int i = 0; i < kTaps; ++i) {
          sum += Load(sources[i] + at + v * kLanes<T>) * weights[i][v];
        }
        store(result + v * kLanes<T>, sum, v * kLanes<T>);
      }
      at += run.source_step;
      result += run.result_step;
    }
  };
  if (call.bias != nullptr ||
      call.plan.geometry.activation == Activation::kRelu) {
    each([&](T* to, Vec<T> sum, int64_t c) {
      StoreVector<T>(call, sum, channel + c, stream, to - channel - c);
    });
  } else if (stream) {
    each([](T* to, Vec<T> sum, int64_t) { Stream(to, sum); });
  } else {
    each([](T* to, Vec<T> sum, int64_t) { Store(to, sum); });
  }
}

template <typename T>
class Channelwise {
 public:
  using A = Compute<T>;

  Channelwise(const GatherCall<T>& call, const A* filter, char* scratch)
      : call_(call),
        plan_(call.plan),
        gather_(call.plan.gather),
        blocks_(call.plan.channelwise),
        filter_(filter),
        scratch_(scratch),
        inner_(call.plan.geometry.rank - 1),
        channels_(call.plan.geometry.groups),
        vectors_(StoresVectors(call)),
        stream_(StreamsVectors(call)) {
    taps_.source_step = gather_.source.axis[inner_];
    taps_.filter_step = channels_;
    if (FetchesAhead()) {
      taps_.fetched_lines = gather_.axis[inner_ - 1].source_step;
      taps_.fetched_taps = gather_.axis[inner_].source_step;
      taps_.fetched_ahead =
          taps_.fetched_lines * gather_.source.axis[inner_ - 1];
    }
  }

  void RunUnit(int64_t unit, int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    line_source_ = reinterpret_cast<int64_t*>(p);
    line_filter_ = line_source_ + blocks_.outer_taps;
    sums_ = reinterpret_cast<A*>(
        p + RoundUp64(2 * blocks_.outer_taps * sizeof(*line_source_)));
    taps_.line_source = line_source_;
    taps_.line_filter = line_filter_;
    const int64_t begin = unit / blocks_.line_pieces * blocks_.unit_lines;
    const int64_t end = std::min(begin + blocks_.unit_lines, blocks_.lines);
    for (int64_t line = begin; line < end; ++line) {
      FindLine(line);
      RunPiece(unit % blocks_.line_pieces * blocks_.piece);
    }
    if (stream_) FinishStreams();
  }

 private:
  // A core follows lines whose every position is read in turn, but not those
  // that taps read a stride apart: an input gradient at stride 2, 33 MB from
  // memory, took 2.5 ms, and takes 1.9 with what comes next fetched. From a
  // level-3 cache it takes a twentieth longer.
  bool FetchesAhead() const {
    constexpr int64_t kLeastBytes = int64_t{8} << 20;
    const int64_t bytes = NumElements(plan_.operation == Operation::kInputGrad
                                          ? plan_.geometry.OutputDims()
                                          : plan_.geometry.InputDims()) *
                          static_cast<int64_t>(sizeof(T));
    if (inner_ == 0 || bytes < kLeastBytes) return false;
    const int64_t step = gather_.axis[inner_].source_step;
    return step > 1 && step <= 8 && gather_.axis[inner_ - 1].source_step <= 8;
  }

  // The result line at hand, its source lines and their filter positions: those
  // of the combinations of outer taps that are inside.
  void FindLine(int64_t line) {
    Position at;
    std::array<TapRange, kMaxRank> reach{};
    taps_.lines = 1;
    for (int a = inner_ - 1; a >= 0; --a) {
      // Phases take turns along an axis.
      const AxisPhases& axis = gather_.axis[a];
      const int64_t covered = axis.CoveredPositions();
      const int64_t phases = static_cast<int64_t>(axis.phases.size());
      const int64_t position = line % covered;
      line /= covered;
      at.phase[a] = &axis.phases[position % phases];
      at.j[a] = position / phases;
      reach[a] = InsideTaps(axis, *at.phase[a], at.j[a], at.j[a]);
      taps_.lines *= reach[a].size();
    }
    result_line_ = line * gather_.result.batch;
    for (int a = 0; a < inner_; ++a) {
      result_line_ +=
          (at.phase[a]->first + at.j[a] * gather_.axis[a].result_step) *
          gather_.result.axis[a];
    }
    for (int64_t n = 0; n < taps_.lines; ++n) {
      line_source_[n] = line * gather_.source.batch;
      line_filter_[n] = 0;
      int64_t index = n;
      for (int a = inner_ - 1; a >= 0; --a) {
        const Tap& tap = RowOf(*at.phase[a], reach[a])[index % reach[a].size()];
        index /= reach[a].size();
        line_source_[n] +=
            (at.j[a] * gather_.axis[a].source_step + tap.source_offset) *
            gather_.source.axis[a];
        line_filter_[n] +=
            tap.filter_index * gather_.filter_step[a] * channels_;
      }
    }
  }

  // Every phase's positions [begin, begin + piece) of the line at hand.
  void RunPiece(int64_t begin) {
    const AxisPhases& axis = gather_.axis[inner_];
    for (const Phase& phase : axis.phases) {
      const int64_t end = std::min(begin + blocks_.piece, phase.count);
      if (begin >= end) continue;
      // Positions for which all taps are inside.
      const auto [least, most] = std::minmax(phase.taps.front().source_offset,
                                             phase.taps.back().source_offset);
      const int64_t step = axis.source_step;
      const int64_t first = least >= 0 ? 0 : (-least + step - 1) / step;
      const int64_t room = axis.source_length - most;
      const int64_t last = room <= 0 ? 0 : (room + step - 1) / step;
      const int64_t from = std::clamp(first, begin, end);
      const int64_t to = std::clamp(last, from, end);
      for (int64_t j = begin; j < from; ++j) RunAtBorder(phase, j);
      taps_.row = RowOf(phase, {0, static_cast<int64_t>(phase.taps.size())});
      if (from < to) SumRun(RunOf(phase, from, to));
      for (int64_t j = to; j < end; ++j) RunAtBorder(phase, j);
    }
  }

  void RunAtBorder(const Phase& phase, int64_t j) {
    taps_.row = RowOf(phase, InsideTaps(gather_.axis[inner_], phase, j, j));
    SumRun(RunOf(phase, j, j + 1));
  }

  ChannelwiseRun<T> RunOf(const Phase& phase, int64_t begin,
                          int64_t end) const {
    const AxisPhases& axis = gather_.axis[inner_];
    const int64_t source = axis.source_step * gather_.source.axis[inner_];
    const int64_t result = axis.result_step * gather_.result.axis[inner_];
    return {begin * source, source,
            call_.result +
                (result_line_ + phase.first * gather_.result.axis[inner_] +
                 begin * result),
            result, end - begin};
  }

  void SumRun(const ChannelwiseRun<T>& run) {
    if (channels_ < kLanes<A>) return SumFew(run);
    constexpr int kBlock = kChannelwiseVectors * kLanes<A>;
    int64_t c = 0;
    for (; c + kBlock <= channels_; c += kBlock) {
      SumBlock<kChannelwiseVectors>(run, c);
    }
    for (; c + kLanes<A> <= channels_; c += kLanes<A>) SumBlock<1>(run, c);
    // The last vector takes channels of the one before it again.
    if (c < channels_) SumBlock<1>(run, channels_ - kLanes<A>);
  }

  template <int kVectors>
  void SumBlock(ChannelwiseRun<T> run, int64_t channel) const {
    if constexpr (std::is_same_v<T, A>) {
      if (vectors_ && SumHeld<kVectors>(run, channel)) return;
    }
    if (run.positions >= 4) {
      const int64_t done = Sum<4, kVectors>(run, channel);
      run.source += done * run.source_step;
      run.result += done * run.result_step;
      run.positions -= done;
    }
    if (run.positions > 0) Sum<1, kVectors>(run, channel);
  }

  // False: too many products for registers.
  template <int kVectors>
  bool SumHeld(const ChannelwiseRun<T>& run, int64_t channel) const {
    static_assert(kMostHeldTaps == 4);
    const auto sum = [&](auto taps) {
      SumWithHeldWeights<T, decltype(taps)::value, kVectors>(
          call_, filter_, taps_, run, stream_, channel);
      return true;
    };
    switch (taps_.lines * taps_.row.count) {
      case 1:
        return sum(std::integral_constant<int, 1>());
      case 2:
        return sum(std::integral_constant<int, 2>());
      case 3:
        return sum(std::integral_constant<int, 3>());
      case 4:
        return sum(std::integral_constant<int, 4>());
      default:
        return false;
    }
  }

  template <int kPositions, int kVectors>
  int64_t Sum(const ChannelwiseRun<T>& run, int64_t channel) const {
    if constexpr (std::is_same_v<T, A>) {
      if (vectors_) {
        return SumChannels<T, kPositions, kVectors, true>(
            call_, filter_, taps_, run, stream_, channel);
      }
    }
    return SumChannels<T, kPositions, kVectors, false>(call_, filter_, taps_,
                                                       run, stream_, channel);
  }

  // Fewer channels than a vector has.
  void SumFew(ChannelwiseRun<T> run) {
    A* wide = sums_ + channels_;
    for (; run.positions > 0; --run.positions) {
      std::fill(sums_, sums_ + channels_, A(0));
      for (int64_t n = 0; n < taps_.lines; ++n) {
        for (int64_t t = 0; t < taps_.row.count; ++t) {
          const Tap& tap = taps_.row[t];
          WidenRow<T>(call_.source + (line_source_[n] + run.source +
                                      tap.source_offset * taps_.source_step),
                      1, channels_, wide);
          MultiplyChannels(
              wide,
              filter_ + line_filter_[n] + tap.filter_index * taps_.filter_step,
              channels_, sums_);
        }
      }
      StoreColumns(call_, sums_, channels_, 0, run.result);
      run.source += run.source_step;
      run.result += run.result_step;
    }
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const Gather& gather_;
  const ChannelwiseBlocks& blocks_;
  const A* filter_;
  char* scratch_;
  const int inner_;
  const int64_t channels_;
  const bool vectors_, stream_;

  // The line at hand.
  int64_t result_line_ = 0;
  int64_t* line_source_ = nullptr;
  int64_t* line_filter_ = nullptr;
  ChannelwiseTaps taps_{};
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
