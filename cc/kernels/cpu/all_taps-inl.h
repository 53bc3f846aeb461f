// The filter gradient along copied lines. Step 6 of the path of a call.
//
// The matrix product of positions-inl.h, of which a row is one element of what
// a position's taps read of output_grad. Along copied lines (line_copies-inl.h)
// that element moves a constant step from position to position, so that
// register tiles read any rows of the copy in place: those of all taps at once,
// with zeros beyond the border, or those of each tap for the positions that it
// maps into the output. A unit owns some combinations of outer taps and some
// chunks of positions.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_ALL_TAPS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_ALL_TAPS_INL_H_

template <typename T>
class AllTaps {
 public:
  using A = Compute<T>;

  AllTaps(const FilterGradCall<T>& call, A* partial, char* scratch,
          std::atomic<bool>* found_nan)
      : call_(call),
        plan_(call.plan),
        geometry_(call.plan.geometry),
        blocks_(call.plan.positions),
        copied_(call.plan.copied_lines),
        axis_(geometry_.axis[geometry_.rank - 1]),
        lines_(call.output_grad, call.plan),
        input_(InputStrides(geometry_)),
        columns_(geometry_.in_channels),
        width_(blocks_.vectors * kLanes<A>),
        panel_step_(copied_.chunk * width_ + kLanes<A>),
        positions_(NumElements(geometry_.InputDims()) / columns_),
        filter_elements_(NumElements(geometry_.FilterDims())),
        stream_(Streams(call)),
        partial_(partial),
        scratch_(scratch),
        found_nan_(found_nan) {}

  void RunUnit(int64_t unit, int worker) {
    SetScratch(scratch_ + worker * plan_.scratch_bytes);
    const auto take = [&unit](int64_t count) {
      const int64_t index = unit % count;
      unit /= count;
      return index;
    };
    first_row_ =
        take(CeilDiv(blocks_.row_block, blocks_.row_share)) * blocks_.row_share;
    first_column_ =
        take(CeilDiv(columns_, blocks_.column_block)) * blocks_.column_block;
    last_column_ = std::min(columns_, first_column_ + blocks_.column_block);
    first_tap_ =
        take(CeilDiv(blocks_.tiles, blocks_.tile_group)) * blocks_.tile_group;
    last_tap_ = std::min(first_tap_ + blocks_.tile_group, blocks_.tiles);
    const int64_t split = unit;
    sums_ = partial_ + split * filter_elements_;
    const int64_t chunks = CeilDiv(positions_, copied_.chunk);
    const int64_t first = chunks * split / blocks_.splits;
    const int64_t last = chunks * (split + 1) / blocks_.splits;
    for (int64_t chunk = first; chunk < last; ++chunk) {
      accumulate_ = chunk > first;
      RunChunk(chunk * copied_.chunk, chunk + 1 < last);
    }
    if (blocks_.input_rows) TransposeSums();
    if (stream_) FinishStreams();
    if (plan_.exact != nullptr) FindNaN();
  }

 private:
  // Sums that are complete after one visit go past the caches where they would
  // leave them anyway.
  static bool Streams(const FilterGradCall<T>& call) {
    const ConvTransposeGeometry& geometry = call.plan.geometry;
    const int64_t element = sizeof(T);
    const auto address = reinterpret_cast<uintptr_t>(call.result);
    return kNative<T> && call.plan.positions.splits == 1 &&
           NumElements(geometry.InputDims()) / geometry.in_channels <=
               call.plan.copied_lines.chunk &&
           NumElements(geometry.FilterDims()) * element >= kStreamBytes &&
           (address | (geometry.in_channels * element)) % CT_VECTOR_BYTES == 0;
  }

