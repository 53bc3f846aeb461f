// The operands of the filter gradient for a chunk of positions: which of them a
// tap maps into the output, and copies of both operands side by side. Slots of
// a copy hold words: a position, or two neighbours of a line where the target
// multiplies pairs (pairs-inl.h).
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_POSITION_ROWS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_POSITION_ROWS_INL_H_

template <typename T>
struct FilterGradCall {
  const Plan& plan;
  const T* input;
  const T* output_grad;
  T* result;
};

// Columns of one position, `step` elements apart, into panels of `width`, whole
// vectors; the last is filled up with zeros.
template <typename T>
inline void CopyToPanels(const T* from, int64_t step, int64_t columns,
                         int64_t width, int64_t panel_step, Compute<T>* to) {
  using A = Compute<T>;
  for (; columns > 0;
       columns -= width, from += width * step, to += panel_step) {
    if constexpr (kNative<T>) {
      if (step == 1 && columns >= width) {
        for (int64_t c = 0; c < width; c += kLanes<A>) {
          Store(to + c, Load(reinterpret_cast<const A*>(from) + c));
        }
        continue;
      }
    }
    const int64_t filled = std::min(columns, width);
    WidenRow<T>(from, step, filled, to);
    std::fill(to + filled, to + width, A(0));
  }
}

template <typename T>
class PositionRows {
 public:
  using A = Compute<T>;
  using W = Word<T>;

  explicit PositionRows(const FilterGradCall<T>& call)
      : call_(call),
        geometry_(call.plan.geometry),
        blocks_(call.plan.positions),
        inner_(call.plan.geometry.rank - 1),
        input_(InputStrides(call.plan.geometry)),
        output_(OutputStrides(call.plan.geometry)),
        width_(blocks_.vectors * kLanes<A>),
        panel_step_(blocks_.slots * width_ + kLanes<A>),
        step_(geometry_.axis[inner_].stride * output_.axis[inner_]),
        output_end_(NumElements(geometry_.OutputDims())) {}

  // Takes plan.scratch_bytes from p on.
  void SetScratch(char* p) {
    const auto take = [&p](int64_t bytes) {
      char* from = p;
      p += RoundUp64(bytes);
      return from;
    };
    pieces_ = reinterpret_cast<PositionPiece*>(
        take(blocks_.chunk * sizeof(PositionPiece)));
    const int64_t slots = std::max(blocks_.slots, blocks_.chunk);
    x_at_ = reinterpret_cast<int64_t*>(take(slots * 32));
    ahead_at_ = x_at_ + 3 * slots;
    at_ = x_at_ + slots;
    dy_at_ = at_ + slots;
    left_ = reinterpret_cast<W*>(
        take(blocks_.row_block / kTileRows * blocks_.left_step * sizeof(W)));
    right_ = reinterpret_cast<W*>(p);
  }

  // Rows from `row` on, which begins a register tile: kTileRows of each
  // position, side by side.
  const W* left(int64_t row) const {
    return left_ + row / kTileRows * blocks_.left_step;
  }
  // Where the columns of each position of the chunk, as far as the block of
  // rows takes it, begin: after Columns(c).
  const int64_t* at() const { return at_; }
  const int64_t* output_at() const { return dy_at_; }
  const W* Columns(int64_t column) const {
    if (!blocks_.copy_right) return in_place_ + column;
    return right_ + (column - first_column_) / width_ * panel_step_;
  }

  // Every tap maps some position of the chunk into the output, as far as each
  // axis by itself goes.
  bool reaches_all() const { return reaches_all_; }

  // The chunk of positions [begin, end).
  void Take(int64_t begin, int64_t end) {
    const int64_t length = geometry_.axis[inner_].input;
    piece_count_ = 0;
    for (int64_t slot = 0; begin < end;) {
      PositionPiece& piece = pieces_[piece_count_++];
      int64_t line = begin / length;
      piece.slot = slot;
      piece.inner = begin - line * length;
      piece.count = std::min(end - begin, length - piece.inner);
      piece.x = piece.inner * input_.axis[inner_];
      piece.dy = piece.inner * step_;
      for (int a = inner_ - 1; a >= 0; --a) {
        const AxisGeometry& axis = geometry_.axis[a];
        const int64_t i = line % axis.input;
        line /= axis.input;
        piece.outer[a] = i;
        piece.x += i * input_.axis[a];
        piece.dy += i * axis.stride * output_.axis[a];
      }
      piece.x += line * input_.batch;
      piece.dy += line * output_.batch;
      slot += Words(piece.count);
      begin += piece.count;
    }
    ReachTaps();
  }

