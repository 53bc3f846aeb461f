// The rows of a work unit, sorted by the taps that they find inside the source:
// what channel_lanes-inl.h does with short lines, where tiles of neighbours
// would multiply many zeros from beyond the border. Each tap has tiles of its
// own, of rows wherever they lie, and their sums wait in the result.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_TAP_ROWS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_TAP_ROWS_INL_H_

template <typename A>
class TapRows {
 public:
  explicit TapRows(const Plan& plan)
      : gather_(plan.gather),
        blocks_(plan.channel_lanes),
        panel_columns_(blocks_.vectors * kLanes<A>),
        step_(blocks_.row_block + blocks_.rows) {}

  // blocks_.found_bytes.
  void SetScratch(char* p) {
    filter_taps_ = reinterpret_cast<int64_t*>(p);
    counts_ = filter_taps_ + blocks_.tap_block;
    offsets_ = counts_ + gather_.filter_taps;
    int64_t* after = offsets_ + blocks_.found_rows * blocks_.tap_block;
    pointers_ = reinterpret_cast<const A**>(after);
    sums_ = reinterpret_cast<A**>(after + gather_.filter_taps * step_);
    results_ = sums_ + gather_.filter_taps * step_;
    lines_ = reinterpret_cast<int64_t*>(results_ + blocks_.row_block);
  }