  // Takes plan.scratch_bytes from p on.
  void SetScratch(char* p) {
    const auto take = [&p](int64_t bytes) {
      char* from = p;
      p += RoundUp64(bytes);
      return from;
    };
    p = lines_.SetScratch(p);
    const int64_t alike = blocks_.row_block / blocks_.alike_rows;
    alike_ = reinterpret_cast<LineSpans*>(
        take(alike * (sizeof(LineSpans) + copied_.pieces * sizeof(LineSpan))));
    spans_ = reinterpret_cast<LineSpan*>(alike_ + alike);
    at_ = reinterpret_cast<int64_t*>(
        take((blocks_.row_block + blocks_.rows) * 8));
    right_ = reinterpret_cast<A*>(p);
    if (!blocks_.input_rows) return;
    if (blocks_.copy_right) {
      take(blocks_.column_block / width_ * panel_step_ *
           static_cast<int64_t>(sizeof(A)));
    }
    channels_ = reinterpret_cast<int64_t*>(take((columns_ + blocks_.rows) * 8));
    channel_sums_ = reinterpret_cast<A*>(p);
    for (int64_t c = 0; c < columns_ + blocks_.rows; ++c) {
      const int64_t channel = std::min(c, columns_ - 1);
      channels_[c] = blocks_.copy_right
                         ? channel / width_ * panel_step_ + channel % width_
                         : channel;
    }
  }

  void RunChunk(int64_t begin, bool more) {
    const int64_t end = std::min(begin + copied_.chunk, positions_);
    lines_.Take(begin, end);
    TakeColumns(begin);
    for (int64_t tap = first_tap_; tap < last_tap_; tap += copied_.line_taps) {
      const int64_t tap_end = std::min(last_tap_, tap + copied_.line_taps);
      lines_.Copy(tap, tap_end, 0);
      if (tap_end < last_tap_) {
        SetAhead(tap_end, begin, end, false);
      } else {
        SetAhead(first_tap_, end,
                 more ? std::min(end + copied_.chunk, positions_) : end, true);
      }
      MultiplyTaps(tap, tap_end);
    }
  }

  // The positions that rows multiply, of `taps` combinations of outer taps from
  // `first_tap` on.
  void FindSpans(int64_t first_tap, int64_t taps) {
    LineSpan* spans = spans_;
    LineSpans* alike = alike_;
    const int64_t rows = taps * lines_.line_depth();
    for (int64_t row = 0; row < rows; row += blocks_.alike_rows, ++alike) {
      *alike = {spans, 0, 0};
      spans = AddSpans(first_tap, row, spans);
      alike->count = spans - alike->spans;
      for (int64_t n = 0; n < alike->count; ++n) {
        alike->positions += alike->spans[n].count;
      }
    }
  }

  // Those of the rows from `row` on that are alike. Returns the end. What lies
  // a constant step apart is one span.
  LineSpan* AddSpans(int64_t first_tap, int64_t row, LineSpan* spans) const {
    const LineSpan* const begin = spans;
    const int64_t line_rows = lines_.line_depth();
    const int64_t tap = row / line_rows;
    const int64_t step = blocks_.copy_right ? width_ : columns_;
    int64_t low = 0, high = axis_.input;
    if (blocks_.alike_rows == geometry_.out_channels) {
      const int64_t part = (first_tap + tap) % copied_.parts;
      FindInside((part * line_rows + row % line_rows) / geometry_.out_channels,
                 &low, &high);
    }
    int64_t position = 0;
    for (int64_t n = 0; n < lines_.piece_count(); ++n) {
      const LinePiece& piece = lines_.piece(n);
      const int64_t first = std::max<int64_t>(0, low - piece.inner);
      const int64_t count = std::min(piece.count, high - piece.inner) - first;
      const bool inside =
          blocks_.alike_rows > line_rows || lines_.Inside(tap, n);
      if (inside && count > 0) {
        const LineSpan span{(piece.slot + first) * copied_.step,
                            (position + first) * step, count};
        if (spans > begin && Follows(spans[-1], span, step)) {
          spans[-1].count += count;
        } else {
          *spans++ = span;
        }
      }
      position += piece.count;
    }
    return spans;
  }

