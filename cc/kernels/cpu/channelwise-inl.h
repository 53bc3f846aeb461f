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

// Products of one result position: with a source line and its filter positions
// for each combination of outer taps, and with some taps of the innermost axis
// on each. Offsets are in elements.
struct ChannelwiseTaps {
  const int64_t* line_source;
  const int64_t* line_filter;
  int64_t lines;
  const Tap* taps;
  TapRange range;
  int64_t source_step;  // of a source position of the innermost axis
  int64_t filter_step;  // of a filter position: the channels
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

// Adds the bias, activates and stores a block of sums. What is asked is asked
// once for the block, not for each vector.
template <typename T, int kPositions, int kVectors>
[[gnu::always_inline]] inline void StoreBlock(const GatherCall<T>& call,
                                              Vec<Compute<T>> (*sums)[kVectors],
                                              int64_t channel, bool vectors,
                                              bool stream, T* result,
                                              int64_t result_step) {
  using A = Compute<T>;
  if (!vectors) {
    for (int p = 0; p < kPositions; ++p, result += result_step) {
      A row[kVectors * kLanes<A>];
      for (int v = 0; v < kVectors; ++v) Store(row + v * kLanes<A>, sums[p][v]);
      StoreColumns(call, row, kVectors * kLanes<A>, channel, result);
    }
    return;
  }
  if constexpr (std::is_same_v<T, A>) {
    const auto each = [&](const auto& visit) {
#pragma GCC unroll 4
      for (int p = 0; p < kPositions; ++p) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          visit(&sums[p][v], p * result_step + channel + v * kLanes<A>,
                v * kLanes<A>);
        }
      }
    };
    if (call.bias != nullptr) {
      each([&](Vec<A>* sum, int64_t, int64_t c) {
        *sum += Load(call.bias + channel + c);
      });
    }
    if (call.plan.geometry.activation == Activation::kRelu) {
      each([&](Vec<A>* sum, int64_t, int64_t) {
        *sum = *sum < A(0) ? Vec<A>{} : *sum;
      });
    }
    if (stream) {
      each(
          [&](Vec<A>* sum, int64_t at, int64_t) { Stream(result + at, *sum); });
    } else {
      each([&](Vec<A>* sum, int64_t at, int64_t) { Store(result + at, *sum); });
    }
  }
}

// kVectors vectors of channels, from `channel` on, of a run whose positions all
// have the same taps; kPositions at a time. Returns how many positions are
// done.
template <typename T, int kPositions, int kVectors>
CT_NOINLINE int64_t SumChannels(const GatherCall<T>& call,
                                const Compute<T>* filter,
                                const ChannelwiseTaps& taps,
                                const ChannelwiseRun<T>& run, bool vectors,
                                bool stream, int64_t channel) {
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
      for (int64_t t = taps.range.begin; t < taps.range.end; ++t) {
        const Tap& tap = taps.taps[t];
        const T* x =
            call.source + (line_source + tap.source_offset * taps.source_step);
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
    StoreBlock<T, kPositions, kVectors>(call, sums, channel, vectors, stream,
                                        result, run.result_step);
    result += kPositions * run.result_step;
    source += kPositions * step;
  }
  return done;
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
        const Tap& tap =
            at.phase[a]->taps[reach[a].begin + index % reach[a].size()];
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
      taps_.taps = phase.taps.data();
      for (int64_t j = begin; j < from; ++j) RunAtBorder(phase, j);
      taps_.range = {0, static_cast<int64_t>(phase.taps.size())};
      if (from < to) SumRun(RunOf(phase, from, to));
      for (int64_t j = to; j < end; ++j) RunAtBorder(phase, j);
    }
  }

  void RunAtBorder(const Phase& phase, int64_t j) {
    taps_.range = InsideTaps(gather_.axis[inner_], phase, j, j);
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
    if (run.positions >= 4) {
      const int64_t done = SumChannels<T, 4, kVectors>(
          call_, filter_, taps_, run, vectors_, stream_, channel);
      run.source += done * run.source_step;
      run.result += done * run.result_step;
      run.positions -= done;
    }
    if (run.positions > 0) {
      SumChannels<T, 1, kVectors>(call_, filter_, taps_, run, vectors_, stream_,
                                  channel);
    }
  }

  // Fewer channels than a vector has.
  void SumFew(ChannelwiseRun<T> run) {
    A* wide = sums_ + channels_;
    for (; run.positions > 0; --run.positions) {
      std::fill(sums_, sums_ + channels_, A(0));
      for (int64_t n = 0; n < taps_.lines; ++n) {
        for (int64_t t = taps_.range.begin; t < taps_.range.end; ++t) {
          const Tap& tap = taps_.taps[t];
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
