// The input gradient over copies of output_grad. Step 6 of the path of a call.
//
// A matrix product: rows are positions of the input, columns are in_channels,
// and the sums run over taps x out_channels, in which order the filter lies in
// memory: it needs no packing. Positions of a line begin a constant step apart
// in output_grad, and what their taps read overlaps: for each combination of
// taps of the outer axes the lines of a chunk of positions are copied one after
// the other, with zeros for what lies beyond the border, and register tiles
// read the copy in place, however few channels a tap has. Between two lines
// there are `gap` positions that read parts of both and are not stored.
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
        axis_(geometry_.axis[geometry_.rank - 1]),
        output_(OutputStrides(geometry_)),
        scratch_(scratch),
        found_nan_(found_nan),
        columns_(geometry_.in_channels),
        width_(blocks_.vectors * kLanes<A>),
        depth_(NumElements(geometry_.FilterDims()) / columns_),
        line_depth_(axis_.filter * geometry_.out_channels),
        positions_(NumElements(geometry_.InputDims()) / columns_),
        step_(blocks_.step),
        stream_(StreamsVectors(call) && depth_ <= blocks_.row_block) {}

  void RunUnit(int64_t unit, int worker) {
    SetScratch(scratch_ + worker * plan_.scratch_bytes);
    const int64_t column_blocks =
        (columns_ + blocks_.column_block - 1) / blocks_.column_block;
    const int64_t begin = unit / column_blocks * blocks_.chunk;
    const int64_t end = std::min(begin + blocks_.chunk, positions_);
    const int64_t first = unit % column_blocks * blocks_.column_block;
    const int64_t last = std::min(columns_, first + blocks_.column_block);
    Take(begin, end);
    const int64_t taps = depth_ / line_depth_;
    for (int64_t tap = 0; tap < taps; tap += blocks_.line_taps) {
      const int64_t tap_end = std::min(tap + blocks_.line_taps, taps);
      CopyLines(tap, tap_end);
      const int64_t last_row = tap_end * line_depth_;
      for (int64_t row = tap * line_depth_; row < last_row;
           row += blocks_.row_block) {
        MultiplyRowBlock(tap, row, std::min(blocks_.row_block, last_row - row),
                         first, last);
      }
    }
    if (stream_) FinishStreams();
    if (found_nan_ == nullptr || !touched_border_) return;
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
    pieces_ =
        reinterpret_cast<LinePiece*>(take(blocks_.pieces * sizeof(LinePiece)));
    rows_ = reinterpret_cast<A**>(take((blocks_.slots + kTileRows) * 8));
    unused_ = reinterpret_cast<A*>(take((columns_ + width_) * sizeof(A)));
    lines_ = reinterpret_cast<A*>(p);
  }

  // The chunk of positions [begin, end): its pieces, and where the sums of each
  // slot go.
  void Take(int64_t begin, int64_t end) {
    std::fill_n(unused_, columns_ + width_, A(0));
    touched_border_ = false;
    A* result = reinterpret_cast<A*>(call_.result) + begin * columns_;
    slots_ = 0;
    for (piece_count_ = 0; begin < end; ++piece_count_) {
      if (piece_count_ > 0) {
        for (int64_t i = 0; i < blocks_.gap; ++i) rows_[slots_++] = unused_;
      }
      LinePiece& piece = pieces_[piece_count_];
      int64_t line = begin / axis_.input;
      piece.inner = begin - line * axis_.input;
      piece.count = std::min(end - begin, axis_.input - piece.inner);
      piece.slot = slots_;
      piece.source = 0;
      for (int a = geometry_.rank - 2; a >= 0; --a) {
        const AxisGeometry& axis = geometry_.axis[a];
        const int64_t first = line % axis.input * axis.stride - axis.pad_before;
        line /= axis.input;
        piece.outer[a] = first;
        piece.source += first * output_.axis[a];
      }
      piece.source += line * output_.batch;
      begin += piece.count;
      for (int64_t i = 0; i < piece.count; ++i, result += columns_) {
        rows_[slots_++] = result;
      }
    }
    std::fill_n(rows_ + slots_, kTileRows, unused_);
  }

  // What the outer taps [first, last) read for the chunk at hand.
  void CopyLines(int64_t first, int64_t last) {
    A* lines = lines_;
    for (int64_t tap = first; tap < last; ++tap, lines += blocks_.line_step) {
      // How far the tap is from the first, along each outer axis.
      std::array<int64_t, kMaxRank> shift{};
      int64_t source = 0, index = tap;
      for (int a = geometry_.rank - 2; a >= 0; --a) {
        const AxisGeometry& axis = geometry_.axis[a];
        shift[a] = index % axis.filter * axis.dilation;
        source += shift[a] * output_.axis[a];
        index /= axis.filter;
      }
      for (int64_t n = 0; n < piece_count_; ++n) {
        CopyPiece(pieces_[n], shift, source, lines);
      }
      // What the last tile reads for no position: any number, but a subnormal
      // one takes the processor a hundred cycles.
      const LinePiece& end = pieces_[piece_count_ - 1];
      const int64_t rest = slots_ % blocks_.rows;
      std::fill_n(lines + (end.slot + end.count - 1) * step_ + blocks_.reach,
                  (TileFor(rest) - rest) * step_, A(0));
    }
  }

  void CopyPiece(const LinePiece& piece,
                 const std::array<int64_t, kMaxRank>& shift, int64_t source,
                 A* lines) {
    A* to = lines + piece.slot * step_;
    const int64_t pieces = blocks_.spread ? piece.count : 1;
    const int64_t count = piece.count / pieces;
    const bool inside = OuterFits(piece, shift);
    touched_border_ |= !inside;
    for (int64_t i = 0; i < pieces; ++i, to += step_) {
      if (inside) {
        CopyLine(piece.source + source, piece.inner + i, count, to);
      } else {
        std::fill_n(to, (count - 1) * step_ + blocks_.reach, A(0));
      }
    }
    // The rest of the gap.
    A* end = to + (count - 2) * step_ + blocks_.reach;
    while (end < to + (count - 1 + blocks_.gap) * step_) *end++ = A(0);
  }

  bool OuterFits(const LinePiece& piece,
                 const std::array<int64_t, kMaxRank>& shift) const {
    for (int a = 0; a < geometry_.rank - 1; ++a) {
      const int64_t o = piece.outer[a] + shift[a];
      if (o < 0 || o >= geometry_.axis[a].output) return false;
    }
    return true;
  }

  // What `count` positions from `inner` on read of the line that begins at
  // `source`.
  void CopyLine(int64_t source, int64_t inner, int64_t count, A* to) {
    const int64_t channels = geometry_.out_channels;
    const int64_t begin = (inner * axis_.stride - axis_.pad_before) * channels;
    const int64_t end =
        begin + (count - 1) * axis_.stride * channels + blocks_.reach;
    const int64_t from = std::clamp<int64_t>(0, begin, end);
    const int64_t last =
        std::clamp<int64_t>(axis_.output * channels, from, end);
    touched_border_ |= from > begin || last < end;
    for (int64_t i = begin; i < from; ++i) to[i - begin] = A(0);
    CopyElements(reinterpret_cast<const A*>(call_.source) + source + from,
                 last - from, to + (from - begin));
    for (int64_t i = last; i < end; ++i) to[i - begin] = A(0);
  }

  // Lines are short: whole vectors, of which the last takes some elements
  // again.
  static void CopyElements(const A* from, int64_t count, A* to) {
    if (count < kLanes<A>) {
      for (int64_t i = 0; i < count; ++i) to[i] = from[i];
      return;
    }
    for (int64_t i = 0; i + kLanes<A> < count; i += kLanes<A>) {
      Store(to + i, Load(from + i));
    }
    Store(to + count - kLanes<A>, Load(from + count - kLanes<A>));
  }

  // Rows [row, row + rows) of the filter, of outer taps from `tap` on, and its
  // columns [first, last).
  void MultiplyRowBlock(int64_t tap, int64_t row, int64_t rows, int64_t first,
                        int64_t last) {
    SetRows(row - tap * line_depth_, rows);
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

  // Where the copies begin that the rows of the filter multiply.
  void SetRows(int64_t row, int64_t rows) {
    const int64_t channels = geometry_.out_channels;
    int64_t tap = row / line_depth_;
    int64_t k = row % line_depth_ / channels;
    int64_t channel = row % channels;
    for (int64_t r = 0; r < rows;) {
      int64_t at =
          tap * blocks_.line_step + k * axis_.dilation * channels + channel;
      for (; channel < channels && r < rows; ++channel) at_[r++] = at++;
      channel = 0;
      if (++k == axis_.filter) k = 0, ++tap;
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
      MultiplyCopies<A, rows(), vectors()>(lines_ + slot * step_, step_, at_,
                                           depth, filter_, filter_step_, ahead,
                                           columns_, to);
    });
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const ConvTransposeGeometry& geometry_;
  const CopiedRowsBlocks& blocks_;
  const AxisGeometry& axis_;  // the innermost
  const ElementStrides output_;
  char* scratch_;
  std::atomic<bool>* found_nan_;
  const int64_t columns_, width_;
  const int64_t depth_;       // taps x out_channels
  const int64_t line_depth_;  // those of the innermost axis
  const int64_t positions_;
  const int64_t step_;  // elements of the copy from a position to the next
  const bool stream_;   // complete sums go past the caches

  // The unit at hand.
  int64_t piece_count_ = 0, slots_ = 0;
  bool touched_border_ = false;
  bool accumulate_ = false;
  A* panel_ = nullptr;
  int64_t* at_ = nullptr;
  LinePiece* pieces_ = nullptr;
  A** rows_ = nullptr;  // of the result, by slot
  A* unused_ = nullptr;
  A* lines_ = nullptr;
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