  // The first tap from `tap` on that may map a position of the chunk into the
  // output; the number of taps where none does. A chunk's time must not grow
  // with a filter that is mostly beyond the output.
  int64_t NextTap(int64_t tap) const {
    if (reaches_all_) return tap;
    std::array<int64_t, kMaxRank> k{};
    int64_t taps = 1;
    for (int a = inner_; a >= 0; --a) {
      const int64_t length = geometry_.axis[a].filter;
      k[a] = tap / taps % length;
      taps *= length;
    }
    int a = 0;
    while (a <= inner_ && k[a] >= reach_[a].begin && k[a] < reach_[a].end) ++a;
    if (a > inner_) return tap;
    if (k[a] >= reach_[a].end) {
      // The next of the axes outside, and the first of all others.
      while (a > 0 && k[a - 1] + 1 >= reach_[a - 1].end) --a;
      if (a == 0) return taps;
      ++k[a - 1];
    }
    int64_t next = 0;
    for (int b = 0; b <= inner_; ++b) {
      if (reach_[b].size() <= 0) return taps;
      next = next * geometry_.axis[b].filter + (b < a ? k[b] : reach_[b].begin);
    }
    return next;
  }

  // Columns [column, column + columns) of a group, from the chunk's input.
  void TakeColumns(int64_t group, int64_t column, int64_t columns) {
    first_column_ = column;
    const int64_t channel = group * geometry_.group_in_channels();
    if (!blocks_.copy_right) {
      in_place_ = reinterpret_cast<const W*>(call_.input) + channel;
    }
    for (int64_t n = 0; n < piece_count_; ++n) {
      const PositionPiece& piece = pieces_[n];
      int64_t x = piece.x + (channel + column) * input_.channel;
      if constexpr (kInPairs<T>) {
        CopyPairsOfColumns(piece, x, columns);
      } else {
        int64_t slot = piece.slot;
        for (int64_t i = 0; i < piece.count; ++i, ++slot) {
          if (blocks_.copy_right) {
            x_at_[slot] = slot * width_;
            CopyToPanels<T>(call_.input + x, input_.channel, columns, width_,
                            panel_step_, right_ + slot * width_);
          } else {
            x_at_[slot] = piece.x + i * input_.axis[inner_];
          }
          x += input_.axis[inner_];
        }
      }
    }
  }

  // The block of rows [first, first + rows) of one tap of a group, for exactly
  // the positions that the tap maps into the output. Returns how many.
  int64_t TakeTap(int64_t tap, int64_t group, int64_t first, int64_t rows,
                  bool copy) {
    TapRun run;
    SetTap(tap, &run);
    run.dy +=
        (group * geometry_.group_out_channels() + first) * output_.channel;
    int64_t filled = 0;
    for (int64_t n = 0; n < piece_count_; ++n) {
      const PositionPiece& piece = pieces_[n];
      if (!OuterFits(piece, run)) continue;
      const int64_t begin = std::max(piece.inner, run.low[inner_]);
      const int64_t end = std::min(piece.inner + piece.count, run.high[inner_]);
      if (begin >= end) continue;
      const int64_t first_word = (begin - piece.inner) / kWord<T>;
      const int64_t last_word = Words(end - piece.inner);
      const int64_t* x_at = x_at_ + piece.slot;
      std::copy(x_at + first_word, x_at + last_word, at_ + filled);
      if constexpr (kInPairs<T>) {
        CopyPairsOfRows(piece, run, rows, begin, end, filled);
      } else if (copy) {
        CopyInside(piece, run, rows, begin, end, filled);
      } else {
        int64_t dy = piece.dy + run.dy + (begin - piece.inner) * step_;
        for (int64_t i = begin; i < end; ++i, dy += step_) {
          dy_at_[filled + i - begin] = dy;
        }
      }
      filled += last_word - first_word;
    }
    return filled;
  }

  static constexpr int64_t kLineElements = 64 / sizeof(W);
  // Cache lines that are needed next: at line * step + at[p].
  struct Ahead {
    const W* base;
    const int64_t* at;
    int64_t lines;
    int64_t step = kLineElements;
  };

