// Family 2: lanes run along positions of the innermost axis. Step 6 of the path
// of a call.
//
// For few channels in the result, and for channels-first tensors. A block of
// positions j of one line of the result, for all phases of all axes, reads the
// same few source lines. Each of those is laid out as a window
// (pixel_windows-inl.h), of which every shift serves all phases that have a tap
// there. Rows of the register tile are the columns: those of one phase, whose
// sums stay in registers over all windows and shifts, if they are enough to
// fill it; else those of all phases that read the shift at hand.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_LANES_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_LANES_INL_H_

template <typename T>
class PixelLanes {
 public:
  using A = Compute<T>;

  PixelLanes(const GatherCall<T>& call, const A* filter, char* scratch)
      : call_(call),
        plan_(call.plan),
        gather_(call.plan.gather),
        blocks_(call.plan.pixel_lanes),
        filter_(filter),
        scratch_(scratch),
        inner_(call.plan.geometry.rank - 1),
        phases_(blocks_.outer_phases * blocks_.inner_phases),
        looks_first_(call.LooksFirst()),
        transposed_(std::is_same_v<T, A> && StoresVectors(call) &&
                    blocks_.columns > 1),
        source_(call) {}

  // Copies the filter position `tap` into rows of adjacent depth.
  void CopyFilter(int64_t tap, A* copy) const {
    for (int64_t g = 0; g < plan_.geometry.groups; ++g) {
      const T* from =
          call_.filter + tap * gather_.tap_stride + g * gather_.group_stride;
      A* to = copy + tap * blocks_.filter_tap_stride +
              g * blocks_.filter_group_stride;
      for (int64_t c = 0; c < gather_.columns; ++c) {
        WidenRow<T>(from + c * gather_.column_stride, gather_.depth_stride,
                    gather_.depth, to + c * blocks_.filter_column_stride);
      }
    }
  }

  void RunUnit(int64_t unit, int worker) {
    SetScratch(worker);
    if (blocks_.windows == 0) return RunLine(unit);
    std::fill_n(kept_, blocks_.windows, Kept{-1, 0, 0, -1, false});
    const int64_t end =
        std::min((unit + 1) * blocks_.unit_lines, source_.CountLines());
    for (int64_t line = unit * blocks_.unit_lines; line < end; ++line) {
      RunWithKeptWindows(line);
    }
  }

 private:
  using Combination = typename PixelWindows<T>::Combination;

  // What a window that is kept holds, and the line of the result that last read
  // it.
  struct Kept {
    int64_t source_offset;
    int64_t group, first_position;
    int64_t line;
    bool touched_border;
  };
  static_assert(sizeof(Kept) <= PixelLanesBlocks::kWindowBytes);

  // A window that a phase of the outer axes reads.
  struct Visit {
    Combination from;
    int64_t window;
  };
  static_assert(sizeof(Visit) <= PixelLanesBlocks::kVisitBytes);
  static_assert(sizeof(WindowTap<A>) <= PixelLanesBlocks::kTapBytes);

  const PixelLine& unit() const { return source_.unit(); }

  // The line's sums, of all phases, for each shift of each window.
  void RunLine(int64_t line) {
    source_.SetLine(line);
    line_ = unit().at;
    std::fill(sums_, sums_ + phases_ * blocks_.columns * blocks_.positions,
              A(0));
    touched_border_ = false;
    for (depth_ = 0; depth_ < gather_.depth; depth_ += blocks_.depth_block) {
      depths_ = std::min(blocks_.depth_block, gather_.depth - depth_);
      source_.VisitLines([&](int64_t count) {
        touched_border_ |= source_.Fill(depth_, depths_, windows_);
        MultiplyWindows(count);
      });
    }
    StoreUnit();
  }

  // Phase by phase, in registers over all windows and shifts.
  void RunWithKeptWindows(int64_t line) {
    source_.SetLine(line);
    line_ = unit().at;
    depth_ = 0;
    depths_ = gather_.depth;
    touched_border_ = false;
    int64_t visits = 0;
    source_.VisitLines([&](int64_t count) {
      const int64_t window = KeepWindow(line);
      touched_border_ |= kept_[window].touched_border;
      for (int64_t c = 0; c < count; ++c) {
        visits_[visits++] = {source_.combination(c), window};
      }
    });
    for (int64_t outer = 0; outer < blocks_.outer_phases; ++outer) {
      if (!SetOuterPhase(outer)) continue;
      for (int64_t phase = 0; phase < blocks_.inner_phases; ++phase) {
        const int64_t taps = FindTaps(outer, phase, visits);
        for (int64_t c = 0; c < unit().columns;) {
          c += PickTile(unit().columns - c, [&](auto rows, auto vectors) {
            return MultiplyTaps<rows(), vectors()>(c, taps);
          });
        }
        StorePhase(phase, 0);
      }
    }
  }

