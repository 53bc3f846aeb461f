// Family 1: lanes run along the channels of the result. Step 6 of the path of a
// call.
//
// An implicit matrix product per phase: rows are result positions, columns are
// channels, depth is taps x channels of the source. Rows are pointers, found
// per register tile; those beyond the border point to zeros. The filter is
// packed once per call into panels [group][panel][tap][depth][columns of a
// tile]. Depth counts words: pairs of channels where the target multiplies
// pairs (pairs-inl.h), else channels.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_CHANNEL_LANES_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_CHANNEL_LANES_INL_H_

template <typename T>
class ChannelLanes {
 public:
  using A = Compute<T>;
  using W = Word<T>;

  ChannelLanes(const GatherCall<T>& call, const W* packed_filter, char* scratch)
      : call_(call),
        plan_(call.plan),
        gather_(call.plan.gather),
        blocks_(call.plan.channel_lanes),
        packed_filter_(packed_filter),
        scratch_(scratch),
        panel_columns_(blocks_.vectors * kLanes<A>),
        depth_((gather_.depth + kWord<T> - 1) / kWord<T>),
        direct_(
            StoresVectors(call) &&
            (!kInPairs<T> || call.plan.gather.columns % panel_columns_ == 0)),
        stream_(StreamsVectors(call) &&
                call.plan.gather.columns % kLanes<A> == 0),
        looks_first_(call.LooksFirst()),
        tiles_(call.plan),
        found_(call.plan),
        tap_rows_(call.plan) {}

  int64_t PackUnits() const {
    return plan_.geometry.groups * blocks_.panels * gather_.filter_taps;
  }

  // Packs one tap of one panel: [depth][columns], columns beyond the last are
  // zero.
  void Pack(int64_t unit, W* packed) const {
    const int64_t tap = unit % gather_.filter_taps;
    const int64_t panel = unit / gather_.filter_taps % blocks_.panels;
    const int64_t group = unit / gather_.filter_taps / blocks_.panels;
    const int64_t first = panel * panel_columns_;
    const int64_t columns = std::min(panel_columns_, gather_.columns - first);
    const T* from = call_.filter + tap * gather_.tap_stride +
                    group * gather_.group_stride +
                    first * gather_.column_stride;
    W* to = packed + unit * depth_ * panel_columns_;
    if constexpr (kInPairs<T>) {
      PairColumns(from, gather_.depth_stride, gather_.column_stride,
                  gather_.depth, columns, to, panel_columns_);
    } else if (gather_.depth_stride == 1) {
      Transpose(from, gather_.column_stride, columns, gather_.depth, to,
                panel_columns_);
    } else {
      for (int64_t d = 0; d < gather_.depth; ++d) {
        WidenRow<T>(from + d * gather_.depth_stride, gather_.column_stride,
                    columns, to + d * panel_columns_);
      }
    }
    if (columns == panel_columns_) return;
    for (int64_t d = 0; d < depth_; ++d) {
      std::fill(to + d * panel_columns_ + columns,
                to + (d + 1) * panel_columns_, W{});
    }
  }

  // Computes one unit: a block of rows of one phase and a block of panels of
  // one group.
  void RunUnit(int64_t unit, int worker) {
    SetScratch(worker);
    const int64_t all_panels = blocks_.panels * blocks_.folded;
    const int64_t phases = plan_.phases / blocks_.folded;
    const int64_t panel_blocks =
        (all_panels + blocks_.panel_block - 1) / blocks_.panel_block;
    const int64_t row_blocks =
        plan_.units / plan_.geometry.groups / phases / panel_blocks;
    // Phases that follow each other read the same source rows; row blocks that
    // follow each other read the same part of the filter.
    int64_t phase = 0, row_block = 0;
    if (blocks_.phases_first) {
      phase = unit % phases;
      row_block = unit / phases % row_blocks;
    } else {
      row_block = unit % row_blocks;
      phase = unit / row_blocks % phases;
    }
    unit /= row_blocks * phases;
    first_panel_ = unit % panel_blocks * blocks_.panel_block;
    last_panel_ = std::min(first_panel_ + blocks_.panel_block, all_panels);
    group_ = unit / panel_blocks;
    tiles_.SetPhase(phase * blocks_.folded);
    const int64_t row = row_block * blocks_.row_block;
    const int64_t end = std::min(tiles_.rows(), row + blocks_.row_block);
    if (blocks_.rows_by_tap) {
      RunByTap(row, end);
    } else if (blocks_.found_rows > 0) {
      RunFound(row, end);
    } else {
      RunRows(row, end);
    }
    if (stream_) FinishStreams();
  }

