// Rows of a gather: consecutive result positions of one phase, in tiles, and
// where each tap reads the source for them. They run along the innermost axis
// first, or along the batch: see Plan::batch_inner. Shared by the families
// whose tiles run over positions of any axis.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_ROWS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_ROWS_INL_H_

inline constexpr int kMaxTileRows = 64;

class RowTiles {
 public:
  explicit RowTiles(const Plan& plan)
      : plan_(plan),
        gather_(plan.gather),
        inner_(plan.geometry.rank - 1),
        batch_inner_(plan.batch_inner) {}

  int64_t rows() const { return rows_; }
  // Taps of the phase, and of those the ones that the tile at hand can reach:
  // FindTaps counts them.
  int64_t phase_taps() const { return phase_taps_; }
  int64_t taps() const { return taps_; }
  // Some row of the tile reads beyond the border of the source.
  bool touched_border() const { return touched_border_; }
  int64_t result_offset(int64_t row) const { return result_offset_[row]; }

  void SetPhase(int64_t index) {
    rows_ = plan_.geometry.batch;
    phase_taps_ = 1;
    for (int a = inner_; a >= 0; --a) {
      const auto& phases = gather_.axis[a].phases;
      phase_[a] = &phases[index % phases.size()];
      index /= phases.size();
      rows_ *= phase_[a]->count;
      phase_taps_ *= phase_[a]->taps.size();
    }
  }

  // The next tile starts at `row`: one division per axis here, none while
  // tiles follow each other.
  void Seek(int64_t row) {
    if (batch_inner_) {
      next_.batch = row % plan_.geometry.batch;
      row /= plan_.geometry.batch;
    }
    for (int a = inner_; a >= 0; --a) {
      next_.j[a] = row % phase_[a]->count;
      row /= phase_[a]->count;
    }
    if (!batch_inner_) next_.batch = row;
    next_.phase = phase_;
  }

  // Takes `count` rows as a tile of tile_rows; rows beyond the last repeat it:
  // computed, not stored.
  void Take(int64_t count, int tile_rows) {
    count_ = static_cast<int>(count);
    runs_ = 0;
    touched_border_ = false;
    const int64_t step = batch_inner_ ? gather_.result.batch
                                      : gather_.axis[inner_].result_step *
                                            gather_.result.axis[inner_];
    for (int r = 0; r < count_;) {
      Run& run = run_[runs_++];
      run.first = next_;
      run.begin = r;
      const int64_t left = batch_inner_
                               ? plan_.geometry.batch - next_.batch
                               : phase_[inner_]->count - next_.j[inner_];
      run.end = r + static_cast<int>(std::min<int64_t>(count_ - r, left));
      int64_t offset = next_.ResultOffset(plan_);
      (batch_inner_ ? next_.batch : next_.j[inner_]) += run.end - r - 1;
      for (; r < run.end; ++r, offset += step) result_offset_[r] = offset;
      Advance();
    }
    std::fill(result_offset_ + count_, result_offset_ + tile_rows,
              result_offset_[count_ - 1]);
    ReachTaps();
  }

  Position PositionOf(int64_t row) const {
    const Run* run = run_;
    while (run->end <= row) ++run;
    Position position = run->first;
    (batch_inner_ ? position.batch : position.j[inner_]) += row - run->begin;
    return position;
  }

  // All taps of the innermost axis are inside the source for all rows, as far
  // as that axis goes.
  bool InnerTapsInside() const {
    const AxisPhases& axis = gather_.axis[inner_];
    const std::vector<Tap>& taps = phase_[inner_]->taps;
    for (int i = 0; i < runs_; ++i) {
      const int64_t first = run_[i].first.j[inner_];
      const int64_t last = first + Along(run_[i]);
      if (first * axis.source_step + taps.front().source_offset < 0 ||
          last * axis.source_step + taps.back().source_offset >=
              axis.source_length) {
        return false;
      }
    }
    return true;
  }

  // For those of the taps [first, last) within reach that some row finds inside
  // the source: their filter positions, and tile_rows source offsets each, -1
  // where a row is outside. Returns how many there are. merged: how many taps
  // of the innermost axis the first of them stands for.
  int64_t FindTaps(int64_t first, int64_t last, int tile_rows,
                   int64_t* filter_taps, int64_t* offsets, int64_t merged = 1) {
    if (first >= last) return 0;  // none is within reach
    const int64_t inner_taps = reach_[inner_].size();
    int64_t found = 0, line_filter = 0;
    int64_t line_offset[kMaxTileRows];
    int64_t outer = first / inner_taps, t_inner = first % inner_taps;
    for (int64_t t = first; t < last; t += merged, t_inner += merged) {
      if (t == first || t_inner == inner_taps) {
        if (t_inner == inner_taps) t_inner = 0, ++outer;
        line_filter = FindLines(outer, line_offset);
      }
      const Tap& tap = phase_[inner_]->taps[reach_[inner_].begin + t_inner];
      int64_t* to = offsets + found * tile_rows;
      bool any = false;
      for (int i = 0; i < runs_; ++i) {
        any |= FindAlongLine(run_[i], tap, line_offset[i], to);
      }
      if (!any) continue;
      for (int r = count_; r < tile_rows; ++r) to[r] = to[count_ - 1];
      filter_taps[found++] = line_filter + tap.filter_index;
    }
    return found;
  }

