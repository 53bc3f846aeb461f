// Family 1: lanes run along the channels of the result. Step 6 of the path of a
// call.
//
// An implicit matrix product per phase: rows are result positions, columns are
// channels, depth is taps x channels of the source. Rows are pointers, found
// per register tile; those beyond the border point to zeros. The filter is
// packed once per call into panels [group][panel][tap][depth][columns of a
// tile].
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_CHANNEL_LANES_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_CHANNEL_LANES_INL_H_

inline constexpr int kMaxTileRows = 16;

template <typename T>
class ChannelLanes {
 public:
  using A = Compute<T>;

  ChannelLanes(const GatherCall<T>& call, A* packed_filter, char* scratch)
      : call_(call),
        plan_(call.plan),
        gather_(call.plan.gather),
        blocks_(call.plan.channel_lanes),
        packed_filter_(packed_filter),
        scratch_(scratch),
        panel_columns_(blocks_.vectors * kLanes<A>) {}

  int64_t PackUnits() const {
    return plan_.geometry.groups * blocks_.panels * gather_.filter_taps;
  }

  // Packs one tap of one panel: [depth][columns], columns beyond the last are
  // zero.
  void Pack(int64_t unit) const {
    const int64_t tap = unit % gather_.filter_taps;
    const int64_t panel = unit / gather_.filter_taps % blocks_.panels;
    const int64_t group = unit / gather_.filter_taps / blocks_.panels;
    const int64_t first = panel * panel_columns_;
    const int64_t columns = std::min(panel_columns_, gather_.columns - first);
    const T* from = call_.filter + tap * gather_.tap_stride +
                    group * gather_.group_stride +
                    first * gather_.column_stride;
    A* to = packed_filter_ + unit * gather_.depth * panel_columns_;
    // Sixteen depths at a time: both sides of the transposition stay in level-1
    // cache.
    for (int64_t block = 0; block < gather_.depth; block += 16) {
      const int64_t end = std::min(block + 16, gather_.depth);
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t d = block; d < end; ++d) {
          to[d * panel_columns_ + c] = ToCompute(
              from[d * gather_.depth_stride + c * gather_.column_stride]);
        }
      }
      for (int64_t d = block; d < end; ++d) {
        for (int64_t c = columns; c < panel_columns_; ++c)
          to[d * panel_columns_ + c] = A(0);
      }
    }
  }

  // Computes one unit: a block of rows of one phase and a block of panels of
  // one group.
  void RunUnit(int64_t unit, int worker) {
    SetScratch(worker);
    const int64_t panel_blocks =
        (blocks_.panels + blocks_.panel_block - 1) / blocks_.panel_block;
    const int64_t row_blocks =
        plan_.units / plan_.geometry.groups / plan_.phases / panel_blocks;
    // Phases that follow each other read the same source rows; row blocks that
    // follow each other read the same part of the filter.
    int64_t phase = 0, row_block = 0;
    if (blocks_.phases_first) {
      phase = unit % plan_.phases;
      row_block = unit / plan_.phases % row_blocks;
    } else {
      row_block = unit % row_blocks;
      phase = unit / row_blocks % plan_.phases;
    }
    unit /= row_blocks * plan_.phases;
    first_panel_ = unit % panel_blocks * blocks_.panel_block;
    last_panel_ = std::min(first_panel_ + blocks_.panel_block, blocks_.panels);
    group_ = unit / panel_blocks;
    SetPhase(phase);
    RunRows(row_block * blocks_.row_block,
            std::min(rows_, (row_block + 1) * blocks_.row_block));
  }

 private:
  void RunRows(int64_t row, int64_t end) {
    if (row >= end) return;
    SetNext(row);
    while (row < end) {
      const int64_t left = end - row;
      int tile_rows = blocks_.rows;
      while (SmallerTile(tile_rows) >= left) tile_rows = SmallerTile(tile_rows);
      const int64_t count = std::min<int64_t>(left, tile_rows);
      RunTile(count, tile_rows);
      row += count;
    }
  }

  void SetScratch(int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    tap_offsets_ = reinterpret_cast<int64_t*>(p);
    row_pointers_ =
        reinterpret_cast<const A**>(tap_offsets_ + blocks_.tap_block);
    p += RoundUp64(blocks_.tap_block * (blocks_.rows + 1) * 8);
    zeros_ = reinterpret_cast<A*>(p);
    p += RoundUp64(blocks_.depth_block * sizeof(A));
    converted_ = reinterpret_cast<A*>(p);
    if (blocks_.convert_source) {
      p += RoundUp64(blocks_.tap_block * blocks_.rows * blocks_.depth_block *
                     sizeof(A));
    }
    tile_ = reinterpret_cast<A*>(p);
    std::fill(zeros_, zeros_ + blocks_.depth_block, A(0));
  }

  void SetPhase(int64_t index) {
    rows_ = plan_.geometry.batch;
    taps_ = 1;
    for (int a = plan_.geometry.rank - 1; a >= 0; --a) {
      const auto& phases = gather_.axis[a].phases;
      phase_[a] = &phases[index % phases.size()];
      index /= phases.size();
      rows_ *= phase_[a]->count;
      taps_ *= phase_[a]->taps.size();
    }
  }

  // The next row: one division per axis here, none while rows follow each
  // other.
  void SetNext(int64_t row) {
    for (int a = plan_.geometry.rank - 1; a >= 0; --a) {
      next_.j[a] = row % phase_[a]->count;
      row /= phase_[a]->count;
    }
    next_.batch = row;
    next_.phase = phase_;
  }

  void Advance() {
    int a = plan_.geometry.rank - 1;
    while (a >= 0 && ++next_.j[a] == phase_[a]->count) next_.j[a--] = 0;
    if (a < 0) ++next_.batch;
  }

  void SetRows(int64_t count, int tile_rows) {
    const int rank = plan_.geometry.rank;
    first_ = next_;
    one_line_ = first_.j[rank - 1] + tile_rows <= phase_[rank - 1]->count &&
                count == tile_rows;
    const int64_t result = next_.ResultOffset(plan_);
    if (one_line_) {
      const int64_t step =
          gather_.axis[rank - 1].result_step * gather_.result.axis[rank - 1];
      for (int r = 0; r < tile_rows; ++r) result_offset_[r] = result + r * step;
      next_.j[rank - 1] += tile_rows - 1;
      Advance();
      return;
    }
    for (int r = 0; r < tile_rows; ++r) {
      // Rows beyond the last repeat it: computed, not stored.
      for (int a = 0; a < rank; ++a) j_[a][r] = next_.j[a];
      batch_[r] = next_.batch;
      result_offset_[r] = next_.ResultOffset(plan_);
      if (r < count - 1) Advance();
    }
    Advance();
  }

  Position PositionOf(int64_t row) const {
    Position position = first_;
    if (one_line_) {
      position.j[plan_.geometry.rank - 1] += row;
      return position;
    }
    for (int a = 0; a < plan_.geometry.rank; ++a) position.j[a] = j_[a][row];
    position.batch = batch_[row];
    return position;
  }

  // One register tile of rows, for all panels of the unit.
  void RunTile(int64_t count, int tile_rows) {
    SetRows(count, tile_rows);
    const int64_t tile_elements = tile_rows * panel_columns_;
    touched_border_ = false;
    bool accumulate = false;
    for (int64_t depth = 0; depth < gather_.depth;
         depth += blocks_.depth_block) {
      const int64_t depths =
          std::min(blocks_.depth_block, gather_.depth - depth);
      for (int64_t tap = 0; tap < taps_; tap += blocks_.tap_block) {
        const int64_t taps =
            FindTaps(tap, std::min(tap + blocks_.tap_block, taps_), depth,
                     depths, tile_rows);
        for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
          const A* filter =
              packed_filter_ + ((group_ * blocks_.panels + panel) *
                                    gather_.filter_taps * gather_.depth +
                                depth) *
                                   panel_columns_;
          Multiply(tile_rows, taps, depths, filter, accumulate,
                   tile_ + (panel - first_panel_) * tile_elements);
        }
        accumulate = true;
      }
    }
    if (!accumulate)
      std::fill(tile_, tile_ + (last_panel_ - first_panel_) * tile_elements,
                A(0));
    StoreTile(count, tile_elements);
  }

  void Multiply(int tile_rows, int64_t taps, int64_t depths, const A* filter,
                bool accumulate, A* tile) const {
    const auto run = [&](auto rows, auto vectors) {
      MultiplyRows<A, rows(), vectors()>(row_pointers_, tap_offsets_, taps,
                                         depths, filter, accumulate, tile);
    };
    const auto pick_rows = [&](auto vectors) {
      switch (tile_rows) {
        case 12:
          return run(std::integral_constant<int, 12>(), vectors);
        case 8:
          return run(std::integral_constant<int, 8>(), vectors);
        case 6:
          return run(std::integral_constant<int, 6>(), vectors);
        case 4:
          return run(std::integral_constant<int, 4>(), vectors);
        case 2:
          return run(std::integral_constant<int, 2>(), vectors);
        default:
          return run(std::integral_constant<int, 1>(), vectors);
      }
    };
    if (blocks_.vectors == 2) {
      pick_rows(std::integral_constant<int, 2>());
    } else {
      pick_rows(std::integral_constant<int, 1>());
    }
  }

  // Row pointers of the taps [first, last) of the phase, without those that no
  // row of the tile finds inside the source. Returns how many remain.
  int64_t FindTaps(int64_t first, int64_t last, int64_t depth, int64_t depths,
                   int tile_rows) {
    const int inner = plan_.geometry.rank - 1;
    const int64_t inner_taps = phase_[inner]->taps.size();
    const int lines = one_line_ ? 1 : tile_rows;
    int64_t found = 0, line_filter = 0;
    int64_t line_offset[kMaxTileRows];
    int64_t outer = first / inner_taps, t_inner = first % inner_taps;
    for (int64_t t = first; t < last; ++t, ++t_inner) {
      if (t == first || t_inner == inner_taps) {
        if (t_inner == inner_taps) t_inner = 0, ++outer;
        line_filter = FindLines(outer, lines, line_offset);
      }
      const Tap& tap = phase_[inner]->taps[t_inner];
      const bool any = one_line_ ? PointAlongLine(tap, line_offset[0], depth,
                                                  depths, found, tile_rows)
                                 : PointAtRows(tap, line_offset, depth, depths,
                                               found, tile_rows);
      if (!any) continue;
      tap_offsets_[found++] =
          (line_filter + tap.filter_index) * gather_.depth * panel_columns_;
    }
    return found;
  }

  // Row pointers of one tap for rows that follow each other on one line.
  bool PointAlongLine(const Tap& tap, int64_t line_offset, int64_t depth,
                      int64_t depths, int64_t found, int tile_rows) {
    const int inner = plan_.geometry.rank - 1;
    const AxisPhases& axis = gather_.axis[inner];
    const A** pointers = row_pointers_ + found * tile_rows;
    int64_t i = first_.j[inner] * axis.source_step + tap.source_offset;
    const int64_t last = i + (tile_rows - 1) * axis.source_step;
    if (line_offset < 0 || last < 0 || i >= axis.source_length) {
      touched_border_ = true;
      return false;
    }
    int64_t offset = line_offset + i * gather_.source.axis[inner];
    const int64_t step = axis.source_step * gather_.source.axis[inner];
    if (i >= 0 && last < axis.source_length) {
      for (int r = 0; r < tile_rows; ++r, offset += step) {
        pointers[r] = SourceRow(offset, depth, depths, found * tile_rows + r);
      }
      return true;
    }
    touched_border_ = true;
    bool any = false;
    for (int r = 0; r < tile_rows; ++r, offset += step, i += axis.source_step) {
      const bool inside = i >= 0 && i < axis.source_length;
      any |= inside;
      pointers[r] =
          inside ? SourceRow(offset, depth, depths, found * tile_rows + r)
                 : zeros_;
    }
    return any;
  }

  // Row pointers of one tap for rows anywhere.
  bool PointAtRows(const Tap& tap, const int64_t* line_offset, int64_t depth,
                   int64_t depths, int64_t found, int tile_rows) {
    const int inner = plan_.geometry.rank - 1;
    const AxisPhases& axis = gather_.axis[inner];
    const A** pointers = row_pointers_ + found * tile_rows;
    bool any = false;
    for (int r = 0; r < tile_rows; ++r) {
      const int64_t i = j_[inner][r] * axis.source_step + tap.source_offset;
      const bool inside =
          line_offset[r] >= 0 && i >= 0 && i < axis.source_length;
      any |= inside;
      touched_border_ |= !inside;
      pointers[r] =
          inside ? SourceRow(line_offset[r] + i * gather_.source.axis[inner],
                             depth, depths, found * tile_rows + r)
                 : zeros_;
    }
    return any;
  }

  // Offset of the source line of each row (the position along all axes but the
  // innermost) for one combination of outer taps, -1 where it is outside.
  // Returns the filter position of the combination.
  int64_t FindLines(int64_t index, int lines, int64_t* offsets) const {
    for (int r = 0; r < lines; ++r) {
      offsets[r] =
          (one_line_ ? first_.batch : batch_[r]) * gather_.source.batch;
    }
    int64_t filter = 0;
    for (int a = plan_.geometry.rank - 2; a >= 0; --a) {
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

  const A* SourceRow(int64_t offset, int64_t depth, int64_t depths,
                     int64_t slot) const {
    const T* from = call_.source + offset +
                    (group_ * gather_.depth + depth) * gather_.source.channel;
    if constexpr (kNative<T>) {
      if (!blocks_.convert_source) return reinterpret_cast<const A*>(from);
    }
    A* to = converted_ + slot * blocks_.depth_block;
    WidenRow<T>(from, gather_.source.channel, depths, to);
    return to;
  }

  void StoreTile(int64_t count, int64_t tile_elements) const {
    const int64_t group_channel = group_ * gather_.columns;
    for (int64_t r = 0; r < count; ++r) {
      T* result = call_.result + result_offset_[r];
      for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
        A* sums =
            tile_ + (panel - first_panel_) * tile_elements + r * panel_columns_;
        const int64_t column = panel * panel_columns_;
        const int64_t columns =
            std::min(panel_columns_, gather_.columns - column);
        if (touched_border_ && AnyNaN(sums, columns) && call_.NeedsRepair()) {
          for (int64_t c = 0; c < columns; ++c) {
            if (sums[c] != sums[c])
              sums[c] = ExactSum(call_, PositionOf(r), group_, column + c);
          }
        }
        StoreColumns(call_, sums, columns, group_channel + column, result);
      }
    }
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const Gather& gather_;
  const ChannelLanesBlocks& blocks_;
  A* packed_filter_;
  char* scratch_;
  const int64_t panel_columns_;

  // The unit at hand.
  std::array<const Phase*, kMaxRank> phase_{};
  int64_t rows_ = 0, taps_ = 0, group_ = 0, first_panel_ = 0, last_panel_ = 0;
  Position next_, first_;
  bool one_line_ = false;
  int64_t j_[kMaxRank][kMaxTileRows];
  int64_t batch_[kMaxTileRows];
  int64_t result_offset_[kMaxTileRows];
  bool touched_border_ = false;
  int64_t* tap_offsets_ = nullptr;
  const A** row_pointers_ = nullptr;
  A* zeros_ = nullptr;
  A* converted_ = nullptr;
  A* tile_ = nullptr;
};

template <typename T>
void RunChannelLanes(const GatherCall<T>& call, char* shared, char* scratch,
                     const ParallelFor& parallel_for) {
  ChannelLanes<T> kernel(call, reinterpret_cast<Compute<T>*>(shared), scratch);
  parallel_for(kernel.PackUnits(), 1 + kernel.PackUnits() / 64,
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t unit = begin; unit < end; ++unit)
                   kernel.Pack(unit);
               });
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    ChannelLanes<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_CHANNEL_LANES_INL_H_