  // The window of the source line at hand, filled if it is not kept already.
  int64_t KeepWindow(int64_t line) {
    int64_t window = 0;
    for (int64_t n = 0; n < blocks_.windows; ++n) {
      Kept& kept = kept_[n];
      if (kept.line >= 0 && kept.source_offset == source_.source_offset() &&
          kept.group == unit().group &&
          kept.first_position == unit().first_position) {
        kept.line = line;
        return n;
      }
      if (kept.line < kept_[window].line) window = n;
    }
    const bool touched_border =
        source_.Fill(depth_, depths_, windows_ + window * source_.elements());
    kept_[window] = {source_.source_offset(), unit().group,
                     unit().first_position, line, touched_border};
    return window;
  }

  // Taps of a phase, by window and shift. Returns how many there are.
  int64_t FindTaps(int64_t outer, int64_t inner, int64_t visits) {
    int64_t taps = 0;
    for (int64_t v = 0; v < visits; ++v) {
      if (visits_[v].from.phase != outer) continue;
      const A* window = windows_ + visits_[v].window * source_.elements();
      for (const WindowShift& shift : blocks_.shifts) {
        for (const PhaseTap& tap : shift.taps) {
          if (tap.phase != inner) continue;
          taps_[taps++] = {
              window + shift.slot * blocks_.window + shift.shift,
              FilterRow(visits_[v].from.filter_tap + tap.filter_index)};
        }
      }
    }
    return taps;
  }

  // A band of columns from `column` on, over all positions. Returns how many
  // columns it took.
  template <int kRows, int kVectors>
  int64_t MultiplyTaps(int64_t column, int64_t taps) {
    const int64_t left = unit().columns - column;
    int64_t v = 0;
    for (; v + kVectors <= unit().vectors; v += kVectors) {
      MultiplyTapsOf<kRows, kVectors>(column, taps, v);
    }
    for (; v < unit().vectors; ++v) MultiplyTapsOf<kRows, 1>(column, taps, v);
    return std::min<int64_t>(left, kRows);
  }

  template <int kRows, int kVectors>
  void MultiplyTapsOf(int64_t column, int64_t taps, int64_t vector) {
    const int64_t step = blocks_.filter_column_stride;
    for (int64_t t = 0; t < taps; ++t) taps_[t].filter += column * step;
    MultiplyWindowTaps<A, kRows, kVectors>(
        taps_, taps, step, unit().columns - column - 1, depths_,
        source_.row_step(), vector * kLanes<A>, Sums(0, column),
        blocks_.positions);
    for (int64_t t = 0; t < taps; ++t) taps_[t].filter -= column * step;
  }

  // Of a filter position: the row of the first column at the depth at hand.
  const A* FilterRow(int64_t tap) const {
    return filter_ + tap * blocks_.filter_tap_stride +
           unit().group * blocks_.filter_group_stride +
           unit().first_column * blocks_.filter_column_stride + depth_;
  }

  void SetScratch(int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    windows_ = reinterpret_cast<A*>(p);
    p += RoundUp64(std::max<int64_t>(1, blocks_.windows) * source_.elements() *
                   sizeof(A));
    sums_ = reinterpret_cast<A*>(p);
    p += RoundUp64(phases_ * blocks_.columns * blocks_.positions * sizeof(A));
    filter_rows_ = reinterpret_cast<const A**>(p);
    sum_rows_ = reinterpret_cast<A**>(p) + phases_ * blocks_.columns + 16;
    p += RoundUp64(2 * (phases_ * blocks_.columns + 16) * 8);
    source_.SetScratch(reinterpret_cast<Combination*>(p));
    p += RoundUp64(blocks_.outer_phases * sizeof(Combination));
    kept_ = reinterpret_cast<Kept*>(p);
    p += RoundUp64(blocks_.windows * sizeof(Kept));
    visits_ = reinterpret_cast<Visit*>(p);
    p += RoundUp64(blocks_.windows * blocks_.outer_phases * sizeof(Visit));
    taps_ = reinterpret_cast<WindowTap<A>*>(p);
  }

