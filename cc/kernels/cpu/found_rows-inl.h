// The rows of a work unit, all found before any of them is multiplied: what
// channel_lanes-inl.h does where few taps sum short depths, and what surrounds
// a register tile weighs. The filter passes in parts that a level-1 cache
// holds, and all rows visit each of them.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_FOUND_ROWS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_FOUND_ROWS_INL_H_

// Bytes of the filter that stay in a level-1 cache, beside the rows of a few
// tiles.
inline constexpr int64_t kFilterPartBytes = 32 * 1024;

// Bytes between rows that follow each other: more, and they do not.
inline constexpr int64_t kMostPitch = 1 << 20;

template <typename T>
class FoundRows {
 public:
  using A = Compute<T>;
  using W = Word<T>;

  explicit FoundRows(const Plan& plan)
      : blocks_(plan.channel_lanes),
        panel_columns_(blocks_.vectors * kLanes<A>),
        depth_((plan.gather.depth + kWord<T> - 1) / kWord<T>) {}

  // blocks_.found_bytes; zeros: what a row beyond the border reads.
  void SetScratch(char* p, const W* zeros) {
    const int64_t tiles = blocks_.row_block / blocks_.rows;
    zeros_ = zeros;
    tiles_ = reinterpret_cast<Tile*>(p);
    filter_taps_ = reinterpret_cast<int64_t*>(p + tiles * sizeof(Tile));
    offsets_ = filter_taps_ + tiles * blocks_.tap_block;
    pointers_ = reinterpret_cast<const W**>(offsets_ + blocks_.found_rows *
                                                           blocks_.tap_block);
    sums_ = reinterpret_cast<T**>(offsets_) +
            blocks_.tap_block * (blocks_.found_rows + blocks_.row_block);
  }

  // Finds the rows [row, end) of the phase at hand.
  void Find(const T* source, T* result, int64_t row, int64_t end,
            RowTiles* rows) {
    count_ = most_taps_ = 0;
    touched_border_ = false;
    int64_t* filter_taps = filter_taps_;
    const W** pointers = pointers_;
    T** sums = sums_;
    rows->Seek(row);
    while (row < end) {
      const int64_t left = end - row;
      int many = static_cast<int>(blocks_.found_rows);
      if (left < many) many = blocks_.rows;
      while (SmallerTile(many) >= left) many = SmallerTile(many);
      const int64_t taken = std::min<int64_t>(left, many);
      rows->Take(taken, many);
      const int64_t merged = rows->InnerTapsInside() ? blocks_.merged : 1;
      const int64_t taps =
          rows->FindTaps(0, rows->taps(), many, filter_taps, offsets_, merged);
      for (int64_t t = 0; t < taps; ++t) {
        filter_taps[t] *= depth_ * panel_columns_;
      }
      for (int64_t i = 0; i < taps * many; ++i) {
        pointers[i] = offsets_[i] < 0
                          ? zeros_
                          : reinterpret_cast<const W*>(source + offsets_[i]);
      }
      for (int r = 0; r < many; ++r) sums[r] = result + rows->result_offset(r);
      for (int r = 0; r < many; r += blocks_.rows) {
        tiles_[count_++] = {
            pointers + r, sums + r,        filter_taps,
            taps,         depth_ * merged, std::min(blocks_.rows, many - r),
            many};
      }
      most_taps_ = std::max(most_taps_, taps);
      touched_border_ |= rows->touched_border();
      filter_taps += taps;
      pointers += taps * many;
      sums += many;
      row += taken;
    }
  }

  // Some row reads beyond the border of the source.
  bool touched_border() const { return touched_border_; }

  // Multiplies all rows with one panel of the filter, part by part; at once in
  // pairs, whose sums wait nowhere. fetch: the rows are in no cache yet.
  void Multiply(const W* filter, const TileRows<A>& to, bool fetch) const {
    const int64_t depth = depth_ * blocks_.merged;
    const int64_t part =
        kInPairs<T> ? depth * std::max<int64_t>(1, most_taps_)
                    : std::max<int64_t>(
                          1, kFilterPartBytes / (panel_columns_ * sizeof(A)));
    const int64_t depths = std::min(depth, part);
    const int64_t taps = std::max<int64_t>(1, part / depth);
    const bool whole = most_taps_ <= taps && depth <= part;
    for (int64_t tap = 0; tap == 0 || tap < most_taps_; tap += taps) {
      for (int64_t d = 0; d < depth; d += depths) {
        for (int64_t i = 0; i < count_; ++i) {
          MultiplyTile({i, tap, taps, d, depths}, filter, to, whole,
                       fetch && d == 0);
        }
      }
    }
  }

