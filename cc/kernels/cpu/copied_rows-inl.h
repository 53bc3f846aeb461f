// The input gradient over copies of output_grad. Step 6 of the path of a call.
//
// A matrix product: rows are positions of the input, columns are in_channels,
// and the sums run over taps x out_channels, in which order the filter lies in
// memory: it needs no packing. What the taps read is copied side by side for a
// chunk of positions, so that a register tile has no taps to find, however few
// channels each of them has; zeros stand for what lies beyond the border.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_COPIED_ROWS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_COPIED_ROWS_INL_H_

template <typename T>
class CopiedRows {
 public:
  using A = Compute<T>;

  CopiedRows(const GatherCall<T>& call, const FilterGradCall<T>& rows,
             char* scratch, std::atomic<bool>* found_nan)
      : call_(call),
        plan_(call.plan),
        blocks_(call.plan.positions),
        scratch_(scratch),
        found_nan_(found_nan),
        columns_(call.plan.geometry.in_channels),
        width_(blocks_.vectors * kLanes<A>),
        depth_(NumElements(call.plan.geometry.FilterDims()) / columns_),
        positions_(NumElements(call.plan.geometry.InputDims()) / columns_),
        stream_(StreamsVectors(call) && depth_ <= blocks_.row_block),
        chunk_(rows) {}

  void RunUnit(int64_t unit, int worker) {
    char* scratch = scratch_ + worker * plan_.scratch_bytes;
    panel_ = reinterpret_cast<A*>(scratch);
    chunk_.SetScratch(scratch +
                      RoundUp64(blocks_.row_block * width_ * sizeof(A)));
    const int64_t column_blocks =
        (columns_ + blocks_.column_block - 1) / blocks_.column_block;
    const int64_t begin = unit / column_blocks * blocks_.chunk;
    const int64_t count = std::min(blocks_.chunk, positions_ - begin);
    const int64_t first = unit % column_blocks * blocks_.column_block;
    const int64_t last = std::min(columns_, first + blocks_.column_block);
    A* result = reinterpret_cast<A*>(call_.result) + begin * columns_;
    chunk_.Take(begin, begin + count);
    for (int64_t row = 0; row < depth_; row += blocks_.row_block) {
      const int64_t rows = std::min(blocks_.row_block, depth_ - row);
      chunk_.TakeAllTaps(row, rows);
      accumulate_ = row > 0;
      for (int64_t c = first; c < last; c += width_) {
        SetPanel(row, rows, c, std::min(width_, last - c));
        for (int64_t p = 0; p < count; p += blocks_.rows) {
          MultiplyTile(p, std::min<int64_t>(blocks_.rows, count - p), rows,
                       std::min(width_, last - c), result + p * columns_ + c);
        }
      }
    }
    if (stream_) FinishStreams();
    if (!chunk_.touched_border()) return;
    for (int64_t p = 0; p < count; ++p) {
      if (AnyNaN(result + p * columns_ + first, last - first)) {
        found_nan_->store(true);
        return;
      }
    }
  }

 private:
  // The columns of the filter that the next tiles multiply with: copied where
  // many tiles do, or where a vector would leave the tensor.
  void SetPanel(int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const A* from =
        reinterpret_cast<const A*>(call_.filter) + row * columns_ + column;
    filter_ = from;
    filter_step_ = columns_;
    // What the tiles of this panel fetch for the next: it lies beside, or
    // below.
    ahead_ = from + width_;
    ahead_line_ = 0;
    if (!blocks_.copy_right && columns == width_) return;
    filter_ = panel_;
    filter_step_ = width_;
    for (int64_t d = 0; d < rows; ++d, from += columns_) {
      A* to = panel_ + d * width_;
      if (columns == width_) {
        Store(to, Load(from));
        if (blocks_.vectors == 2) {
          Store(to + kLanes<A>, Load(from + kLanes<A>));
        }
      } else {
        std::copy_n(from, columns, to);
        std::fill(to + columns, to + width_, A(0));
      }
    }
  }

  void MultiplyTile(int64_t position, int64_t positions, int64_t depth,
                    int64_t columns, A* sums) {
    int tile_rows = blocks_.rows;
    while (SmallerTile(tile_rows) >= positions) {
      tile_rows = SmallerTile(tile_rows);
    }
    const int vectors = columns <= kLanes<A> ? 1 : blocks_.vectors;
    if (columns == vectors * kLanes<A> && positions == tile_rows) {
      return Multiply(position, tile_rows, vectors, depth, accumulate_, stream_,
                      sums, columns_);
    }
    A tile[16 * 2 * kLanes<A>];
    Multiply(position, tile_rows, vectors, depth, false, false, tile, width_);
    for (int64_t r = 0; r < positions; ++r) {
      A* to = sums + r * columns_;
      const A* from = tile + r * width_;
      if (accumulate_) {
        for (int64_t c = 0; c < columns; ++c) to[c] += from[c];
      } else {
        std::copy_n(from, columns, to);
      }
    }
  }

  void Multiply(int64_t position, int tile_rows, int tile_vectors,
                int64_t depth, bool accumulate, bool stream, A* tile,
                int64_t tile_stride) {
    const A* ahead = ahead_line_ < blocks_.vectors
                         ? ahead_ + ahead_line_++ * kLanes<A>
                         : nullptr;
    WithTile(tile_rows, tile_vectors, [&](auto rows, auto vectors) {
      MultiplyCopies<A, rows(), vectors()>(
          chunk_.left(0) + position * blocks_.rows, blocks_.left_step, depth,
          filter_, filter_step_, ahead, columns_, accumulate, stream, tile,
          tile_stride);
    });
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const PositionsBlocks& blocks_;
  char* scratch_;
  std::atomic<bool>* found_nan_;
  const int64_t columns_, width_;
  const int64_t depth_;  // taps x out_channels
  const int64_t positions_;
  const bool stream_;  // complete sums go past the caches

  // The unit at hand.
  PositionRows<T> chunk_;
  bool accumulate_ = false;
  A* panel_ = nullptr;
  const A* filter_ = nullptr;
  int64_t filter_step_ = 0;
  const A* ahead_ = nullptr;
  int64_t ahead_line_ = 0;
};

// False where zeros beyond the border may have met an infinity or NaN: the call
// has to be run again, exactly.
template <typename T>
bool RunCopiedRows(const GatherCall<T>& call, char* scratch,
                   const ParallelFor& parallel_for) {
  std::atomic<bool> found_nan{false};
  const FilterGradCall<T> rows{call.plan, nullptr, call.source, nullptr};
  const CopiedRows<T> kernel(call, rows, scratch, &found_nan);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    CopiedRows<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
  return !found_nan.load();
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_COPIED_ROWS_INL_H_
