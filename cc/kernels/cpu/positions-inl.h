// The filter gradient tap by tap: of groups, in pairs, and where lines are too
// long to be copied (all_taps-inl.h). Step 6 of the path of a call.
//
// A matrix product: rows are taps x out_channels, columns are in_channels, and
// the sums run over the positions of the input. A unit owns some blocks of
// rows, of one tap each, and a range of positions. It takes the range in
// chunks: the input of a chunk is copied once, in panels of columns, and each
// block of rows copies what it takes of output_grad; register tiles then run
// over copies that stay in the caches. Partial sums of position ranges are
// added in order afterwards, so the bits do not depend on who computed them.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_POSITIONS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_POSITIONS_INL_H_

// Adds the partial sums of result elements [begin, end) in order and stores
// them.
template <typename T>
void AddSplits(const Compute<T>* partial, int64_t splits, int64_t elements,
               int64_t begin, int64_t end, T* result) {
  using A = Compute<T>;
  constexpr int64_t kBlock = 256;
  A sums[kBlock];
  for (; begin < end; begin += kBlock) {
    const int64_t count = std::min(kBlock, end - begin);
    std::copy_n(partial + begin, count, sums);
    for (int64_t split = 1; split < splits; ++split) {
      const A* more = partial + split * elements + begin;
      for (int64_t f = 0; f < count; ++f) sums[f] += more[f];
    }
    NarrowRow<T>(sums, count, result + begin);
  }
}

template <typename T>
class Positions {
 public:
  using A = Compute<T>;
  using W = Word<T>;

  Positions(const FilterGradCall<T>& call, A* partial, char* scratch,
            std::atomic<bool>* found_nan)
      : call_(call),
        plan_(call.plan),
        geometry_(call.plan.geometry),
        blocks_(call.plan.positions),
        columns_(blocks_.channelwise ? geometry_.groups
                                     : geometry_.group_in_channels()),
        width_(blocks_.vectors * kLanes<A>),
        groups_(blocks_.channelwise ? 1 : geometry_.groups),
        partial_(partial),
        scratch_(scratch),
        found_nan_(found_nan),
        chunk_(call) {
    filter_elements_ = NumElements(geometry_.FilterDims());
    positions_ = NumElements(geometry_.InputDims()) / geometry_.in_channels;
    filter_rows_ = filter_elements_ / geometry_.in_channels;
  }

  void RunUnit(int64_t unit, int worker) {
    char* scratch = scratch_ + worker * plan_.scratch_bytes;
    chunk_.SetScratch(scratch);
    channels_ = reinterpret_cast<A*>(scratch + plan_.scratch_bytes) -
                2 * geometry_.groups;
    const int64_t tile_groups =
        (blocks_.tiles + blocks_.tile_group - 1) / blocks_.tile_group;
    first_tile_ = unit % tile_groups * blocks_.tile_group;
    last_tile_ = std::min(first_tile_ + blocks_.tile_group, blocks_.tiles);
    const int64_t split = unit / tile_groups;
    sums_ = partial_ + split * filter_elements_;
    const int64_t begin = positions_ * split / blocks_.splits;
    end_ = positions_ * (split + 1) / blocks_.splits;
    for (int64_t at = begin; at < end_; at = next_) {
      next_ = std::min(end_, at + blocks_.chunk);
      chunk_.Take(at, next_);
      accumulate_ = at > begin;
      if (blocks_.channelwise) {
        RunChannelwise();
        continue;
      }
      for (int64_t c = 0; c < columns_; c += blocks_.column_block) {
        RunColumns(c, std::min(columns_, c + blocks_.column_block));
      }
    }
    if (kInPairs<T>) FindNaN();
  }

 private:
  // A block of rows of one tap.
  struct Tile {
    int64_t group, tap, first, rows;
  };
  Tile TileOf(int64_t index) const {
    const int64_t all = geometry_.group_out_channels();
    const int64_t blocks = (all + blocks_.row_block - 1) / blocks_.row_block;
    const int64_t taps = filter_rows_ / all;
    Tile tile;
    tile.first = index % blocks * blocks_.row_block;
    tile.rows = std::min(all - tile.first, blocks_.row_block);
    tile.tap = index / blocks % taps;
    tile.group = index / blocks / taps;
    return tile;
  }

  A* SumsOf(const Tile& tile) const {
    return sums_ +
           (tile.tap * geometry_.group_out_channels() + tile.first) *
               geometry_.in_channels +
           tile.group * geometry_.group_in_channels();
  }