  // Whether the columns of positions are `columns_step` apart across both.
  bool Follows(const LineSpan& span, const LineSpan& next,
               int64_t columns_step) const {
    return next.first == span.first + span.count * copied_.step &&
           next.columns == span.columns + span.count * columns_step;
  }

  // Positions [low, high) of a line that tap k of it maps into the output.
  void FindInside(int64_t k, int64_t* low, int64_t* high) const {
    const int64_t before = axis_.pad_before - k * axis_.dilation;
    *low = before <= 0 ? 0 : CeilDiv(before, axis_.stride);
    const int64_t room = axis_.output + before;
    *high = room <= 0 ? 0 : std::min(axis_.input, CeilDiv(room, axis_.stride));
  }

  // The unit's columns of the chunk's positions, from `begin` on, in panels.
  void TakeColumns(int64_t begin) {
    if (!blocks_.copy_right) {
      in_place_ = reinterpret_cast<const A*>(call_.input) + begin * columns_;
      return;
    }
    const int64_t columns = last_column_ - first_column_;
    A* to = right_;
    for (int64_t n = 0; n < lines_.piece_count(); ++n) {
      int64_t x = InputOffset(begin) + first_column_ * input_.channel;
      for (int64_t i = 0; i < lines_.piece(n).count; ++i, to += width_) {
        CopyToPanels<T>(call_.input + x, input_.channel, columns, width_,
                        panel_step_, to);
        x += input_.axis[geometry_.rank - 1];
      }
      begin += lines_.piece(n).count;
    }
  }

  int64_t InputOffset(int64_t position) const {
    int64_t offset = 0;
    for (int a = geometry_.rank - 1; a >= 0; --a) {
      offset += position % geometry_.axis[a].input * input_.axis[a];
      position /= geometry_.axis[a].input;
    }
    return offset + position * input_.batch;
  }

  // Tiles fetch what is read next: the input of the positions [begin, end), and
  // what is copied for them from combination `tap` of outer taps on.
  void SetAhead(int64_t tap, int64_t begin, int64_t end, bool input) {
    lines_.StartAhead(tap, std::min(last_tap_, tap + copied_.line_taps), begin,
                      end);
    ahead_ = ahead_end_ = nullptr;
    input_ahead_ = nullptr;
    if (!input || input_.channel != 1) return;
    input_ahead_ = call_.input + begin * columns_;
    input_ahead_end_ = call_.input + end * columns_;
  }

  // Where a tile begins to fetch `count` cache lines, or null.
  const char* TakeAhead(int64_t count) {
    while (ahead_ >= ahead_end_) {
      const T* from = std::exchange(input_ahead_, nullptr);
      const T* to = input_ahead_end_;
      if (from == nullptr && !lines_.NextAhead(&from, &to)) return nullptr;
      // What lies between was fetched with the range before.
      const char* const first = reinterpret_cast<const char*>(from);
      const bool follows = first >= ahead_begin_ && first < ahead_;
      if (!follows) ahead_begin_ = ahead_ = first;
      ahead_end_ = reinterpret_cast<const char*>(to);
    }
    const char* const ahead = ahead_;
    ahead_ += count * 64;
    return ahead;
  }

  // The unit's rows of outer taps [tap, tap_end).
  void MultiplyTaps(int64_t tap, int64_t tap_end) {
    const int64_t line_rows = lines_.line_depth();
    const int64_t rows = (tap_end - tap) * line_rows;
    const int64_t end = std::min(rows, first_row_ + blocks_.row_share);
    FindSpans(tap, tap_end - tap);
    if (blocks_.input_rows) return MultiplyChannels(tap, tap_end);
    lines_.FindRows(0, rows, at_);
    // Rows of a tile beyond the last repeat it.
    std::fill_n(at_ + rows, blocks_.rows, at_[rows - 1]);
    A* sums = sums_ + tap * line_rows * columns_;
    for (int64_t c = first_column_; c < last_column_; c += width_) {
      for (int64_t r = first_row_; r < end; r += blocks_.alike_rows) {
        MultiplyAlike(alike_[r / blocks_.alike_rows], r,
                      std::min(blocks_.alike_rows, end - r), c,
                      std::min(width_, last_column_ - c), sums);
      }
    }
  }