  // The shifts of each slot that reach the source: they are sorted. Of few,
  // all.
  void MultiplyWindows(int64_t combinations) {
    const std::vector<WindowShift>& shifts = blocks_.shifts;
    if (source_.few_shifts()) {
      for (const WindowShift& shift : shifts) {
        MultiplyShift(shift, combinations);
      }
      return;
    }
    const int64_t read = unit().vectors * kLanes<A>;
    for (size_t slot = 0; slot < blocks_.residues.size(); ++slot) {
      const auto inside = source_.InsideOf(slot);
      if (inside.begin == inside.end) continue;
      const std::pair<int64_t, int64_t> least(slot, inside.begin - read);
      auto shift = std::partition_point(
          shifts.begin(), shifts.end(), [&](const WindowShift& other) {
            return std::pair(other.slot, other.shift) <= least;
          });
      for (;
           shift != shifts.end() && shift->slot == static_cast<int64_t>(slot) &&
           shift->shift < inside.end;
           ++shift) {
        MultiplyShift(*shift, combinations);
      }
    }
  }

  // All phases and columns that have a tap at this shift, in register tiles.
  void MultiplyShift(const WindowShift& shift, int64_t combinations) {
    int64_t rows = 0;
    for (int64_t c = 0; c < combinations; ++c) {
      for (const PhaseTap& tap : shift.taps) {
        const A* filter =
            FilterRow(source_.combination(c).filter_tap + tap.filter_index);
        A* sums = Sums(
            source_.combination(c).phase * blocks_.inner_phases + tap.phase, 0);
        for (int64_t column = 0; column < unit().columns; ++column, ++rows) {
          filter_rows_[rows] = filter + column * blocks_.filter_column_stride;
          sum_rows_[rows] = sums + column * blocks_.positions;
        }
      }
    }
    const A* window = windows_ + shift.slot * blocks_.window + shift.shift;
    for (int64_t r = 0; r < rows;) r += MultiplyTiles(window, r, rows - r);
  }

  // One band of rows over all positions; returns how many rows it took. The
  // last row is repeated to fill a tile: it computes the same sums twice.
  int64_t MultiplyTiles(const A* window, int64_t first, int64_t left) {
    return PickTile(left, [&](auto rows, auto vectors) {
      for (int64_t r = left; r < rows(); ++r) {
        filter_rows_[first + r] = filter_rows_[first + left - 1];
        sum_rows_[first + r] = sum_rows_[first + left - 1];
      }
      int64_t v = 0;
      for (; v + vectors() <= unit().vectors; v += vectors()) {
        MultiplyOne<rows(), vectors()>(window, first, v);
      }
      for (; v < unit().vectors; ++v) MultiplyOne<rows(), 1>(window, first, v);
      return std::min<int64_t>(left, rows());
    });
  }

  // Calls run(rows, vectors) with the register tile for so many rows.
  template <typename RunTile>
  static int64_t PickTile(int64_t left, const RunTile& run) {
    using std::integral_constant;
    if constexpr (CT_REGISTERS >= 32) {
      if (left >= 10) {
        return run(integral_constant<int, 12>(), integral_constant<int, 2>());
      }
      if (left == 9) {
        return run(integral_constant<int, 9>(), integral_constant<int, 2>());
      }
      if (left >= 7) {
        return run(integral_constant<int, 8>(), integral_constant<int, 2>());
      }
      if (left >= 5) {
        return run(integral_constant<int, 6>(), integral_constant<int, 4>());
      }
      if (left >= 3) {
        return run(integral_constant<int, 4>(), integral_constant<int, 4>());
      }
      if (left == 2) {
        return run(integral_constant<int, 2>(), integral_constant<int, 4>());
      }
      return run(integral_constant<int, 1>(), integral_constant<int, 8>());
    } else {
      if (left >= 5) {
        return run(integral_constant<int, 6>(), integral_constant<int, 2>());
      }
      if (left >= 3) {
        return run(integral_constant<int, 4>(), integral_constant<int, 2>());
      }
      if (left == 2) {
        return run(integral_constant<int, 2>(), integral_constant<int, 4>());
      }
      return run(integral_constant<int, 1>(), integral_constant<int, 4>());
    }
  }

  template <int kRows, int kVectors>
  void MultiplyOne(const A* window, int64_t first, int64_t vector) const {
    MultiplyWindow<A, kRows, kVectors>(filter_rows_ + first, depths_, window,
                                       source_.row_step(), sum_rows_ + first,
                                       vector * kLanes<A>);
  }

  A* Sums(int64_t phase, int64_t column) const {
    return sums_ + (phase * blocks_.columns + column) * blocks_.positions;
  }

  void StoreUnit() {
    for (int64_t outer = 0; outer < blocks_.outer_phases; ++outer) {
      if (!SetOuterPhase(outer)) continue;
      for (int64_t phase = 0; phase < blocks_.inner_phases; ++phase) {
        StorePhase(phase, outer * blocks_.inner_phases + phase);
      }
    }
  }