  // The first tile from `index` on that has a product in the chunk at hand; the
  // sums of the others are zero so far.
  int64_t NextTile(int64_t index) {
    if (index >= last_tile_ || chunk_.reaches_all()) return index;
    int64_t next = index;
    while (next < last_tile_) {
      const Tile tile = TileOf(next);
      const int64_t tap = chunk_.NextTap(tile.tap);
      if (tap == tile.tap) break;
      // Its first block of rows; or that of the next group, if there is none.
      const int64_t taps = filter_rows_ / geometry_.group_out_channels();
      next = (tile.group * taps + tap) * (blocks_.tiles / taps / groups_);
    }
    next = std::min(next, last_tile_);
    for (; index < next && !accumulate_; ++index) {
      const Tile tile = TileOf(index);
      A* sums = SumsOf(tile);
      for (int64_t r = 0; r < tile.rows; ++r) {
        std::fill_n(sums + r * geometry_.in_channels, columns_, A(0));
      }
    }
    return next;
  }

  // All tiles of the unit, columns [begin, end), over the chunk at hand.
  void RunColumns(int64_t begin, int64_t end) {
    int64_t group = -1;
    for (int64_t index = NextTile(first_tile_); index < last_tile_;
         index = NextTile(index + 1)) {
      const Tile tile = TileOf(index);
      if (tile.group != group) {
        group = tile.group;
        chunk_.TakeColumns(group, begin, end - begin);
      }
      const int64_t positions =
          chunk_.TakeTap(tile.tap, group, tile.first, tile.rows, true);
      SetAhead(index);
      A* sums = SumsOf(tile);
      for (int64_t c = begin; c < end; c += width_) {
        const W* right = chunk_.Columns(c);
        for (int64_t r = 0; r < tile.rows; r += blocks_.rows) {
          const int64_t rows = std::min<int64_t>(tile.rows - r, blocks_.rows);
          MultiplyTile(positions, r, rows, right, std::min(width_, end - c),
                       sums + r * geometry_.in_channels + c);
        }
      }
    }
  }

  // What the tiles of a block of rows fetch on their way: output_grad of the
  // next block, or after the last one the input of the next chunk.
  void SetAhead(int64_t index) {
    ahead_line_ = 0;
    if (index + 1 == last_tile_) {
      ahead_ = chunk_.AheadOfInput(next_, end_);
      return;
    }
    const Tile next = TileOf(index + 1);
    ahead_ = chunk_.AheadOfRows(next.tap, next.group, next.first, next.rows);
  }

  void MultiplyTile(int64_t positions, int64_t row, int64_t rows,
                    const W* right, int64_t columns, A* sums) {
    int tile_rows = blocks_.rows;
    while (SmallerTile(tile_rows) >= rows) tile_rows = SmallerTile(tile_rows);
    const int vectors = columns <= kLanes<A> ? 1 : blocks_.vectors;
    const W* left = chunk_.left(row);
    if (columns == vectors * kLanes<A> && rows == tile_rows) {
      return Multiply(tile_rows, vectors, left, right, positions, accumulate_,
                      sums, geometry_.in_channels);
    }
    // A tile that is not filled goes through a copy: its neighbours belong to
    // other tiles.
    A tile[16 * 2 * kLanes<A>];
    Multiply(tile_rows, vectors, left, right, positions, false, tile, width_);
    for (int64_t r = 0; r < rows; ++r) {
      A* to = sums + r * geometry_.in_channels;
      const A* from = tile + r * width_;
      if (accumulate_) {
        for (int64_t c = 0; c < columns; ++c) to[c] += from[c];
      } else {
        std::copy_n(from, columns, to);
      }
    }
  }

  void Multiply(int tile_rows, int tile_vectors, const W* left, const W* right,
                int64_t positions, bool accumulate, A* tile,
                int64_t tile_stride) {
    const bool more = ahead_line_ < ahead_.lines;
    const W* ahead = more ? ahead_.base + ahead_line_++ * ahead_.step : right;
    const int64_t* ahead_at = more ? ahead_.at : chunk_.at();
    WithTile(tile_rows, tile_vectors, [&](auto rows, auto vectors) {
      MultiplyPositions<W, rows(), vectors()>(
          left, blocks_.rows, right, chunk_.at(), positions, ahead, ahead_at,
          accumulate, tile, tile_stride);
    });
  }

