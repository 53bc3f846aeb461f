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
    for (int64_t r = 0; r < rows_; ++r) {
      for (int v = 0; v < blocks_.vectors; ++v) {
        const int64_t lane = v * kLanes<A>;
        Store(results_[r] + to.offset + lane,
              to.bias == nullptr ? Vec<A>{} : Load(to.bias + lane));
      }
    }
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

 private:
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
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_TAP_ROWS_INL_H_