  // The same with in_channels as rows and the rows of a line as columns.
  void MultiplyChannels(int64_t tap, int64_t tap_end) {
    const int64_t step = blocks_.result_step;
    for (int64_t t = tap; t < tap_end; ++t) {
      const LineSpans& spans = alike_[t - tap];
      LineSpan* const span = spans_ + (spans.spans - spans_);
      for (int64_t n = 0; n < spans.count; ++n) {
        std::swap(span[n].first, span[n].columns);
      }
      const A* line = lines_.lines() + (t - tap) * copied_.line_step;
      A* sums = ChannelSums(t);
      for (int64_t row = 0; row < step;) {
        const int64_t left = (step - row) / kLanes<A>;
        const int vectors = left >= 4 && CT_REGISTERS >= 32 ? 4
                            : left >= 2                     ? 2
                                                            : 1;
        const int rows = vectors == 4 ? 6 : blocks_.rows;
        for (int64_t c = 0; c < columns_;) {
          const int tile_rows = NextTile(columns_ - c, rows);
          MultiplyChannelTile(spans, tile_rows, vectors, c, line + row,
                              sums + c * step + row);
          c += tile_rows;
        }
        row += vectors * kLanes<A>;
      }
    }
  }

  void MultiplyChannelTile(const LineSpans& spans, int tile_rows, int vectors,
                           int64_t channel, const A* line, A* sums) {
    const char* const next = TakeAhead(spans.positions);
    const A* const ahead =
        next == nullptr ? line : reinterpret_cast<const A*>(next);
    const A* right = blocks_.copy_right ? right_ : in_place_;
    const int64_t right_step = blocks_.copy_right ? width_ : columns_;
    WithTile(tile_rows, vectors, [&](auto rows, auto width) {
      MultiplyLines<A, rows(), width()>(
          right, channels_ + channel, right_step, line, copied_.step, spans,
          ahead, accumulate_, false, sums, blocks_.result_step);
    });
  }

  // The sums of an outer tap by [in_channel][row of a line], with room for what
  // the last tile has too much.
  A* ChannelSums(int64_t tap) const {
    return channel_sums_ +
           (tap - first_tap_) * (columns_ + blocks_.rows) * blocks_.result_step;
  }

  void TransposeSums() const {
    const int64_t rows = lines_.line_depth();
    for (int64_t tap = first_tap_; tap < last_tap_; ++tap) {
      Transpose(ChannelSums(tap), blocks_.result_step, columns_, rows,
                sums_ + tap * rows * columns_, columns_);
    }
  }

  // Rows [row, row + rows), which multiply the same positions.
  void MultiplyAlike(const LineSpans& spans, int64_t row, int64_t rows,
                     int64_t column, int64_t columns, A* sums) {
    A* to = sums + row * columns_ + column;
    if (spans.count == 0) {
      for (int64_t r = 0; r < rows && !accumulate_; ++r) {
        std::fill_n(to + r * columns_, columns, A(0));
      }
      return;
    }
    for (int64_t r = 0; r < rows;) {
      const int tile_rows = NextTile(rows - r, blocks_.rows);
      const int64_t filled = std::min<int64_t>(tile_rows, rows - r);
      MultiplyTile(spans, tile_rows, filled, at_ + row + r, column, columns,
                   to + r * columns_);
      r += filled;
    }
  }