 private:
  // Rows [begin, end) of the tile that follow each other on one line.
  struct Run {
    Position first;
    int begin, end;
  };

  // Along each axis, the taps that some row of the tile can find inside. The
  // time of a tile must not grow with a filter that is mostly beyond the
  // source.
  void ReachTaps() {
    taps_ = 1;
    for (int a = inner_; a >= 0; --a) {
      int64_t first = run_[0].first.j[a], last = first;
      for (int i = 0; i < runs_; ++i) {
        const int64_t j = run_[i].first.j[a];
        const int64_t more = a == inner_ ? Along(run_[i]) : 0;
        first = std::min(first, j);
        last = std::max(last, j + more);
      }
      reach_[a] = InsideTaps(gather_.axis[a], *phase_[a], first, last);
      taps_ *= reach_[a].size();
    }
  }

  // Steps along the innermost axis from the first row of a run to its last.
  int64_t Along(const Run& run) const {
    return batch_inner_ ? 0 : run.end - run.begin - 1;
  }

  void Advance() {
    if (batch_inner_) {
      if (++next_.batch < plan_.geometry.batch) return;
      next_.batch = 0;
    }
    int a = inner_;
    while (a >= 0 && ++next_.j[a] == phase_[a]->count) next_.j[a--] = 0;
    if (a < 0 && !batch_inner_) ++next_.batch;
  }

  // Source offsets of the rows of one run; false where all are outside.
  bool FindAlongLine(const Run& run, const Tap& tap, int64_t line_offset,
                     int64_t* offsets) {
    const AxisPhases& axis = gather_.axis[inner_];
    int64_t i = run.first.j[inner_] * axis.source_step + tap.source_offset;
    const int64_t last = i + Along(run) * axis.source_step;
    const int64_t step = batch_inner_
                             ? gather_.source.batch
                             : axis.source_step * gather_.source.axis[inner_];
    int64_t offset = line_offset + i * gather_.source.axis[inner_];
    if (line_offset >= 0 && i >= 0 && last < axis.source_length) {
      for (int r = run.begin; r < run.end; ++r, offset += step) {
        offsets[r] = offset;
      }
      return true;
    }
    touched_border_ = true;
    bool any = false;
    const int64_t source_step = batch_inner_ ? 0 : axis.source_step;
    for (int r = run.begin; r < run.end;
         ++r, i += source_step, offset += step) {
      const bool inside = line_offset >= 0 && i >= 0 && i < axis.source_length;
      any |= inside;
      offsets[r] = inside ? offset : -1;
    }
    return any;
  }

  // Offset of the source line of each run (its position along all axes but the
  // innermost) for one combination of outer taps, -1 where it is outside.
  // Returns the filter position of the combination.
  int64_t FindLines(int64_t index, int64_t* offsets) const {
    for (int r = 0; r < runs_; ++r) {
      offsets[r] = run_[r].first.batch * gather_.source.batch;
    }
    int64_t filter = 0;
    for (int a = inner_ - 1; a >= 0; --a) {
      const TapRange& reach = reach_[a];
      const Tap& tap = phase_[a]->taps[reach.begin + index % reach.size()];
      index /= reach.size();
      filter += tap.filter_index * gather_.filter_step[a];
      for (int r = 0; r < runs_; ++r) {
        const int64_t i = run_[r].first.j[a] * gather_.axis[a].source_step +
                          tap.source_offset;
        const bool inside =
            offsets[r] >= 0 && i >= 0 && i < gather_.axis[a].source_length;
        offsets[r] = inside ? offsets[r] + i * gather_.source.axis[a] : -1;
      }
    }
    return filter;
  }

  const Plan& plan_;
  const Gather& gather_;
  const int inner_;
  const bool batch_inner_;  // neighbouring rows are of neighbouring batches
  std::array<const Phase*, kMaxRank> phase_{};
  int64_t rows_ = 0, phase_taps_ = 0;
  Position next_;
  // The tile at hand.
  bool touched_border_ = false;
  int count_ = 0, runs_ = 0;
  int64_t taps_ = 0;
  std::array<TapRange, kMaxRank> reach_{};
  Run run_[kMaxTileRows];
  int64_t result_offset_[kMaxTileRows];
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_ROWS_INL_H_