 private:
  // Sums are stored as a part of the result, from where they are in registers.
  static constexpr bool kStoresSums = std::is_same_v<T, A> || kInPairs<T>;

  void SetScratch(int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    filter_taps_ = reinterpret_cast<int64_t*>(p);
    offsets_ = filter_taps_ + blocks_.tap_block;
    row_pointers_ = reinterpret_cast<const W**>(offsets_ + blocks_.tap_block *
                                                               blocks_.rows);
    p += RoundUp64(blocks_.tap_block * (2 * blocks_.rows + 1) * 8);
    zeros_ = reinterpret_cast<W*>(p);
    const int64_t zeros = blocks_.depth_block * blocks_.merged;
    p += RoundUp64(zeros * sizeof(W));
    converted_ = reinterpret_cast<W*>(p);
    if (blocks_.convert_source) {
      p += RoundUp64(blocks_.tap_block * blocks_.rows * blocks_.depth_block *
                     sizeof(W));
    }
    tile_ = reinterpret_cast<A*>(p);
    if (blocks_.rows_by_tap) {
      tap_rows_.SetScratch(p);
    } else {
      found_.SetScratch(p, zeros_);
    }
    std::fill(zeros_, zeros_ + zeros, W{});
  }

  // All rows of a unit at once; the plan has seen that their sums are stored as
  // they are.
  void RunFound(int64_t row, int64_t end) {
    if (row >= end) return;
    found_nan_ = false;
    if constexpr (kStoresSums) {
      found_.Find(call_.source + group_ * gather_.depth, call_.result, row, end,
                  &tiles_);
      for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
        TileRows<A> to = TileOf(panel, blocks_.rows, false, true);
        to.stream =
            stream_ && (kInPairs<T> || !Checks(found_.touched_border()));
        found_.Multiply(FilterPanel(panel, 0), to, panel == first_panel_);
      }
      if (!(kInPairs<T> ? found_nan_ : Checks(found_.touched_border()))) return;
      tiles_.Seek(row);
      for (int64_t count; row < end; row += count) {
        count = std::min<int64_t>(end - row, blocks_.rows);
        tiles_.Take(count, blocks_.rows);
        CheckStored(count, found_.touched_border());
      }
    }
  }

  // The same, tap by tap.
  void RunByTap(int64_t row, int64_t end) {
    if (row >= end) return;
    if constexpr (std::is_same_v<T, A>) {
      tap_rows_.Find(call_.source + group_ * gather_.depth, call_.result, row,
                     end, &tiles_);
      if (blocks_.filter_rows > 0) {
        return tap_rows_.MultiplyInPlace(
            call_.filter + group_ * gather_.group_stride +
                first_panel_ * panel_columns_,
            gather_.depth_stride, last_panel_ - first_panel_,
            TileOf(first_panel_, blocks_.rows, false, true));
      }
      for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
        tap_rows_.Multiply(FilterPanel(panel, 0),
                           TileOf(panel, blocks_.rows, false, true));
      }
    }
  }

  void RunRows(int64_t row, int64_t end) {
    if (row >= end) return;
    tiles_.Seek(row);
    while (row < end) {
      const int64_t left = end - row;
      int tile_rows = blocks_.rows;
      while (SmallerTile(tile_rows) >= left) tile_rows = SmallerTile(tile_rows);
      const int64_t count = std::min<int64_t>(left, tile_rows);
      tiles_.Take(count, tile_rows);
      RunTile(count, tile_rows);
      row += count;
    }
  }

  // One register tile of rows, for all panels of the unit.
  void RunTile(int64_t count, int tile_rows) {
    bool accumulate = false, stored = false;
    const int64_t merged =
        blocks_.merged > 1 && tiles_.InnerTapsInside() ? blocks_.merged : 1;
    const int64_t tap_block = blocks_.tap_block * merged;
    for (int64_t depth = 0; depth < depth_; depth += blocks_.depth_block) {
      const int64_t depths = std::min(blocks_.depth_block, depth_ - depth);
      for (int64_t tap = 0; tap < tiles_.taps(); tap += tap_block) {
        const int64_t taps =
            tiles_.FindTaps(tap, std::min(tap + tap_block, tiles_.taps()),
                            tile_rows, filter_taps_, offsets_, merged);
        PointToRows(taps, tile_rows, depth, depths);
        // Sums that are complete after one visit need no buffer.
        stored = direct_ && depths == depth_ && taps > 0 &&
                 tiles_.taps() <= tap_block &&
                 (kInPairs<T> || !(stream_ && Checks(tiles_.touched_border())));
        PointToSums(tile_rows, stored);
        for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
          if (taps == 1) Prefetch(panel, tile_rows);
          Multiply(tile_rows, taps, depths * merged, FilterPanel(panel, depth),
                   TileOf(panel, tile_rows, accumulate, stored));
        }
        accumulate = true;
      }
    }
    if (stored) {
      if (kInPairs<T> ? found_nan_ : Checks(tiles_.touched_border())) {
        CheckStored(count, tiles_.touched_border());
      }
      return;
    }
    if (!accumulate) {
      std::fill(
          tile_,
          tile_ + (last_panel_ - first_panel_) * tile_rows * panel_columns_,
          A(0));
    }
    StoreTile(count, tile_rows * panel_columns_);
  }

  // Rows of the tile in the buffer, or in the result.
  void PointToSums(int tile_rows, bool stored) {
    for (int r = 0; r < tile_rows; ++r) {
      sums_[r] = tile_ + r * panel_columns_;
      if constexpr (std::is_same_v<T, A>) {
        if (stored) sums_[r] = call_.result + tiles_.result_offset(r);
      }
      if constexpr (kInPairs<T>) {
        rounded_[r] = call_.result + tiles_.result_offset(r);
      }
    }
    found_nan_ = false;
  }

  TileRows<A> TileOf(int64_t panel, int tile_rows, bool accumulate,
                     bool stored) {
    if (!stored) {
      return {sums_, (panel - first_panel_) * tile_rows * panel_columns_,
              accumulate};
    }
    const int64_t column = panel % blocks_.panels * panel_columns_;
    const int64_t channel = group_ * gather_.columns + column;
    TileRows<A> to{sums_,
                   channel + FoldOffset(panel),
                   false,
                   call_.bias == nullptr ? nullptr : call_.bias + channel,
                   plan_.geometry.activation == Activation::kRelu,
                   stream_};
    if (column + panel_columns_ > gather_.columns) {
      to.columns = gather_.columns - column;
    }
    if constexpr (kInPairs<T>) {
      to.rounded = rounded_;
      to.found_nan = &found_nan_;
    }
    return to;
  }

  // From the first folded phase's result positions to those of a panel.
  int64_t FoldOffset(int64_t panel) const {
    if (blocks_.folded == 1) return 0;
    return (FoldedPhase(panel).first - FoldedPhase(0).first) *
           gather_.result.axis[plan_.geometry.rank - 1];
  }

  // The phase of the innermost axis that a panel of the unit belongs to.
  const Phase& FoldedPhase(int64_t panel) const {
    return gather_.axis[plan_.geometry.rank - 1].phases[panel / blocks_.panels];
  }

  // Where a panel of the unit begins: filter_taps_ count from the first folded
  // phase's tap.
  const W* FilterPanel(int64_t panel, int64_t depth) const {
    int64_t tap = 0;
    if (blocks_.folded > 1) {
      tap = FoldedPhase(panel).taps[0].filter_index -
            FoldedPhase(0).taps[0].filter_index;
    }
    const int64_t index = group_ * blocks_.panels + panel % blocks_.panels;
    return packed_filter_ +
           ((index * gather_.filter_taps + tap) * depth_ + depth) *
               panel_columns_;
  }

  // Source offsets -> row pointers, widened or gathered where the rows cannot
  // be read in place; filter positions -> offsets into a panel.
  void PointToRows(int64_t taps, int tile_rows, int64_t depth, int64_t depths) {
    const int64_t first = depth * kWord<T>;
    const int64_t elements = std::min(depths * kWord<T>, gather_.depth - first);
    const T* source = call_.source +
                      (group_ * gather_.depth + first) * gather_.source.channel;
    for (int64_t t = 0; t < taps; ++t) {
      filter_taps_[t] *= depth_ * panel_columns_;
    }
    for (int64_t i = 0; i < taps * tile_rows; ++i) {
      if (offsets_[i] < 0) {
        row_pointers_[i] = zeros_;
      } else if (sizeof(T) * kWord<T> == sizeof(W) && !blocks_.convert_source) {
        row_pointers_[i] = reinterpret_cast<const W*>(source + offsets_[i]);
      } else {
        W* to = converted_ + i * blocks_.depth_block;
        CopyRow(source + offsets_[i], elements, to);
        row_pointers_[i] = to;
      }
    }
  }

  void CopyRow(const T* from, int64_t elements, W* to) const {
    if constexpr (kInPairs<T>) {
      PairRow(from, gather_.source.channel, elements, to);
    } else {
      WidenRow<T>(from, gather_.source.channel, elements, to);
    }
  }

  // Fetches a part of the next tile's rows, which nothing else has read where
  // there is one tap: twelve rows read side by side are more than a core's own
  // prefetching keeps up with.
  void Prefetch(int64_t panel, int tile_rows) const {
    if (blocks_.convert_source || tile_rows < 2) return;
    const int64_t panels = last_panel_ - first_panel_;
    const int64_t lines =
        tile_rows * depth_ * static_cast<int64_t>(sizeof(W)) / 64;
    const char* next = reinterpret_cast<const char*>(
        row_pointers_[tile_rows - 1] + (row_pointers_[1] - row_pointers_[0]));
    const int64_t at = panel - first_panel_;
    for (int64_t l = at * lines / panels; l < (at + 1) * lines / panels; ++l) {
      __builtin_prefetch(next + l * 64, 0, 2);
    }
  }

  void Multiply(int tile_rows, int64_t taps, int64_t depths, const W* filter,
                const TileRows<A>& to) const {
    WithTile(tile_rows, blocks_.vectors, [&](auto rows, auto vectors) {
      MultiplyRows<W, rows(), vectors()>({row_pointers_}, filter_taps_, taps,
                                         depths, filter, to);
    });
  }

  void StoreTile(int64_t count, int64_t tile_elements) const {
    const int64_t group_channel = group_ * gather_.columns;
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
        A* sums =
            tile_ + (panel - first_panel_) * tile_elements + r * panel_columns_;
        const int64_t column = panel % blocks_.panels * panel_columns_;
        const int64_t columns =
            std::min(panel_columns_, gather_.columns - column);
        if (kInPairs<T> || Checks(tiles_.touched_border())) {
          RepairRow(r, panel, column, columns, sums);
        }
        StoreColumns(
            call_, sums, columns, group_channel + column,
            call_.result + tiles_.result_offset(r) + FoldOffset(panel));
      }
    }
  }

  // Whether sums with zeros beyond the border have to be looked at for NaN.
  bool Checks(bool touched_border) const {
    return touched_border && !(looks_first_ && !call_.NeedsRepair());
  }

  // Looks for NaN that came from zeros beyond the border among sums that are
  // stored already.
  void CheckStored(int64_t count, bool border) const {
    if constexpr (kStoresSums) {
      if (kInPairs<T> && stream_) FinishStreams();
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
          const int64_t column = panel % blocks_.panels * panel_columns_;
          const int64_t columns =
              std::min(panel_columns_, gather_.columns - column);
          const int64_t channel = group_ * gather_.columns + column;
          T* result =
              call_.result + tiles_.result_offset(r) + FoldOffset(panel);
          T* stored = result + channel;
          if (!AnyNaN(stored, columns) || !call_.NeedsRepair(border)) {
            continue;
          }
          const Position position = PositionOf(r, panel);
          for (int64_t c = 0; c < columns; ++c) {
            const A value = ToCompute(stored[c]);
            if (value == value) continue;
            A sum = ExactSum(call_, position, group_, column + c);
            StoreColumns(call_, &sum, 1, channel + c, result);
          }
        }
      }
    }
  }

  Position PositionOf(int64_t row, int64_t panel) const {
    Position position = tiles_.PositionOf(row);
    if (blocks_.folded > 1) {
      position.phase[plan_.geometry.rank - 1] = &FoldedPhase(panel);
    }
    return position;
  }

  // Replaces NaN that came from zeros beyond the border.
  void RepairRow(int64_t row, int64_t panel, int64_t column, int64_t columns,
                 A* sums) const {
    if (!AnyNaN(sums, columns) || !call_.NeedsRepair(tiles_.touched_border())) {
      return;
    }
    const Position position = PositionOf(row, panel);
    for (int64_t c = 0; c < columns; ++c) {
      if (sums[c] == sums[c]) continue;
      sums[c] = ExactSum(call_, position, group_, column + c);
    }
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const Gather& gather_;
  const ChannelLanesBlocks& blocks_;
  const W* packed_filter_;
  char* scratch_;
  const int64_t panel_columns_;
  const int64_t depth_;  // in words
  const bool direct_;    // complete sums go to the result at once
  const bool stream_;
  const bool looks_first_;  // at the filter, before at sums
  RowTiles tiles_;
  FoundRows<T> found_;
  TapRows<A> tap_rows_;

  // The unit at hand.
  int64_t group_ = 0, first_panel_ = 0, last_panel_ = 0;
  int64_t* filter_taps_ = nullptr;
  int64_t* offsets_ = nullptr;
  const W** row_pointers_ = nullptr;
  W* zeros_ = nullptr;
  W* converted_ = nullptr;
  A* tile_ = nullptr;
  A* sums_[16];
  BFloat16* rounded_[16];
  bool found_nan_ = false;  // among sums that are rounded and stored already
};

template <typename T>
void PackChannelLanes(const GatherCall<T>& call, Word<T>* packed,
                      const ParallelFor& parallel_for) {
  const ChannelLanes<T> kernel(call, nullptr, nullptr);
  parallel_for(kernel.PackUnits(), 1 + kernel.PackUnits() / 64,
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t unit = begin; unit < end; ++unit) {
                   kernel.Pack(unit, packed);
                 }
               });
}

template <typename T>
void RunChannelLanes(const GatherCall<T>& call, const Word<T>* packed_filter,
                     char* scratch, const ParallelFor& parallel_for) {
  const ChannelLanes<T> kernel(call, packed_filter, scratch);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    ChannelLanes<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_CHANNEL_LANES_INL_H_