 private:
  // A register tile: where its rows begin by [tap][row], taps `step` apart.
  struct Tile {
    const W* const* pointers;
    T* const* sums;
    const int64_t* filter_taps;
    int64_t taps;
    int64_t depth;
    int rows;
    int step;
  };
  static_assert(sizeof(Tile) <= ChannelLanesBlocks::kFoundTileBytes);

  // A part of the filter, for one tile.
  struct Part {
    int64_t tile;
    int64_t tap, taps;
    int64_t depth, depths;
  };

  void MultiplyTile(const Part& part, const W* filter, TileRows<A> to,
                    bool whole, bool fetch) const {
    const Tile& tile = tiles_[part.tile];
    const bool first = part.tap == 0 && part.depth == 0;
    if (!first && (part.tap >= tile.taps || part.depth >= tile.depth)) return;
    const int64_t taps = std::min(part.taps, tile.taps - part.tap);
    const int64_t depths = std::min(part.depths, tile.depth - part.depth);
    const bool last =
        part.tap + taps >= tile.taps && part.depth + depths >= tile.depth;
    if constexpr (kInPairs<T>) {
      to.rounded = tile.sums;
    } else {
      to.rows = tile.sums;
    }
    to.accumulate = !first;
    to.relu = to.relu && last;
    // Sums that are added to are in a cache already.
    to.stream = to.stream && whole;
    const RowsOfTaps<W> rows{tile.pointers + part.tap * tile.step, tile.step,
                             part.depth};
    const int64_t* at = tile.filter_taps + part.tap;
    filter += part.depth * panel_columns_;
    WithTile(tile.rows, blocks_.vectors, [&](auto fixed, auto vectors) {
      constexpr int kRows = fixed(), kVectors = vectors();
      if constexpr (kRows >= kTileRows * 2 / std::max(kVectors, 2)) {
        const RowsAhead<W> ahead =
            fetch ? AheadOf(part, taps, kRows, depths) : RowsAhead<W>{};
        if (ahead.rows != nullptr) {
          return MultiplyRows<W, kRows, kVectors, true, true>(
              rows, at, taps, depths, filter, to, ahead);
        }
      }
      MultiplyRows<W, kRows, kVectors, true>(rows, at, taps, depths, filter,
                                             to);
    });
  }

  // The rows of the tile after the next, which by then have come from memory.
  // They follow each other in the source, whatever the operation, where the
  // filter is no longer than the stride; else they are mostly in a cache.
  RowsAhead<W> AheadOf(const Part& part, int64_t taps, int rows,
                       int64_t depths) const {
    const int64_t at = std::min(part.tile + 2, count_ - 1);
    const Tile& tile = tiles_[at];
    const bool same = taps > 0 && tile.taps >= part.tap + taps;
    if (!same || tile.rows < 2) return {};
    const W* const* first = tile.pointers + part.tap * tile.step;
    const int64_t pitch = reinterpret_cast<const char*>(first[1]) -
                          reinterpret_cast<const char*>(first[0]);
    if (pitch <= 0 || pitch > kMostPitch) return {};
    // Beyond the last tile: the next unit's, most likely.
    const int64_t beyond = (part.tile + 2 - at) * rows * pitch;
    const int64_t step = std::min<int64_t>(pitch * rows / depths, 64);
    return {first, tile.step, beyond, step};
  }

  const ChannelLanesBlocks& blocks_;
  const int64_t panel_columns_;
  const int64_t depth_;  // in words

  // The unit at hand.
  const W* zeros_ = nullptr;
  Tile* tiles_ = nullptr;
  int64_t* filter_taps_ = nullptr;
  int64_t* offsets_ = nullptr;
  const W** pointers_ = nullptr;
  T** sums_ = nullptr;
  int64_t count_ = 0;
  int64_t most_taps_ = 0;
  bool touched_border_ = false;
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_FOUND_ROWS_INL_H_
