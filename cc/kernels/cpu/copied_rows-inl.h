// The input gradient over copies of output_grad. Step 6 of the path of a call.
//
// A matrix product: rows are positions of the input, columns are in_channels,
// and the sums run over taps x out_channels, in which order the filter lies in
// memory: it needs no packing. Positions of a line begin a constant step apart
// in output_grad, and what their taps read overlaps: lines are copied
// (line_copies-inl.h), with zeros for what lies beyond the border, and register
// tiles read the copy in place, however few channels a tap has. Between two
// lines there are `gap` positions that read parts of both and are not stored.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_COPIED_ROWS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_COPIED_ROWS_INL_H_

template <typename A>
inline bool AllFinite(const A* p, int64_t count) {
  int found = 0;
  for (int64_t i = 0; i < count; ++i) found |= p[i] - p[i] != A(0);
  return found == 0;
}

template <typename T>
class CopiedRows {
 public:
  using A = Compute<T>;

  CopiedRows(const GatherCall<T>& call, char* scratch,
             std::atomic<bool>* found_nan)
      : call_(call),
        plan_(call.plan),
        geometry_(call.plan.geometry),
        blocks_(call.plan.copied_rows),
        copied_(call.plan.copied_lines),
        lines_(call.source, call.plan),
        scratch_(scratch),
        found_nan_(found_nan),
        columns_(geometry_.in_channels),
        width_(blocks_.vectors * kLanes<A>),
        depth_(NumElements(geometry_.FilterDims()) / columns_),
        positions_(NumElements(geometry_.InputDims()) / columns_),
        step_(copied_.step),
        stream_(StreamsVectors(call) && depth_ <= blocks_.row_block) {}

  void RunUnit(int64_t unit, int worker) {
    SetScratch(scratch_ + worker * plan_.scratch_bytes);
    const int64_t column_blocks =
        (columns_ + blocks_.column_block - 1) / blocks_.column_block;
    const int64_t begin = unit / column_blocks * copied_.chunk;
    const int64_t end = std::min(begin + copied_.chunk, positions_);
    const int64_t first = unit % column_blocks * blocks_.column_block;
    const int64_t last = std::min(columns_, first + blocks_.column_block);
    Take(begin, end);
    const int64_t line_depth = lines_.line_depth();
    const int64_t taps = depth_ / line_depth;
    for (int64_t tap = 0; tap < taps; tap += copied_.line_taps) {
      const int64_t tap_end = std::min(tap + copied_.line_taps, taps);
      const int64_t rest = slots_ % blocks_.rows;
      lines_.Copy(tap, tap_end, TileFor(rest) - rest);
      const int64_t last_row = tap_end * line_depth;
      for (int64_t row = tap * line_depth; row < last_row;
           row += blocks_.row_block) {
        MultiplyRowBlock(tap, row, std::min(blocks_.row_block, last_row - row),
                         first, last);
      }
    }
    if (stream_) FinishStreams();
    if (found_nan_ == nullptr || !lines_.touched_border()) return;
    const A* result = reinterpret_cast<const A*>(call_.result);
    for (int64_t p = begin; p < end; ++p) {
      if (AnyNaN(result + p * columns_ + first, last - first)) {
        found_nan_->store(true);
        return;
      }
    }
  }

 private:
  // Takes plan.scratch_bytes from p on.
  void SetScratch(char* p) {
    const auto take = [&p](int64_t bytes) {
      char* from = p;
      p += RoundUp64(bytes);
      return from;
    };
    panel_ = reinterpret_cast<A*>(
        take(blocks_.row_block * width_ * static_cast<int64_t>(sizeof(A))));
    at_ = reinterpret_cast<int64_t*>(take(blocks_.row_block * 8));
    rows_ = reinterpret_cast<A**>(take((copied_.slots + kTileRows) * 8));
    unused_ = reinterpret_cast<A*>(take((columns_ + width_) * sizeof(A)));
    lines_.SetScratch(p);
  }

  // The chunk of positions [begin, end), and where the sums of each slot go.
  void Take(int64_t begin, int64_t end) {
    std::fill_n(unused_, columns_ + width_, A(0));
    lines_.Take(begin, end);
    slots_ = lines_.slots();
    std::fill_n(rows_, slots_ + kTileRows, unused_);
    A* result = reinterpret_cast<A*>(call_.result) + begin * columns_;
    for (int64_t n = 0; n < lines_.piece_count(); ++n) {
      const LinePiece& piece = lines_.piece(n);
      for (int64_t i = 0; i < piece.count; ++i, result += columns_) {
        rows_[piece.slot + i] = result;
      }
    }
  }