  // Depthwise: channel c of input meets channel c of output_grad alone.
  void RunChannelwise() {
    chunk_.TakeColumns(0, 0, columns_);
    for (int64_t tap = NextTile(first_tile_); tap < last_tile_;
         tap = NextTile(tap + 1)) {
      A* sums = sums_ + tap * columns_;
      if (!accumulate_) std::fill(sums, sums + columns_, A(0));
      const int64_t positions = chunk_.TakeTap(tap, 0, 0, 1, false);
      MultiplyChannelwise(positions, sums);
    }
  }

  void MultiplyChannelwise(int64_t positions, A* sums) {
    const int64_t* input_at = chunk_.at();
    const int64_t* output_at = chunk_.output_at();
    int64_t c = 0;
    if constexpr (kNative<T>) {
      const A* input = reinterpret_cast<const A*>(call_.input);
      const A* output_grad = reinterpret_cast<const A*>(call_.output_grad);
      constexpr int kBlock = 4 * kLanes<A>;
      for (; c + kBlock <= columns_; c += kBlock) {
        Vec<A> acc[4];
        for (int v = 0; v < 4; ++v) acc[v] = Load(sums + c + v * kLanes<A>);
        for (int64_t p = 0; p < positions; ++p) {
          const A* x = input + input_at[p] + c;
          const A* dy = output_grad + output_at[p] + c;
#pragma GCC unroll 4
          for (int v = 0; v < 4; ++v) {
            acc[v] += Load(x + v * kLanes<A>) * Load(dy + v * kLanes<A>);
          }
        }
        for (int v = 0; v < 4; ++v) Store(sums + c + v * kLanes<A>, acc[v]);
      }
    }
    const int64_t rest = columns_ - c;
    for (int64_t p = 0; p < positions && rest > 0; ++p) {
      WidenRow<T>(call_.input + input_at[p] + c, 1, rest, channels_);
      WidenRow<T>(call_.output_grad + output_at[p] + c, 1, rest,
                  channels_ + rest);
      MultiplyChannels(channels_, channels_ + rest, rest, sums + c);
    }
  }

  // Zeros beside a position that has no neighbour in its pair may have met an
  // infinity or NaN; or an infinity a number that pairs flush to zero.
  void FindNaN() {
    for (int64_t index = first_tile_; index < last_tile_; ++index) {
      const Tile tile = TileOf(index);
      const A* sums = SumsOf(tile);
      for (int64_t r = 0; r < tile.rows; ++r) {
        if (AnyNaN(sums + r * geometry_.in_channels, columns_)) {
          found_nan_->store(true);
        }
      }
    }
  }

  const FilterGradCall<T>& call_;
  const Plan& plan_;
  const ConvTransposeGeometry& geometry_;
  const PositionsBlocks& blocks_;
  const int64_t columns_;  // of a group
  const int64_t width_;    // of a panel
  const int64_t groups_;
  A* partial_;
  char* scratch_;
  std::atomic<bool>* found_nan_;
  int64_t filter_elements_ = 0, filter_rows_ = 0, positions_ = 0;

  // The unit at hand.
  PositionRows<T> chunk_;
  int64_t first_tile_ = 0, last_tile_ = 0;
  int64_t next_ = 0, end_ = 0;  // of the chunk and of the range of positions
  bool accumulate_ = false;
  typename PositionRows<T>::Ahead ahead_{};
  int64_t ahead_line_ = 0;
  A* sums_ = nullptr;
  A* channels_ = nullptr;
};

// Runs the units of Kernel, Positions or AllTaps. False where zeros may have
// met an infinity or NaN (FindNaN): the call has to be run again, exactly.
template <template <typename> class Kernel, typename T>
bool RunSums(const FilterGradCall<T>& call, char* shared, char* scratch,
             const ParallelFor& parallel_for) {
  using A = Compute<T>;
  const bool direct = kNative<T> && call.plan.positions.splits == 1;
  A* partial =
      direct ? reinterpret_cast<A*>(call.result) : reinterpret_cast<A*>(shared);
  std::atomic<bool> found_nan{false};
  const Kernel<T> kernel(call, partial, scratch, &found_nan);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    Kernel<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
  if (found_nan.load() && call.plan.exact != nullptr) return false;
  if (direct) return true;
  const int64_t elements = NumElements(call.plan.geometry.FilterDims());
  parallel_for(elements, 1 << 14, [&](int64_t begin, int64_t end, int) {
    AddSplits<T>(partial, call.plan.positions.splits, elements, begin, end,
                 call.result);
  });
  return true;
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_POSITIONS_INL_H_