  // False where the phase has no position j.
  bool SetOuterPhase(int64_t index) {
    for (int a = inner_ - 1; a >= 0; --a) {
      const auto& phases = gather_.axis[a].phases;
      line_.phase[a] = &phases[index % phases.size()];
      index /= phases.size();
      if (line_.j[a] >= line_.phase[a]->count) return false;
    }
    return true;
  }

  void StorePhase(int64_t phase, int64_t sums_phase) {
    line_.phase[inner_] = &gather_.axis[inner_].phases[phase];
    const int64_t count = std::min(line_.phase[inner_]->count,
                                   unit().first_position + blocks_.positions) -
                          unit().first_position;
    if (count <= 0) return;
    line_.j[inner_] = unit().first_position;
    T* result = call_.result + line_.ResultOffset(plan_);
    const int64_t step =
        gather_.axis[inner_].result_step * gather_.result.axis[inner_];
    const bool checks =
        touched_border_ && !(looks_first_ && !call_.NeedsRepair());
    for (int64_t c = 0; c < unit().columns; ++c) {
      A* sums = Sums(sums_phase, c);
      if (checks && AnyNaN(sums, count) && call_.NeedsRepair()) {
        RepairLine(sums, count, unit().first_column + c);
      }
      const int64_t channel =
          unit().group * gather_.columns + unit().first_column + c;
      if (transposed_) {
        FinishLine(sums, count, channel);
        continue;
      }
      StoreLine(sums, count, channel, result + channel * gather_.result.channel,
                step);
    }
    if constexpr (std::is_same_v<T, A>) {
      if (!transposed_) return;
      Transpose(Sums(sums_phase, 0), blocks_.positions, unit().columns, count,
                result + unit().group * gather_.columns + unit().first_column,
                step);
    }
  }

  // Adds the bias and activates what is stored by channels' neighbours.
  void FinishLine(A* sums, int64_t count, int64_t channel) const {
    if (call_.bias != nullptr) {
      for (int64_t p = 0; p < count; ++p) sums[p] += call_.bias[channel];
    }
    if (plan_.geometry.activation == Activation::kRelu) {
      for (int64_t p = 0; p < count; ++p) {
        sums[p] = sums[p] < A(0) ? A(0) : sums[p];
      }
    }
  }

  void RepairLine(A* sums, int64_t count, int64_t column) {
    Position position = line_;
    for (int64_t p = 0; p < count; ++p) {
      if (sums[p] == sums[p]) continue;
      position.j[inner_] = unit().first_position + p;
      sums[p] = ExactSum(call_, position, unit().group, column);
    }
  }

  void StoreLine(const A* sums, int64_t count, int64_t channel, T* result,
                 int64_t step) const {
    const Activation activation = plan_.geometry.activation;
    const A bias = BiasOf(call_, channel);
    if (activation == Activation::kNone && call_.bias == nullptr) {
      for (int64_t p = 0; p < count; ++p) {
        result[p * step] = FromCompute<T>(Activation::kNone, sums[p]);
      }
      return;
    }
    const bool biased = call_.bias != nullptr;
    for (int64_t p = 0; p < count; ++p) {
      result[p * step] =
          FromCompute<T>(activation, biased ? sums[p] + bias : sums[p]);
    }
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const Gather& gather_;
  const PixelLanesBlocks& blocks_;
  const A* filter_;
  char* scratch_;
  const int inner_;
  const int64_t phases_;
  const bool looks_first_;  // at the filter, before at sums
  // Sums are [column][position], and the result has channels side by side.
  const bool transposed_;

  PixelWindows<T> source_;

  // The line at hand.
  Position line_;
  int64_t depth_ = 0, depths_ = 0;
  bool touched_border_ = false;
  A* windows_ = nullptr;  // the first is the one at hand, if none is kept
  A* sums_ = nullptr;
  const A** filter_rows_ = nullptr;
  A** sum_rows_ = nullptr;
  Kept* kept_ = nullptr;
  Visit* visits_ = nullptr;
  WindowTap<A>* taps_ = nullptr;
};

template <typename T>
void PackPixelLanes(const GatherCall<T>& call, Compute<T>* packed,
                    const ParallelFor& parallel_for) {
  const PixelLanes<T> kernel(call, nullptr, nullptr);
  parallel_for(call.plan.gather.filter_taps, 1,
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t t = begin; t < end; ++t) {
                   kernel.CopyFilter(t, packed);
                 }
               });
}

template <typename T>
void RunPixelLanes(const GatherCall<T>& call, const Compute<T>* filter,
                   char* scratch, const ParallelFor& parallel_for) {
  const PixelLanes<T> kernel(call, filter, scratch);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    PixelLanes<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_LANES_INL_H_