  // Those of the block of rows [first, first + rows), which begins in `tap`.
  Ahead AheadOfRows(int64_t tap, int64_t group, int64_t first, int64_t rows) {
    if (!kReadsAhead || output_.channel != 1) return {right_, at_, 0};
    TapRun run;
    SetTap(tap, &run);
    run.dy += group * geometry_.group_out_channels() + first;
    for (int64_t n = 0; n < piece_count_; ++n) {
      const PositionPiece& piece = pieces_[n];
      int64_t dy = piece.dy + run.dy;
      for (int64_t i = 0; i < piece.count; i += kWord<T>) {
        ahead_at_[piece.slot + i / kWord<T>] =
            std::clamp<int64_t>(dy + i * step_, 0, output_end_ - 1) / kWord<T>;
      }
    }
    // From the first position of a word to the end of the last.
    const int64_t elements = rows + (kWord<T> - 1) * step_;
    return {reinterpret_cast<const W*>(call_.output_grad), ahead_at_,
            LinesOf(elements)};
  }

  // Those of the input from position `begin` on.
  Ahead AheadOfInput(int64_t begin, int64_t end) {
    if (!kReadsAhead || input_.channel != 1 || begin >= end) {
      return {right_, at_, 0};
    }
    // In the order of memory, whatever its positions: that is how fast it is.
    for (int64_t p = 0; p < blocks_.slots; ++p)
      ahead_at_[p] = p * kLineElements;
    const int64_t step = blocks_.slots * kLineElements;
    const int64_t elements =
        std::min(end - begin, blocks_.chunk) * geometry_.in_channels / kWord<T>;
    return {reinterpret_cast<const W*>(call_.input) +
                begin * geometry_.in_channels / kWord<T>,
            ahead_at_, (elements + step - 1) / step, step};
  }

 private:
  // Operands lie in words; else fetching them does not pay.
  static constexpr bool kReadsAhead = kNative<T> || kInPairs<T>;

  static int64_t LinesOf(int64_t elements) {
    constexpr int64_t kElements = kLineElements * kWord<T>;
    return (elements + kElements - 1) / kElements;
  }

  static int64_t Words(int64_t positions) {
    return (positions + kWord<T> - 1) / kWord<T>;
  }

  // Along each axis, the taps that map some position of the chunk into the
  // output, as far as that axis goes.
  void ReachTaps() {
    reaches_all_ = true;
    for (int a = 0; a <= inner_; ++a) {
      const AxisGeometry& axis = geometry_.axis[a];
      int64_t first = axis.input, last = 0;
      for (int64_t n = 0; n < piece_count_; ++n) {
        const PositionPiece& piece = pieces_[n];
        const int64_t i = a == inner_ ? piece.inner : piece.outer[a];
        first = std::min(first, i);
        last = std::max(last, a == inner_ ? i + piece.count - 1 : i);
      }
      const int64_t low = axis.pad_before - last * axis.stride;
      const int64_t high =
          axis.output + axis.pad_before - first * axis.stride - 1;
      reach_[a].begin =
          low <= 0 ? 0 : (low + axis.dilation - 1) / axis.dilation;
      reach_[a].end =
          high < 0 ? 0 : std::min(axis.filter, high / axis.dilation + 1);
      reaches_all_ &= reach_[a].size() == axis.filter;
    }
  }

  // Copies write whole vectors, as many as a register tile's rows take. What
  // goes beyond them is overwritten by the rows or the position that follow.
  static constexpr int kRowVectors = (kTileRows + kLanes<A> - 1) / kLanes<A>;

  // Input positions [low, high) of an axis that tap k maps into the output.
  void SetAxis(int a, int64_t k, TapRun* run) const {
    const AxisGeometry& axis = geometry_.axis[a];
    const int64_t before = axis.pad_before - k * axis.dilation;
    const int64_t room = axis.output + before;
    run->low[a] = before <= 0 ? 0 : (before + axis.stride - 1) / axis.stride;
    run->high[a] = room <= 0 ? 0
                             : std::min(axis.input,
                                        (room + axis.stride - 1) / axis.stride);
  }

  void SetTap(int64_t tap, TapRun* run) const {
    run->dy = 0;
    for (int a = inner_; a >= 0; --a) {
      const AxisGeometry& axis = geometry_.axis[a];
      const int64_t k = tap % axis.filter;
      tap /= axis.filter;
      SetAxis(a, k, run);
      run->dy += (k * axis.dilation - axis.pad_before) * output_.axis[a];
    }
  }

  bool OuterFits(const PositionPiece& piece, const TapRun& run) const {
    for (int a = 0; a < inner_; ++a) {
      if (piece.outer[a] < run.low[a] || piece.outer[a] >= run.high[a]) {
        return false;
      }
    }
    return true;
  }