  // Finds the rows [row, end) of the phase at hand.
  void Find(const A* source, A* result, int64_t row, int64_t end,
            RowTiles* rows) {
    std::fill_n(counts_, gather_.filter_taps, 0);
    rows_ = 0;
    rows->Seek(row);
    while (row < end) {
      const int64_t many = std::min(end - row, blocks_.found_rows);
      rows->Take(many, static_cast<int>(many));
      const int64_t taps = rows->FindTaps(
          0, rows->taps(), static_cast<int>(many), filter_taps_, offsets_);
      for (int64_t r = 0; r < many; ++r) {
        results_[rows_ + r] = result + rows->result_offset(r);
      }
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t tap = filter_taps_[t];
        for (int64_t r = 0; r < many; ++r) {
          const int64_t offset = offsets_[t * many + r];
          if (offset < 0) continue;
          const int64_t at = tap * step_ + counts_[tap]++;
          pointers_[at] = source + offset;
          sums_[at] = results_[rows_ + r];
        }
      }
      rows_ += many;
      row += many;
    }
    // A tile's rows beyond the last repeat it: they store the same sums.
    for (int64_t tap = 0; tap < gather_.filter_taps; ++tap) {
      if (counts_[tap] == 0) continue;
      const int64_t last = tap * step_ + counts_[tap] - 1;
      std::fill_n(pointers_ + last + 1, blocks_.rows, pointers_[last]);
      std::fill_n(sums_ + last + 1, blocks_.rows, sums_[last]);
    }
  }

  // Multiplies all rows with one panel of the filter, tap by tap.
  void Multiply(const A* filter, const TileRows<A>& to) const {
    Begin(to);
    const int64_t part =
        std::max<int64_t>(1, kFilterPartBytes / (panel_columns_ * sizeof(A)));
    for (int64_t tap = 0; tap < gather_.filter_taps; ++tap) {
      if (counts_[tap] == 0) continue;
      for (int64_t d = 0; d < gather_.depth; d += part) {
        MultiplyPart(tap, d, std::min(part, gather_.depth - d),
                     filter + (tap * gather_.depth + d) * panel_columns_, to);
      }
    }
    if (!to.relu) return;
    for (int64_t r = 0; r < rows_; ++r) {
      A* sums = results_[r] + to.offset;
      for (int64_t c = 0; c < panel_columns_; ++c) {
        sums[c] = sums[c] < A(0) ? A(0) : sums[c];
      }
    }
  }

  // Multiplies all rows with `panels` panels of a filter that lies as the
  // tensor does, in rows of `step` elements, from `filter` on: a few whole rows
  // of these panels at a time.
  void MultiplyInPlace(const A* filter, int64_t step, int64_t panels,
                       TileRows<A> to) const {
    for (int64_t p = 0; p < panels; ++p) {
      Begin(to);
      to.offset += panel_columns_;
    }
    to.offset -= panels * panel_columns_;
    FindLines(step, panels);
    for (int64_t tap = 0; tap < gather_.filter_taps; ++tap) {
      if (counts_[tap] == 0) continue;
      for (int64_t d = 0; d < gather_.depth; d += blocks_.filter_rows) {
        MultiplyFilterRows(
            tap, d, std::min(blocks_.filter_rows, gather_.depth - d),
            filter + (tap * gather_.depth + d) * step, step, panels, to);
      }
    }
  }

 private:
  // Sums start from the bias or from zero.
  void Begin(const TileRows<A>& to) const {
    for (int64_t r = 0; r < rows_; ++r) {
      for (int v = 0; v < blocks_.vectors; ++v) {
        const int64_t lane = v * kLanes<A>;
        Store(results_[r] + to.offset + lane,
              to.bias == nullptr ? Vec<A>{} : Load(to.bias + lane));
      }
    }
  }

  // The lines of memory that a tile fetches, from where it begins to: pairs of
  // them along whole rows of the panels. In that order a core's own prefetching
  // helps: 33 MB took 2.4 ms panel by panel, 1.5 so (a Zen 5 core).
  void FindLines(int64_t step, int64_t panels) const {
    const int64_t row = LinePairs(panels);
    for (int64_t d = 0; d < blocks_.filter_rows; ++d) {
      lines_[d] =
          (d / row * step + d % row * kPair) * static_cast<int64_t>(sizeof(A));
    }
  }

  // Of so many panels' columns; each tile of a panel fetches a pair per row of
  // the filter that it multiplies with, until the panel's share is fetched.
  int64_t LinePairs(int64_t panels) const {
    return std::max<int64_t>(1, panels * panel_columns_ / kPair);
  }

  // The rows of the filter from `filter` on, which are those of the tap from
  // `depth` on; what lies below them is fetched.
  void MultiplyFilterRows(int64_t tap, int64_t depth, int64_t depths,
                          const A* filter, int64_t step, int64_t panels,
                          TileRows<A> to) const {
    const A* below = filter + depths * step;
    const int64_t row = LinePairs(panels);
    for (int64_t p = 0; p < panels; ++p) {
      RowsAhead<A> ahead{&below, 0, 0, 0, lines_};
      int64_t share = p * panel_columns_ / kPair;
      const int64_t end = (p + 1) * panel_columns_ / kPair;
      for (int64_t r = 0; r < counts_[tap];) {
        int tile = blocks_.rows;
        while (SmallerTile(tile) >= counts_[tap] - r) tile = SmallerTile(tile);
        to.rows = sums_ + tap * step_ + r;
        to.accumulate = true;
        ahead.beyond =
            share * depths / row * step * static_cast<int64_t>(sizeof(A));
        MultiplyInPlaceTile(tile, {pointers_ + tap * step_ + r, 0, depth, step},
                            depths, filter, share++ < end ? &ahead : nullptr,
                            to);
        r += tile;
      }
      filter += panel_columns_;
      to.offset += panel_columns_;
    }
  }

  void MultiplyInPlaceTile(int tile, const RowsOfTaps<A>& rows, int64_t depths,
                           const A* filter, const RowsAhead<A>* ahead,
                           const TileRows<A>& to) const {
    const int64_t zero = 0;
    WithTile(tile, blocks_.vectors, [&](auto fixed, auto vectors) {
      constexpr int kRows = fixed(), kVectors = vectors();
      if (ahead != nullptr) {
        MultiplyRows<A, kRows, kVectors, true, true, true>(
            rows, &zero, 1, depths, filter, to, *ahead);
      } else {
        MultiplyRows<A, kRows, kVectors, true, false, true>(rows, &zero, 1,
                                                            depths, filter, to);
      }
    });
  }

  void MultiplyPart(int64_t tap, int64_t depth, int64_t depths, const A* filter,
                    const TileRows<A>& to) const {
    const int64_t zero = 0;
    const int64_t count = counts_[tap];
    // The tiles fetch the next part of the filter, or what lies there, between
    // them.
    const int64_t bytes = depths * panel_columns_ * sizeof(A);
    const int64_t tiles = CeilDiv(count, blocks_.rows);
    const int64_t step = std::min<int64_t>(bytes / (tiles * depths), 64);
    const A* next = filter + depths * panel_columns_;
    int64_t beyond = 0;
    for (int64_t r = 0; r < count;) {
      int tile = blocks_.rows;
      while (SmallerTile(tile) >= count - r) tile = SmallerTile(tile);
      const TileRows<A> sums{sums_ + tap * step_ + r, to.offset, true};
      const RowsOfTaps<A> rows{pointers_ + tap * step_ + r, 0, depth};
      const RowsAhead<A> ahead{&next, 0, beyond, step};
      WithTile(tile, blocks_.vectors, [&](auto fixed, auto vectors) {
        constexpr int kRows = fixed(), kVectors = vectors();
        if constexpr (kRows >= kTileRows * 2 / std::max(kVectors, 2)) {
          MultiplyRows<A, kRows, kVectors, true, true>(rows, &zero, 1, depths,
                                                       filter, sums, ahead);
        } else {
          MultiplyRows<A, kRows, kVectors, true>(rows, &zero, 1, depths, filter,
                                                 sums);
        }
      });
      beyond += step * depths;
      r += tile;
    }
  }

  // Elements of two cache lines.
  static constexpr int64_t kPair = 128 / sizeof(A);

  const Gather& gather_;
  const ChannelLanesBlocks& blocks_;
  const int64_t panel_columns_;
  const int64_t step_;  // rows that a tap has room for

  // The unit at hand.
  int64_t* filter_taps_ = nullptr;
  int64_t* counts_ = nullptr;
  int64_t* offsets_ = nullptr;
  const A** pointers_ = nullptr;
  A** sums_ = nullptr;
  A** results_ = nullptr;
  int64_t rows_ = 0;
  int64_t* lines_ = nullptr;
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_TAP_ROWS_INL_H_
