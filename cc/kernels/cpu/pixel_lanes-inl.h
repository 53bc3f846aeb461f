// Family 2: lanes run along positions of the innermost axis. Step 6 of the path
// of a call.
//
// For few channels in the result, and for channels-first tensors. A unit is a
// block of positions j of one line of the result, for all phases of all axes:
// they read the same few source lines. Each of those is laid out once as a
// window [depth][slot][position], zeros beyond the border. Every shift of a
// window then serves all phases that have a tap there: they, and the columns,
// are the rows of the register tile.
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
        slots_(std::max<int64_t>(1, blocks_.residues.size())),
        phases_(blocks_.outer_phases * blocks_.inner_phases),
        few_shifts_(blocks_.shifts.size() <= 32),
        looks_first_(call.LooksFirst()),
        transposed_(std::is_same_v<T, A> && StoresVectors(call) &&
                    blocks_.columns > 1) {}

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
    const int64_t end = std::min((unit + 1) * blocks_.unit_lines, CountLines());
    for (int64_t line = unit * blocks_.unit_lines; line < end; ++line) {
      RunWithKeptWindows(line);
    }
  }

 private:
  // A phase of the outer axes that reads the line at hand, and through which
  // filter position.
  struct Combination {
    int64_t phase;
    int64_t filter_tap;
  };

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
    int64_t phase;
    int64_t filter_tap;
    int64_t window;
  };
  static_assert(sizeof(Visit) <= PixelLanesBlocks::kVisitBytes);
  static_assert(sizeof(WindowTap<A>) <= PixelLanesBlocks::kTapBytes);

  // The line's sums, of all phases, for each shift of each window.
  void RunLine(int64_t line) {
    SetUnit(line);
    std::fill(sums_, sums_ + phases_ * blocks_.columns * blocks_.positions,
              A(0));
    touched_border_ = false;
    for (depth_ = 0; depth_ < gather_.depth; depth_ += blocks_.depth_block) {
      depths_ = std::min(blocks_.depth_block, gather_.depth - depth_);
      VisitLines([&](int64_t count) {
        FillWindow();
        MultiplyWindows(count);
      });
    }
    StoreUnit();
  }

  // Phase by phase, in registers over all windows and shifts.
  void RunWithKeptWindows(int64_t line) {
    SetUnit(line);
    depth_ = 0;
    depths_ = gather_.depth;
    touched_border_ = false;
    int64_t visits = 0;
    VisitLines([&](int64_t count) {
      const int64_t window = KeepWindow(line);
      touched_border_ |= kept_[window].touched_border;
      for (int64_t c = 0; c < count; ++c) {
        visits_[visits++] = {combinations_[c].phase,
                             combinations_[c].filter_tap, window};
      }
    });
    for (int64_t outer = 0; outer < blocks_.outer_phases; ++outer) {
      if (!SetOuterPhase(outer)) continue;
      for (int64_t phase = 0; phase < blocks_.inner_phases; ++phase) {
        const int64_t taps = FindTaps(outer, phase, visits);
        for (int64_t c = 0; c < columns_;) {
          c += PickTile(columns_ - c, [&](auto rows, auto vectors) {
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
      if (kept.line >= 0 && kept.source_offset == source_offset_ &&
          kept.group == group_ && kept.first_position == first_position_) {
        kept.line = line;
        return n;
      }
      if (kept.line < kept_[window].line) window = n;
    }
    const bool before = touched_border_;
    touched_border_ = false;
    window_ = windows_ + window * WindowElements();
    FillWindow();
    kept_[window] = {source_offset_, group_, first_position_, line,
                     touched_border_};
    touched_border_ = before;
    return window;
  }

  // Taps of a phase, by window and shift. Returns how many there are.
  int64_t FindTaps(int64_t outer, int64_t inner, int64_t visits) {
    int64_t taps = 0;
    for (int64_t v = 0; v < visits; ++v) {
      if (visits_[v].phase != outer) continue;
      const A* window = windows_ + visits_[v].window * WindowElements();
      for (const WindowShift& shift : blocks_.shifts) {
        for (const PhaseTap& tap : shift.taps) {
          if (tap.phase != inner) continue;
          taps_[taps++] = {window + shift.slot * blocks_.window + shift.shift,
                           FilterRow(visits_[v].filter_tap + tap.filter_index)};
        }
      }
    }
    return taps;
  }

  // A band of columns from `column` on, over all positions. Returns how many
  // columns it took.
  template <int kRows, int kVectors>
  int64_t MultiplyTaps(int64_t column, int64_t taps) {
    const int64_t left = columns_ - column;
    int64_t v = 0;
    for (; v + kVectors <= vectors_; v += kVectors) {
      MultiplyTapsOf<kRows, kVectors>(column, taps, v);
    }
    for (; v < vectors_; ++v) MultiplyTapsOf<kRows, 1>(column, taps, v);
    return std::min<int64_t>(left, kRows);
  }

  template <int kRows, int kVectors>
  void MultiplyTapsOf(int64_t column, int64_t taps, int64_t vector) {
    const int64_t step = blocks_.filter_column_stride;
    for (int64_t t = 0; t < taps; ++t) taps_[t].filter += column * step;
    MultiplyWindowTaps<A, kRows, kVectors>(
        taps_, taps, step, columns_ - column - 1, depths_,
        slots_ * blocks_.window, vector * kLanes<A>, Sums(0, column),
        blocks_.positions);
    for (int64_t t = 0; t < taps; ++t) taps_[t].filter -= column * step;
  }

  int64_t WindowElements() const {
    return blocks_.depth_block * slots_ * blocks_.window;
  }

  // Of a filter position: the row of the first column at the depth at hand.
  const A* FilterRow(int64_t tap) const {
    return filter_ + tap * blocks_.filter_tap_stride +
           group_ * blocks_.filter_group_stride +
           first_column_ * blocks_.filter_column_stride + depth_;
  }

  // Lines of the result, of all blocks of positions and columns.
  int64_t CountLines() const {
    int64_t lines =
        plan_.geometry.batch * plan_.geometry.groups *
        CeilDiv(LongestPhase(gather_.axis[inner_]), blocks_.positions) *
        CeilDiv(gather_.columns, blocks_.columns);
    for (int a = 0; a < inner_; ++a) lines *= LongestPhase(gather_.axis[a]);
    return lines;
  }

  void SetScratch(int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    window_ = windows_ = reinterpret_cast<A*>(p);
    p += RoundUp64(std::max<int64_t>(1, blocks_.windows) * WindowElements() *
                   sizeof(A));
    sums_ = reinterpret_cast<A*>(p);
    p += RoundUp64(phases_ * blocks_.columns * blocks_.positions * sizeof(A));
    filter_rows_ = reinterpret_cast<const A**>(p);
    sum_rows_ = reinterpret_cast<A**>(p) + phases_ * blocks_.columns + 16;
    p += RoundUp64(2 * (phases_ * blocks_.columns + 16) * 8);
    combinations_ = reinterpret_cast<Combination*>(p);
    p += RoundUp64(blocks_.outer_phases * sizeof(Combination));
    kept_ = reinterpret_cast<Kept*>(p);
    p += RoundUp64(blocks_.windows * sizeof(Kept));
    visits_ = reinterpret_cast<Visit*>(p);
    p += RoundUp64(blocks_.windows * blocks_.outer_phases * sizeof(Visit));
    taps_ = reinterpret_cast<WindowTap<A>*>(p);
  }

  static int64_t LongestPhase(const AxisPhases& axis) {
    int64_t longest = 0;
    for (const Phase& phase : axis.phases) {
      longest = std::max(longest, phase.count);
    }
    return longest;
  }

  void SetUnit(int64_t unit) {
    const int64_t column_blocks =
        (gather_.columns + blocks_.columns - 1) / blocks_.columns;
    first_column_ = unit % column_blocks * blocks_.columns;
    columns_ = std::min(blocks_.columns, gather_.columns - first_column_);
    unit /= column_blocks;
    const int64_t longest = LongestPhase(gather_.axis[inner_]);
    const int64_t line_blocks =
        (longest + blocks_.positions - 1) / blocks_.positions;
    first_position_ = unit % line_blocks * blocks_.positions;
    const int64_t lanes =
        std::min(blocks_.positions, longest - first_position_);
    vectors_ = (lanes + kLanes<A> - 1) / kLanes<A>;
    unit /= line_blocks;
    for (int a = inner_ - 1; a >= 0; --a) {
      const int64_t count = LongestPhase(gather_.axis[a]);
      line_.j[a] = unit % count;
      unit /= count;
    }
    group_ = unit % plan_.geometry.groups;
    line_.batch = unit / plan_.geometry.groups;
  }

  // Calls visit(combinations) for all combinations of source positions along
  // the outer axes that some phase reads.
  template <typename Visitor>
  void VisitLines(const Visitor& visit) {
    std::array<TapRange, kMaxRank> inside{};
    std::array<int64_t, kMaxRank> index{};
    for (int a = 0; a < inner_; ++a) {
      inside[a] = LinesInside(a);
      if (inside[a].size() == 0) return;
      index[a] = inside[a].begin;
    }
    while (true) {
      const int64_t count = FindCombinations(index);
      if (count > 0) visit(count);
      int a = inner_ - 1;
      while (a >= 0 && ++index[a] == inside[a].end) {
        index[a] = inside[a].begin;
        --a;
      }
      if (a < 0) return;
    }
  }

  // The lines of an outer axis that are inside the source, which may be few of
  // many: they are in the order of their offsets.
  TapRange LinesInside(int a) const {
    const std::vector<SourceLine>& lines = blocks_.lines[a];
    const int64_t at = line_.j[a] * gather_.axis[a].source_step;
    const auto begin = std::partition_point(
        lines.begin(), lines.end(),
        [&](const auto& line) { return at + line.source_offset < 0; });
    const auto end =
        std::partition_point(begin, lines.end(), [&](const auto& line) {
          return at + line.source_offset < gather_.axis[a].source_length;
        });
    return {begin - lines.begin(), end - lines.begin()};
  }

  // Outer phases that read this line.
  int64_t FindCombinations(const std::array<int64_t, kMaxRank>& index) {
    source_offset_ = line_.batch * gather_.source.batch;
    for (int a = 0; a < inner_; ++a) {
      const int64_t i = line_.j[a] * gather_.axis[a].source_step +
                        blocks_.lines[a][index[a]].source_offset;
      source_offset_ += i * gather_.source.axis[a];
    }
    int64_t count = 1;
    combinations_[0] = {0, 0};
    for (int a = 0; a < inner_; ++a) {
      count = ExtendCombinations(a, blocks_.lines[a][index[a]], count);
    }
    return count;
  }

  // Multiplies the combinations by the taps of one more axis. Works from the
  // last to the first so that it can happen in place.
  int64_t ExtendCombinations(int a, const SourceLine& line, int64_t count) {
    const auto& phases = gather_.axis[a].phases;
    int64_t taps = 0;
    for (const PhaseTap& tap : line.taps) {
      taps += line_.j[a] < phases[tap.phase].count;
    }
    int64_t to = count * taps;
    for (int64_t c = count - 1; c >= 0; --c) {
      const Combination before = combinations_[c];
      for (auto tap = line.taps.rbegin(); tap != line.taps.rend(); ++tap) {
        if (line_.j[a] >= phases[tap->phase].count) continue;
        combinations_[--to] = {
            before.phase * static_cast<int64_t>(phases.size()) + tap->phase,
            before.filter_tap + tap->filter_index * gather_.filter_step[a]};
      }
    }
    return count * taps;
  }

  // Elements of a window row that are inside the source.
  struct Inside {
    int64_t start;  // source position of element 0
    int64_t begin, end;
  };
  Inside InsideOf(int64_t slot) const {
    const AxisPhases& axis = gather_.axis[inner_];
    const int64_t step = axis.source_step;
    const int64_t start =
        (first_position_ + blocks_.lowest) * step + blocks_.residues[slot];
    const int64_t begin =
        std::min(blocks_.window, start >= 0 ? 0 : (-start + step - 1) / step);
    const int64_t inside = (axis.source_length - start + step - 1) / step;
    return {start, begin, std::max(begin, std::min(blocks_.window, inside))};
  }

  // Copies one source line into the window: element e of slot s is source
  // position (first_position + lowest + e) * source_step + residue[s]. Zeros
  // beyond the source as far as a shift that reaches it reads.
  void FillWindow() {
    const AxisPhases& axis = gather_.axis[inner_];
    const int64_t step = axis.source_step;
    const int64_t row_step = slots_ * blocks_.window;
    const int64_t element_step = step * gather_.source.axis[inner_];
    const int64_t read = vectors_ * kLanes<A>;
    for (size_t slot = 0; slot < blocks_.residues.size(); ++slot) {
      const auto [start, begin, end] = InsideOf(slot);
      touched_border_ |= begin > 0 || end < blocks_.window;
      if (begin == end && !few_shifts_) continue;
      const int64_t first =
          few_shifts_ ? 0 : std::max<int64_t>(0, begin - read);
      const int64_t last =
          few_shifts_ ? blocks_.window : std::min(blocks_.window, end + read);
      A* to = window_ + slot * blocks_.window;
      for (int64_t d = 0; d < depths_; ++d) {
        std::fill(to + d * row_step + first, to + d * row_step + begin, A(0));
        std::fill(to + d * row_step + end, to + d * row_step + last, A(0));
      }
      if (begin == end) continue;
      const T* from =
          call_.source + source_offset_ +
          (group_ * gather_.depth + depth_) * gather_.source.channel +
          (start + begin * step) * gather_.source.axis[inner_];
      if (gather_.source.channel == 1 && depths_ > 1) {
        Transpose(from, element_step, end - begin, depths_, to + begin,
                  row_step);
        continue;
      }
      for (int64_t d = 0; d < depths_; ++d) {
        WidenRow<T>(from + d * gather_.source.channel, element_step,
                    end - begin, to + d * row_step + begin);
      }
    }
  }

  // The shifts of each slot that reach the source: they are sorted. Of few,
  // all.
  void MultiplyWindows(int64_t combinations) {
    const std::vector<WindowShift>& shifts = blocks_.shifts;
    if (few_shifts_) {
      for (const WindowShift& shift : shifts) {
        MultiplyShift(shift, combinations);
      }
      return;
    }
    const int64_t read = vectors_ * kLanes<A>;
    for (size_t slot = 0; slot < blocks_.residues.size(); ++slot) {
      const Inside inside = InsideOf(slot);
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
            FilterRow(combinations_[c].filter_tap + tap.filter_index);
        A* sums =
            Sums(combinations_[c].phase * blocks_.inner_phases + tap.phase, 0);
        for (int64_t column = 0; column < columns_; ++column, ++rows) {
          filter_rows_[rows] = filter + column * blocks_.filter_column_stride;
          sum_rows_[rows] = sums + column * blocks_.positions;
        }
      }
    }
    const A* window = window_ + shift.slot * blocks_.window + shift.shift;
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
      for (; v + vectors() <= vectors_; v += vectors()) {
        MultiplyOne<rows(), vectors()>(window, first, v);
      }
      for (; v < vectors_; ++v) MultiplyOne<rows(), 1>(window, first, v);
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
                                       slots_ * blocks_.window,
                                       sum_rows_ + first, vector * kLanes<A>);
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
                                   first_position_ + blocks_.positions) -
                          first_position_;
    if (count <= 0) return;
    line_.j[inner_] = first_position_;
    T* result = call_.result + line_.ResultOffset(plan_);
    const int64_t step =
        gather_.axis[inner_].result_step * gather_.result.axis[inner_];
    const bool checks =
        touched_border_ && !(looks_first_ && !call_.NeedsRepair());
    for (int64_t c = 0; c < columns_; ++c) {
      A* sums = Sums(sums_phase, c);
      if (checks && AnyNaN(sums, count) && call_.NeedsRepair()) {
        RepairLine(sums, count, first_column_ + c);
      }
      const int64_t channel = group_ * gather_.columns + first_column_ + c;
      if (transposed_) {
        FinishLine(sums, count, channel);
        continue;
      }
      StoreLine(sums, count, channel, result + channel * gather_.result.channel,
                step);
    }
    if constexpr (std::is_same_v<T, A>) {
      if (!transposed_) return;
      Transpose(Sums(sums_phase, 0), blocks_.positions, columns_, count,
                result + group_ * gather_.columns + first_column_, step);
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
      position.j[inner_] = first_position_ + p;
      sums[p] = ExactSum(call_, position, group_, column);
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
  const int64_t slots_;
  const int64_t phases_;
  // All are multiplied, also those that see nothing but zeros: finding the
  // others took 5 % of a call of five shifts.
  const bool few_shifts_;
  const bool looks_first_;  // at the filter, before at sums
  // Sums are [column][position], and the result has channels side by side.
  const bool transposed_;

  // The unit at hand.
  Position line_;
  int64_t group_ = 0, first_column_ = 0, columns_ = 0;
  int64_t first_position_ = 0, vectors_ = 0;
  int64_t depth_ = 0, depths_ = 0, source_offset_ = 0;
  bool touched_border_ = false;
  A* windows_ = nullptr;
  A* window_ = nullptr;  // the one at hand
  A* sums_ = nullptr;
  const A** filter_rows_ = nullptr;
  A** sum_rows_ = nullptr;
  Combination* combinations_ = nullptr;
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