  // The columns of a piece, from x on in the input.
  void CopyPairsOfColumns([[maybe_unused]] const PositionPiece& piece,
                          [[maybe_unused]] int64_t x,
                          [[maybe_unused]] int64_t columns) {
#ifdef CT_BFLOAT16_PAIRS
    const int64_t step = input_.axis[inner_];
    for (int64_t i = 0; i < piece.count; i += 2, x += 2 * step) {
      const int64_t slot = piece.slot + i / 2;
      x_at_[slot] = slot * width_;
      const T* first = call_.input + x;
      W* to = right_ + slot * width_;
      for (int64_t c = 0; c < columns; c += width_, to += panel_step_) {
        const T* at = first + c * input_.channel;
        PairRows(at, i + 1 < piece.count ? at + step : nullptr, input_.channel,
                 columns - c, width_, to);
      }
    }
#endif
  }

  // The rows of the block at positions [begin, end) of a piece, to `slot` on.
  // Zeros stand for the neighbour that a pair at the end lacks.
  void CopyPairsOfRows([[maybe_unused]] const PositionPiece& piece,
                       [[maybe_unused]] const TapRun& run,
                       [[maybe_unused]] int64_t rows,
                       [[maybe_unused]] int64_t begin,
                       [[maybe_unused]] int64_t end,
                       [[maybe_unused]] int64_t slot) {
#ifdef CT_BFLOAT16_PAIRS
    // Position by position: what lies side by side is read once.
    const T* dy = call_.output_grad + piece.dy + run.dy;
    const int64_t step = kTileRows * output_.channel;
    int64_t i = (begin - piece.inner) / 2 * 2;
    for (; i < end - piece.inner; i += 2, ++slot) {
      const T* first = i + piece.inner < begin ? nullptr : dy + i * step_;
      const T* second =
          i + 1 + piece.inner < end ? dy + (i + 1) * step_ : nullptr;
      W* to = left_ + slot * kTileRows;
      for (int64_t r = 0; r < rows; r += kTileRows, to += blocks_.left_step) {
        PairRows(first, second, output_.channel,
                 std::min<int64_t>(kTileRows, rows - r), kTileRows, to);
        if (first != nullptr) first += step;
        if (second != nullptr) second += step;
      }
    }
#endif
  }

  // Positions [begin, end) of a piece, to `slot` on.
  void CopyInside(const PositionPiece& piece, const TapRun& run, int64_t rows,
                  int64_t begin, int64_t end, int64_t slot) {
    for (int64_t row = 0; row < rows; row += kTileRows) {
      const int64_t length = std::min<int64_t>(kTileRows, rows - row);
      int64_t from = piece.dy + run.dy + row * output_.channel +
                     (begin - piece.inner) * step_;
      W* to = left_ + row / kTileRows * blocks_.left_step + slot * kTileRows;
      int64_t count = end - begin;
      if constexpr (kNative<T>) {
        const int64_t copied = CopyTile(from, count, to);
        from += copied * step_;
        to += copied * kTileRows;
        count -= copied;
      }
      for (; count > 0; --count, from += step_, to += kTileRows) {
        WidenRow<T>(call_.output_grad + from, output_.channel, length, to);
      }
    }
  }

  // A register tile's rows, in whole vectors. Returns how many positions were
  // taken: not those whose vectors would leave the tensor.
  int64_t CopyTile(int64_t from, int64_t count, A* to) const {
    const int64_t room = output_end_ - from - kRowVectors * kLanes<A>;
    if (output_.channel != 1 || room < 0) return 0;
    if (room < (count - 1) * step_) count = room / step_ + 1;
    const A* dy = reinterpret_cast<const A*>(call_.output_grad) + from;
    for (int64_t i = 0; i < count; ++i, dy += step_, to += kTileRows) {
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) {
        Store(to + v * kLanes<A>, Load(dy + v * kLanes<A>));
      }
    }
    return count;
  }

  const FilterGradCall<T>& call_;
  const ConvTransposeGeometry& geometry_;
  const PositionsBlocks& blocks_;
  const int inner_;
  const ElementStrides input_, output_;
  const int64_t width_, panel_step_, step_;
  const int64_t output_end_;

  // The chunk at hand.
  std::array<TapRange, kMaxRank> reach_{};
  bool reaches_all_ = true;
  int64_t piece_count_ = 0, first_column_ = 0;
  const W* in_place_ = nullptr;
  PositionPiece* pieces_ = nullptr;
  int64_t* x_at_ = nullptr;  // columns of all positions
  int64_t* at_ = nullptr;    // of those that the block of rows takes
  int64_t* dy_at_ = nullptr;
  int64_t* ahead_at_ = nullptr;
  W* left_ = nullptr;
  W* right_ = nullptr;
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_POSITION_ROWS_INL_H_