  void MultiplyTile(const LineSpans& spans, int tile_rows, int64_t rows,
                    const int64_t* at, int64_t column, int64_t columns,
                    A* sums) {
    const int vectors = columns <= kLanes<A> ? 1 : blocks_.vectors;
    if (columns == vectors * kLanes<A> && rows == tile_rows) {
      return Multiply(spans, tile_rows, vectors, at, column, accumulate_,
                      stream_, sums, columns_);
    }
    // A tile that is not filled goes through a copy: its neighbours belong to
    // other tiles.
    A tile[kTileRows * 2 * kLanes<A>];
    Multiply(spans, tile_rows, vectors, at, column, false, false, tile, width_);
    for (int64_t r = 0; r < rows; ++r) {
      A* to = sums + r * columns_;
      const A* from = tile + r * width_;
      if (accumulate_) {
        for (int64_t c = 0; c < columns; ++c) to[c] += from[c];
      } else {
        std::copy_n(from, columns, to);
      }
    }
  }

  void Multiply(const LineSpans& spans, int tile_rows, int tile_vectors,
                const int64_t* at, int64_t column, bool accumulate, bool stream,
                A* tile, int64_t tile_stride) {
    const A* right = blocks_.copy_right ? right_ + (column - first_column_) /
                                                       width_ * panel_step_
                                        : in_place_ + column;
    const int64_t right_step = blocks_.copy_right ? width_ : columns_;
    const char* const next = TakeAhead(spans.positions);
    const A* const ahead =
        next == nullptr ? right : reinterpret_cast<const A*>(next);
    WithTile(tile_rows, tile_vectors, [&](auto rows, auto vectors) {
      MultiplyLines<A, rows(), vectors()>(
          lines_.lines(), at, copied_.step, right, right_step, spans, ahead,
          accumulate, stream, tile, tile_stride);
    });
  }

  // Zeros beyond the border may have met an infinity or NaN.
  void FindNaN() const {
    const int64_t line_rows = lines_.line_depth();
    for (int64_t tap = first_tap_; tap < last_tap_; tap += copied_.line_taps) {
      const int64_t tap_end = std::min(last_tap_, tap + copied_.line_taps);
      const int64_t end =
          std::min((tap_end - tap) * line_rows, first_row_ + blocks_.row_share);
      for (int64_t r = first_row_; r < end; ++r) {
        const A* sums = sums_ + (tap * line_rows + r) * columns_;
        if (AnyNaN(sums + first_column_, last_column_ - first_column_)) {
          found_nan_->store(true);
          return;
        }
      }
    }
  }

  const FilterGradCall<T>& call_;
  const Plan& plan_;
  const ConvTransposeGeometry& geometry_;
  const PositionsBlocks& blocks_;
  const CopiedLines& copied_;
  const AxisGeometry& axis_;  // the innermost
  LineCopies<T> lines_;
  const ElementStrides input_;
  const int64_t columns_;
  const int64_t width_, panel_step_;  // of a panel
  const int64_t positions_, filter_elements_;
  const bool stream_;
  A* partial_;
  char* scratch_;
  std::atomic<bool>* found_nan_;

  // The unit at hand.
  int64_t first_tap_ = 0, last_tap_ = 0;  // combinations of outer taps
  int64_t first_row_ = 0;
  int64_t first_column_ = 0, last_column_ = 0;
  bool accumulate_ = false;
  A* sums_ = nullptr;
  LineSpans* alike_ = nullptr;
  LineSpan* spans_ = nullptr;
  int64_t* at_ = nullptr;  // of the rows at hand
  A* right_ = nullptr;
  int64_t* channels_ = nullptr;  // where they begin in a position
  A* channel_sums_ = nullptr;
  const A* in_place_ = nullptr;
  // What the next tiles fetch, since where, and what comes after it.
  const char* ahead_ = nullptr;
  const char* ahead_end_ = nullptr;
  const char* ahead_begin_ = nullptr;
  const T* input_ahead_ = nullptr;
  const T* input_ahead_end_ = nullptr;
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_ALL_TAPS_INL_H_
