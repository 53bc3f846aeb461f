// Which source lines a line of the result reads, and their windows
// [depth][slot][position], zeros beyond the border: what pixel_lanes-inl.h
// multiplies.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_WINDOWS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_WINDOWS_INL_H_

// A block of positions and columns of one line of the result, of all phases of
// all axes.
struct PixelLine {
  Position at;  // without phases
  int64_t group = 0;
  int64_t first_column = 0, columns = 0;
  int64_t first_position = 0;
  int64_t vectors = 0;  // of positions
};

template <typename T>
class PixelWindows {
 public:
  using A = Compute<T>;

  // A phase of the outer axes that reads the line at hand, and through which
  // filter position.
  struct Combination {
    int64_t phase;
    int64_t filter_tap;
  };

  explicit PixelWindows(const GatherCall<T>& call)
      : call_(call),
        plan_(call.plan),
        gather_(call.plan.gather),
        blocks_(call.plan.pixel_lanes),
        inner_(call.plan.geometry.rank - 1),
        slots_(std::max<int64_t>(1, blocks_.residues.size())),
        few_shifts_(blocks_.shifts.size() <= 32) {}

  // Takes room for blocks.outer_phases combinations.
  void SetScratch(Combination* combinations) { combinations_ = combinations; }

  // Lines of the result, of all blocks of positions and columns.
  int64_t CountLines() const {
    int64_t lines =
        plan_.geometry.batch * plan_.geometry.groups *
        CeilDiv(LongestPhase(gather_.axis[inner_]), blocks_.positions) *
        CeilDiv(gather_.columns, blocks_.columns);
    for (int a = 0; a < inner_; ++a) lines *= LongestPhase(gather_.axis[a]);
    return lines;
  }

  // Takes a line of the result, of one block of positions and columns.
  void SetLine(int64_t line) {
    const int64_t column_blocks = CeilDiv(gather_.columns, blocks_.columns);
    unit_.first_column = line % column_blocks * blocks_.columns;
    unit_.columns =
        std::min(blocks_.columns, gather_.columns - unit_.first_column);
    line /= column_blocks;
    const int64_t longest = LongestPhase(gather_.axis[inner_]);
    const int64_t line_blocks = CeilDiv(longest, blocks_.positions);
    unit_.first_position = line % line_blocks * blocks_.positions;
    const int64_t lanes =
        std::min(blocks_.positions, longest - unit_.first_position);
    unit_.vectors = CeilDiv(lanes, kLanes<A>);
    line /= line_blocks;
    for (int a = inner_ - 1; a >= 0; --a) {
      const int64_t count = LongestPhase(gather_.axis[a]);
      unit_.at.j[a] = line % count;
      line /= count;
    }
    unit_.group = line % plan_.geometry.groups;
    unit_.at.batch = line / plan_.geometry.groups;
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

  // Elements of a window row that are inside the source.
  struct Inside {
    int64_t start;  // source position of element 0
    int64_t begin, end;
  };
  Inside InsideOf(int64_t slot) const {
    const AxisPhases& axis = gather_.axis[inner_];
    const int64_t step = axis.source_step;
    const int64_t start =
        (unit_.first_position + blocks_.lowest) * step + blocks_.residues[slot];
    const int64_t begin =
        std::min(blocks_.window, start >= 0 ? 0 : (-start + step - 1) / step);
    const int64_t inside = (axis.source_length - start + step - 1) / step;
    return {start, begin, std::max(begin, std::min(blocks_.window, inside))};
  }

  // Copies one source line into the window: element e of slot s is source
  // position (first_position + lowest + e) * source_step + residue[s]. Zeros
  // beyond the source as far as a shift that reaches it reads; returns whether
  // there are any.
  bool Fill(int64_t depth, int64_t depths, A* window) const {
    const AxisPhases& axis = gather_.axis[inner_];
    const int64_t step = axis.source_step;
    const int64_t row_step = slots_ * blocks_.window;
    const int64_t element_step = step * gather_.source.axis[inner_];
    bool touched_border = false;
    const int64_t read = unit_.vectors * kLanes<A>;
    for (size_t slot = 0; slot < blocks_.residues.size(); ++slot) {
      const auto [start, begin, end] = InsideOf(slot);
      touched_border |= begin > 0 || end < blocks_.window;
      if (begin == end && !few_shifts_) continue;
      const int64_t first =
          few_shifts_ ? 0 : std::max<int64_t>(0, begin - read);
      const int64_t last =
          few_shifts_ ? blocks_.window : std::min(blocks_.window, end + read);
      A* to = window + slot * blocks_.window;
      for (int64_t d = 0; d < depths; ++d) {
        std::fill(to + d * row_step + first, to + d * row_step + begin, A(0));
        std::fill(to + d * row_step + end, to + d * row_step + last, A(0));
      }
      if (begin == end) continue;
      const T* from =
          call_.source + source_offset_ +
          (unit_.group * gather_.depth + depth) * gather_.source.channel +
          (start + begin * step) * gather_.source.axis[inner_];
      if (gather_.source.channel == 1 && depths > 1) {
        Transpose(from, element_step, end - begin, depths, to + begin,
                  row_step);
        continue;
      }
      for (int64_t d = 0; d < depths; ++d) {
        WidenRow<T>(from + d * gather_.source.channel, element_step,
                    end - begin, to + d * row_step + begin);
      }
    }
    return touched_border;
  }

  const PixelLine& unit() const { return unit_; }
  // Of the source line at hand: where it begins, and what reads it.
  int64_t source_offset() const { return source_offset_; }
  const Combination& combination(int64_t n) const { return combinations_[n]; }
  bool few_shifts() const { return few_shifts_; }
  // Elements of a window, and from one of its depths to the next.
  int64_t elements() const { return blocks_.depth_block * row_step(); }
  int64_t row_step() const { return slots_ * blocks_.window; }

 private:
  static int64_t LongestPhase(const AxisPhases& axis) {
    int64_t longest = 0;
    for (const Phase& phase : axis.phases) {
      longest = std::max(longest, phase.count);
    }
    return longest;
  }

  // The lines of an outer axis that are inside the source, which may be few of
  // many: they are in the order of their offsets.
  TapRange LinesInside(int a) const {
    const std::vector<SourceLine>& lines = blocks_.lines[a];
    const int64_t at = unit_.at.j[a] * gather_.axis[a].source_step;
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
    source_offset_ = unit_.at.batch * gather_.source.batch;
    for (int a = 0; a < inner_; ++a) {
      const int64_t i = unit_.at.j[a] * gather_.axis[a].source_step +
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
      taps += unit_.at.j[a] < phases[tap.phase].count;
    }
    int64_t to = count * taps;
    for (int64_t c = count - 1; c >= 0; --c) {
      const Combination before = combinations_[c];
      for (auto tap = line.taps.rbegin(); tap != line.taps.rend(); ++tap) {
        if (unit_.at.j[a] >= phases[tap->phase].count) continue;
        combinations_[--to] = {
            before.phase * static_cast<int64_t>(phases.size()) + tap->phase,
            before.filter_tap + tap->filter_index * gather_.filter_step[a]};
      }
    }
    return count * taps;
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const Gather& gather_;
  const PixelLanesBlocks& blocks_;
  const int inner_;
  const int64_t slots_;
  // All are multiplied, also those that see nothing but zeros: finding the
  // others took 5 % of a call of five shifts.
  const bool few_shifts_;

  PixelLine unit_;
  int64_t source_offset_ = 0;
  Combination* combinations_ = nullptr;
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_WINDOWS_INL_H_