  // Rows [row, row + rows) of the filter, of outer taps from `tap` on, and its
  // columns [first, last).
  void MultiplyRowBlock(int64_t tap, int64_t row, int64_t rows, int64_t first,
                        int64_t last) {
    lines_.FindRows(row - tap * lines_.line_depth(), rows, at_);
    accumulate_ = row > 0;
    for (int64_t c = first; c < last; c += width_) {
      int64_t columns = std::min(width_, last - c);
      int64_t column = c;
      if (columns < width_ && last - first >= width_ &&
          depth_ <= blocks_.row_block) {
        // The last panel takes some columns again.
        column = last - width_;
        columns = width_;
      }
      SetPanel(row, rows, column, columns);
      for (int64_t p = 0; p < slots_; p += blocks_.rows) {
        MultiplyTile(p, std::min<int64_t>(blocks_.rows, slots_ - p), rows,
                     column, columns);
      }
    }
  }

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

  // Rows of the smallest tile that takes so many; none takes none.
  int TileFor(int64_t slots) const {
    int rows = slots > 0 ? blocks_.rows : 0;
    while (slots > 0 && rows > 1 && SmallerTile(rows) >= slots) {
      rows = SmallerTile(rows);
    }
    return rows;
  }

  void MultiplyTile(int64_t slot, int64_t slots, int64_t depth, int64_t column,
                    int64_t columns) {
    const int tile_rows = TileFor(slots);
    const int vectors = columns <= kLanes<A> ? 1 : blocks_.vectors;
    if (columns == vectors * kLanes<A>) {
      return Multiply(
          slot, tile_rows, vectors, depth,
          {rows_ + slot, column, accumulate_, nullptr, false, stream_});
    }
    A tile[kTileRows * 2 * kLanes<A>];
    A* tile_row[kTileRows];
    for (int r = 0; r < kTileRows; ++r) tile_row[r] = tile + r * width_;
    Multiply(slot, tile_rows, vectors, depth, {tile_row});
    for (int64_t r = 0; r < slots; ++r) {
      A* to = rows_[slot + r] + column;
      const A* from = tile_row[r];
      if (accumulate_) {
        for (int64_t c = 0; c < columns; ++c) to[c] += from[c];
      } else {
        std::copy_n(from, columns, to);
      }
    }
  }

  void Multiply(int64_t slot, int tile_rows, int tile_vectors, int64_t depth,
                const TileRows<A>& to) {
    const A* ahead = ahead_line_ < blocks_.vectors
                         ? ahead_ + ahead_line_++ * kLanes<A>
                         : nullptr;
    WithTile(tile_rows, tile_vectors, [&](auto rows, auto vectors) {
      MultiplyCopies<A, rows(), vectors()>(lines_.lines() + slot * step_, step_,
                                           at_, depth, filter_, filter_step_,
                                           ahead, columns_, to);
    });
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const ConvTransposeGeometry& geometry_;
  const CopiedRowsBlocks& blocks_;
  const CopiedLines& copied_;
  LineCopies<T> lines_;
  char* scratch_;
  std::atomic<bool>* found_nan_;
  const int64_t columns_, width_;
  const int64_t depth_;  // taps x out_channels
  const int64_t positions_;
  const int64_t step_;  // elements of the copy from a position to the next
  const bool stream_;   // complete sums go past the caches

  // The unit at hand.
  int64_t slots_ = 0;
  bool accumulate_ = false;
  A* panel_ = nullptr;
  int64_t* at_ = nullptr;
  A** rows_ = nullptr;  // of the result, by slot
  A* unused_ = nullptr;
  const A* filter_ = nullptr;
  int64_t filter_step_ = 0;
  const A* ahead_ = nullptr;
  int64_t ahead_line_ = 0;
};

// False where zeros beyond the border meet an infinity or NaN of the filter, or
// may have met one: the call has to be run again, exactly.
template <typename T>
bool RunCopiedRows(const GatherCall<T>& call, char* scratch,
                   const ParallelFor& parallel_for) {
  // The smaller of the two is looked at.
  const ConvTransposeGeometry& geometry = call.plan.geometry;
  const int64_t weights = NumElements(geometry.FilterDims());
  const bool look_at_filter = weights <= NumElements(geometry.InputDims());
  if (look_at_filter &&
      !AllFinite(reinterpret_cast<const Compute<T>*>(call.filter), weights)) {
    return false;
  }
  std::atomic<bool> found_nan{false};
  const CopiedRows<T> kernel(call, scratch,
                             look_at_filter ? nullptr : &found_nan);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    CopiedRows<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
  return !found_nan.load();
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_COPIED_ROWS_INL_H_
