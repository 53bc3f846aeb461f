// Rows of a gather: consecutive result positions of one phase, in tiles, and
// where each tap reads the source for them. Shared by the families whose tiles
// run over positions of any axis.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_ROWS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_ROWS_INL_H_

inline constexpr int kMaxTileRows = 64;

class RowTiles {
 public:
  explicit RowTiles(const Plan& plan)
      : plan_(plan), gather_(plan.gather), inner_(plan.geometry.rank - 1) {}

  int64_t rows() const { return rows_; }
  int64_t taps() const { return taps_; }
  // Some row of the tile reads beyond the border of the source.
  bool touched_border() const { return touched_border_; }
  int64_t result_offset(int64_t row) const { return result_offset_[row]; }

  void SetPhase(int64_t index) {
    rows_ = plan_.geometry.batch;
    taps_ = 1;
    for (int a = inner_; a >= 0; --a) {
      const auto& phases = gather_.axis[a].phases;
      phase_[a] = &phases[index % phases.size()];
      index /= phases.size();
      rows_ *= phase_[a]->count;
      taps_ *= phase_[a]->taps.size();
    }
  }

  // The next tile starts at `row`: one division per axis here, none while
  // tiles follow each other.
  void Seek(int64_t row) {
    for (int a = inner_; a >= 0; --a) {
      next_.j[a] = row % phase_[a]->count;
      row /= phase_[a]->count;
    }
    next_.batch = row;
    next_.phase = phase_;
  }

  // Takes `count` rows as a tile of tile_rows; rows beyond the last repeat it:
  // computed, not stored.
  void Take(int64_t count, int tile_rows) {
    first_ = next_;
    touched_border_ = false;
    one_line_ = first_.j[inner_] + tile_rows <= phase_[inner_]->count &&
                count == tile_rows;
    if (one_line_) {
      const int64_t result = next_.ResultOffset(plan_);
      const int64_t step =
          gather_.axis[inner_].result_step * gather_.result.axis[inner_];
      for (int r = 0; r < tile_rows; ++r) result_offset_[r] = result + r * step;
      next_.j[inner_] += tile_rows - 1;
      return Advance();
    }
    for (int r = 0; r < tile_rows; ++r) {
      for (int a = 0; a <= inner_; ++a) j_[a][r] = next_.j[a];
      batch_[r] = next_.batch;
      result_offset_[r] = next_.ResultOffset(plan_);
      if (r < count - 1) Advance();
    }
    Advance();
  }

  Position PositionOf(int64_t row) const {
    Position position = first_;
    if (one_line_) {
      position.j[inner_] += row;
      return position;
    }
    for (int a = 0; a <= inner_; ++a) position.j[a] = j_[a][row];
    position.batch = batch_[row];
    return position;
  }

  // For the taps [first, last) of the phase that some row finds inside the
  // source: their filter positions, and tile_rows source offsets each, -1 where
  // a row is outside. Returns how many there are.
  int64_t FindTaps(int64_t first, int64_t last, int tile_rows,
                   int64_t* filter_taps, int64_t* offsets) {
    const int64_t inner_taps = phase_[inner_]->taps.size();
    const int lines = one_line_ ? 1 : tile_rows;
    int64_t found = 0, line_filter = 0;
    int64_t line_offset[kMaxTileRows] = {-1};
    int64_t outer = first / inner_taps, t_inner = first % inner_taps;
    for (int64_t t = first; t < last; ++t, ++t_inner) {
      if (t == first || t_inner == inner_taps) {
        if (t_inner == inner_taps) t_inner = 0, ++outer;
        line_filter = FindLines(outer, lines, line_offset);
      }
      const Tap& tap = phase_[inner_]->taps[t_inner];
      int64_t* to = offsets + found * tile_rows;
      const bool any = one_line_
                           ? FindAlongLine(tap, line_offset[0], tile_rows, to)
                           : FindAtRows(tap, line_offset, tile_rows, to);
      if (any) filter_taps[found++] = line_filter + tap.filter_index;
    }
    return found;
  }

 private:
  void Advance() {
    int a = inner_;
    while (a >= 0 && ++next_.j[a] == phase_[a]->count) next_.j[a--] = 0;
    if (a < 0) ++next_.batch;
  }

  // Rows that follow each other on one line.
  bool FindAlongLine(const Tap& tap, int64_t line_offset, int tile_rows,
                     int64_t* offsets) {
    const AxisPhases& axis = gather_.axis[inner_];
    int64_t i = first_.j[inner_] * axis.source_step + tap.source_offset;
    const int64_t last = i + (tile_rows - 1) * axis.source_step;
    const int64_t step = axis.source_step * gather_.source.axis[inner_];
    int64_t offset = line_offset + i * gather_.source.axis[inner_];
    if (line_offset >= 0 && i >= 0 && last < axis.source_length) {
      for (int r = 0; r < tile_rows; ++r) offsets[r] = offset + r * step;
      return true;
    }
    touched_border_ = true;
    if (line_offset < 0) return false;
    bool any = false;
    for (int r = 0; r < tile_rows; ++r, i += axis.source_step, offset += step) {
      const bool inside = i >= 0 && i < axis.source_length;
      any |= inside;
      offsets[r] = inside ? offset : -1;
    }
    return any;
  }

  // Rows anywhere.
  bool FindAtRows(const Tap& tap, const int64_t* line_offset, int tile_rows,
                  int64_t* offsets) {
    const AxisPhases& axis = gather_.axis[inner_];
    bool any = false, all = true;
    for (int r = 0; r < tile_rows; ++r) {
      const int64_t i = j_[inner_][r] * axis.source_step + tap.source_offset;
      const bool inside =
          line_offset[r] >= 0 && i >= 0 && i < axis.source_length;
      any |= inside;
      all &= inside;
      offsets[r] =
          inside ? line_offset[r] + i * gather_.source.axis[inner_] : -1;
    }
    touched_border_ |= !all;
    return any;
  }

  // Offset of the source line of each row (its position along all axes but the
  // innermost) for one combination of outer taps, -1 where it is outside.
  // Returns the filter position of the combination.
  int64_t FindLines(int64_t index, int lines, int64_t* offsets) const {
    for (int r = 0; r < lines; ++r) {
      offsets[r] =
          (one_line_ ? first_.batch : batch_[r]) * gather_.source.batch;
    }
    int64_t filter = 0;
    for (int a = inner_ - 1; a >= 0; --a) {
      const Tap& tap = phase_[a]->taps[index % phase_[a]->taps.size()];
      index /= phase_[a]->taps.size();
      filter += tap.filter_index * gather_.filter_step[a];
      for (int r = 0; r < lines; ++r) {
        const int64_t j = one_line_ ? first_.j[a] : j_[a][r];
        const int64_t i = j * gather_.axis[a].source_step + tap.source_offset;
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
  std::array<const Phase*, kMaxRank> phase_{};
  int64_t rows_ = 0, taps_ = 0;
  // The tile at hand: rows of one line need their first position only.
  Position next_, first_;
  bool one_line_ = false, touched_border_ = false;
  int64_t j_[kMaxRank][kMaxTileRows];
  int64_t batch_[kMaxTileRows];
  int64_t result_offset_[kMaxTileRows];
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_ROWS_INL_H_
