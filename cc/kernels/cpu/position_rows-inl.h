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
        merges_(blocks_.all_taps && output_.channel == 1 &&
                output_.axis[inner_] == geometry_.group_out_channels() &&
                geometry_.axis[inner_].dilation == 1),
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
    runs_ = reinterpret_cast<TapRun*>(take(blocks_.runs * sizeof(TapRun)));
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

  // Some tap has left the output since Take.
  bool touched_border() const { return touched_border_; }
  // Every tap maps some position of the chunk into the output, as far as each
  // axis by itself goes.
  bool reaches_all() const { return reaches_all_; }

  // The chunk of positions [begin, end).
  void Take(int64_t begin, int64_t end) {
    const int64_t length = geometry_.axis[inner_].input;
    piece_count_ = 0;
    touched_border_ = false;
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
    const PositionPiece& last = pieces_[piece_count_ - 1];
    count_ = last.slot + Words(last.count);
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
            CopyColumns(x, columns, right_ + slot * width_);
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
    run.skipped = 0;
    run_count_ = 0;
    for (int64_t row = 0; row < rows; row += kTileRows) {
      run.row = row;
      run.length = std::min<int64_t>(kTileRows, rows - row);
      run.same_line = row > 0;
      runs_[run_count_++] = run;
      run.dy += kTileRows * output_.channel;
    }
    int64_t filled = 0;
    for (int64_t n = 0; n < piece_count_; ++n) {
      const PositionPiece& piece = pieces_[n];
      if (!OuterFits(piece, runs_[0])) continue;
      const int64_t begin = std::max(piece.inner, run.low[inner_]);
      const int64_t end = std::min(piece.inner + piece.count, run.high[inner_]);
      if (begin >= end) continue;
      const int64_t first_word = (begin - piece.inner) / kWord<T>;
      const int64_t last_word = Words(end - piece.inner);
      const int64_t* x_at = x_at_ + piece.slot;
      std::copy(x_at + first_word, x_at + last_word, at_ + filled);
      if constexpr (kInPairs<T>) {
        CopyPairsOfRows(piece, begin, end, filled);
      } else if (copy) {
        CopyInside(piece, begin, end, filled);
      } else {
        int64_t dy = piece.dy + runs_[0].dy + (begin - piece.inner) * step_;
        for (int64_t i = begin; i < end; ++i, dy += step_) {
          dy_at_[filled + i - begin] = dy;
        }
      }
      filled += last_word - first_word;
    }
    return filled;
  }

  // The block of rows [first, first + rows) over all taps, for all positions of
  // the chunk; zeros where a tap leaves the output. Returns their number.
  int64_t TakeAllTaps(int64_t first, int64_t rows) {
    if constexpr (!kInPairs<T>) {  // the plan widens what takes all taps
      MakeRuns(first, rows);
      std::copy_n(x_at_, count_, at_);
      int64_t low = 0, high = geometry_.axis[inner_].input;
      for (int64_t r = 0; r < run_count_; ++r) {
        low = std::max(low, runs_[r].low[inner_]);
        high = std::min(high, runs_[r].high[inner_]);
      }
      for (int64_t n = 0; n < piece_count_; ++n) {
        const PositionPiece& piece = pieces_[n];
        const int64_t end = piece.inner + piece.count;
        const int64_t from = std::clamp(low, piece.inner, end);
        const int64_t to = std::clamp(high, from, end);
        for (int64_t i = piece.inner; i < from; ++i) CopyAtBorder(piece, i);
        CopyInside(piece, from, to, piece.slot + from - piece.inner);
        for (int64_t i = to; i < end; ++i) CopyAtBorder(piece, i);
      }
    }
    return count_;
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

  // Panels of columns, the last filled up with zeros.
  void CopyColumns(int64_t x, int64_t columns, A* to) const {
    for (; columns > 0; columns -= width_, to += panel_step_) {
      if constexpr (kNative<T>) {
        if (input_.channel == 1 && columns >= width_) {
          const A* from = reinterpret_cast<const A*>(call_.input) + x;
          Store(to, Load(from));
          if (blocks_.vectors == 2) {
            Store(to + kLanes<A>, Load(from + kLanes<A>));
          }
          x += width_;
          continue;
        }
      }
      const int64_t filled = std::min(columns, width_);
      WidenRow<T>(call_.input + x, input_.channel, filled, to);
      std::fill(to + filled, to + width_, A(0));
      x += width_ * input_.channel;
    }
  }

  // Input positions [low, high) of an axis that taps first..last map into the
  // output.
  void SetAxis(int a, int64_t first, int64_t last, TapRun* run) const {
    const AxisGeometry& axis = geometry_.axis[a];
    const int64_t before = axis.pad_before - first * axis.dilation;
    const int64_t room = axis.output + axis.pad_before - last * axis.dilation;
    run->low[a] = before <= 0 ? 0 : (before + axis.stride - 1) / axis.stride;
    run->high[a] = room <= 0 ? 0
                             : std::min(axis.input,
                                        (room + axis.stride - 1) / axis.stride);
  }

  // The tap of all axes but the innermost.
  void SetOuterTap(int64_t tap, TapRun* run) const {
    run->outer_dy = 0;
    for (int a = inner_ - 1; a >= 0; --a) {
      const AxisGeometry& axis = geometry_.axis[a];
      const int64_t k = tap % axis.filter;
      tap /= axis.filter;
      SetAxis(a, k, k, run);
      run->outer_dy += (k * axis.dilation - axis.pad_before) * output_.axis[a];
    }
  }

  void SetInnerTaps(int64_t first, int64_t last, TapRun* run) const {
    const AxisGeometry& axis = geometry_.axis[inner_];
    run->first_tap = first;
    run->last_tap = last;
    SetAxis(inner_, first, last, run);
    run->dy = run->outer_dy +
              (first * axis.dilation - axis.pad_before) * output_.axis[inner_];
  }

  void SetTap(int64_t tap, TapRun* run) const {
    const int64_t inner_taps = geometry_.axis[inner_].filter;
    SetOuterTap(tap / inner_taps, run);
    SetInnerTaps(tap % inner_taps, tap % inner_taps, run);
  }

  // Splits the rows into runs, none of which crosses register tiles.
  void MakeRuns(int64_t first, int64_t rows) {
    const int64_t group_out = geometry_.group_out_channels();
    const int64_t inner_taps = geometry_.axis[inner_].filter;
    int64_t outer = -1;
    run_count_ = 0;
    for (int64_t row = 0; row < rows;) {
      TapRun& run = runs_[run_count_++];
      const int64_t tap = (first + row) / group_out;
      const int64_t line = tap / inner_taps;
      const int64_t end_tap = merges_ ? (line + 1) * inner_taps : tap + 1;
      const int64_t end_tile = (row / kTileRows + 1) * kTileRows;
      if (line == outer) {
        run = runs_[run_count_ - 2];
        run.same_line = true;
      } else {
        SetOuterTap(line, &run);
        run.same_line = false;
        outer = line;
      }
      run.row = row;
      run.length =
          std::min({end_tap * group_out - first, end_tile, rows}) - row;
      run.skipped = first + row - tap * group_out;
      SetInnerTaps(
          tap - line * inner_taps,
          (first + row + run.length - 1) / group_out - line * inner_taps, &run);
      run.dy += run.skipped * output_.channel;
      row += run.length;
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

  W* RowsOf(const TapRun& run, int64_t slot) const {
    return left_ + run.row / kTileRows * blocks_.left_step + slot * kTileRows +
           run.row % kTileRows;
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
                       [[maybe_unused]] int64_t begin,
                       [[maybe_unused]] int64_t end,
                       [[maybe_unused]] int64_t slot) {
#ifdef CT_BFLOAT16_PAIRS
    // Position by position: what lies side by side is read once.
    const T* dy = call_.output_grad + piece.dy + runs_[0].dy;
    const int64_t step = kTileRows * output_.channel;
    int64_t i = (begin - piece.inner) / 2 * 2;
    for (; i < end - piece.inner; i += 2, ++slot) {
      const T* first = i + piece.inner < begin ? nullptr : dy + i * step_;
      const T* second =
          i + 1 + piece.inner < end ? dy + (i + 1) * step_ : nullptr;
      W* to = left_ + slot * kTileRows;
      for (int64_t r = 0; r < run_count_; ++r, to += blocks_.left_step) {
        PairRows(first, second, output_.channel, runs_[r].length, kTileRows,
                 to);
        if (first != nullptr) first += step;
        if (second != nullptr) second += step;
      }
    }
#endif
  }

  // Positions [begin, end) of a piece, where all taps of the innermost axis
  // fit, to `slot` on.
  void CopyInside(const PositionPiece& piece, int64_t begin, int64_t end,
                  int64_t slot) {
    for (int64_t r = 0; r < run_count_;) {
      int64_t runs = 1;
      while (r + runs < run_count_ && runs_[r + runs].row % kTileRows != 0) {
        ++runs;
      }
      int64_t i = begin;
      if constexpr (kNative<T>) {
        if (output_.channel == 1) {
          i += CopyTile(piece, runs_ + r, runs, begin, end, slot);
        }
      }
      for (; i < end; ++i) {
        for (int64_t n = r; n < r + runs; ++n) {
          CopyRun(piece, runs_[n], i, slot + i - begin);
        }
      }
      r += runs;
    }
  }

  void CopyRun(const PositionPiece& piece, const TapRun& run, int64_t i,
               int64_t slot) {
    A* to = RowsOf(run, slot);
    if (!OuterFits(piece, run)) {
      touched_border_ = true;
      std::fill_n(to, run.length, A(0));
      return;
    }
    WidenRow<T>(
        call_.output_grad + piece.dy + run.dy + (i - piece.inner) * step_,
        output_.channel, run.length, to);
  }

  // The runs of one register tile, vector by vector. Returns how many positions
  // were taken: not those whose vectors would leave the tensor.
  int64_t CopyTile(const PositionPiece& piece, const TapRun* runs,
                   int64_t count, int64_t begin, int64_t end, int64_t slot) {
    static constexpr A kZeros[kRowVectors * kLanes<A>] = {};
    const A* dy = reinterpret_cast<const A*>(call_.output_grad);
    const A* from[kTileRows];
    int64_t step[kTileRows], row[kTileRows];
    for (int64_t r = 0; r < count; ++r) {
      row[r] = runs[r].row % kTileRows;
      from[r] = kZeros;
      step[r] = 0;
      if (!runs[r].same_line) line_fits_ = OuterFits(piece, runs[r]);
      if (!line_fits_) {
        touched_border_ = true;
        continue;
      }
      const int64_t first =
          piece.dy + runs[r].dy + (begin - piece.inner) * step_;
      from[r] = dy + first;
      step[r] = step_;
      const int64_t room = output_end_ - first - kRowVectors * kLanes<A>;
      end = std::min(end, room < 0 ? begin : begin + room / step_ + 1);
    }
    if (begin >= end) return 0;
    A* to = RowsOf(runs[0], slot);
    switch (count) {
      case 1:
        CopyVectors<1>(from, step, row, end - begin, to);
        break;
      case 2:
        CopyVectors<2>(from, step, row, end - begin, to);
        break;
      case 3:
        CopyVectors<3>(from, step, row, end - begin, to);
        break;
      case 4:
        CopyVectors<4>(from, step, row, end - begin, to);
        break;
      default:
        for (int64_t i = begin; i < end; ++i, to += kTileRows) {
          for (int64_t r = 0; r < count; ++r) {
            CopyVectors<1>(from + r, step + r, row + r, 1, to);
            from[r] += step[r];
          }
        }
    }
    return end - begin;
  }

  template <int kRuns>
  static void CopyVectors(const A* const* from, const int64_t* step,
                          const int64_t* row, int64_t positions, A* to) {
    const A* at[kRuns];
    for (int r = 0; r < kRuns; ++r) at[r] = from[r];
    for (int64_t p = 0; p < positions; ++p, to += kTileRows) {
#pragma GCC unroll 4
      for (int r = 0; r < kRuns; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < kRowVectors; ++v) {
          Store(to + row[r] + v * kLanes<A>, Load(at[r] + v * kLanes<A>));
        }
        at[r] += step[r];
      }
    }
  }

  // One position for which some taps of the innermost axis leave the output: of
  // a run, those that do not are neighbours, too.
  void CopyAtBorder(const PositionPiece& piece, int64_t i) {
    const int64_t group_out = geometry_.group_out_channels();
    const AxisGeometry& axis = geometry_.axis[inner_];
    const TapRange inside = InsideTapsOf(axis, i);
    touched_border_ = true;
    for (int64_t r = 0; r < run_count_; ++r) {
      const TapRun& run = runs_[r];
      A* to = RowsOf(run, piece.slot + i - piece.inner);
      if (!run.same_line) line_fits_ = OuterFits(piece, run);
      const int64_t first = std::max(run.first_tap, inside.begin);
      const int64_t last = std::min(run.last_tap + 1, inside.end);
      // Elements of the run.
      const int64_t origin = run.first_tap * group_out + run.skipped;
      const int64_t begin = std::max<int64_t>(0, first * group_out - origin);
      const int64_t end =
          line_fits_ ? std::min(run.length, last * group_out - origin) : 0;
      CopyPartOfRun(
          call_.output_grad + piece.dy + run.dy + (i - piece.inner) * step_,
          begin, end, run.length, to);
    }
  }

  // Taps of the innermost axis that map input position i into the output.
  static TapRange InsideTapsOf(const AxisGeometry& axis, int64_t i) {
    const int64_t low = axis.pad_before - i * axis.stride;
    const int64_t high = axis.output - 1 + low;
    return {low <= 0 ? 0 : (low + axis.dilation - 1) / axis.dilation,
            high < 0 ? 0 : high / axis.dilation + 1};
  }

  // Elements [begin, end) of a run, zeros for its others.
  void CopyPartOfRun(const T* from, int64_t begin, int64_t end, int64_t length,
                     A* to) const {
    if constexpr (kNative<T>) {
      for (int v = 0; v < kRowVectors; ++v) Store(to + v * kLanes<A>, Vec<A>{});
    } else {
      std::fill_n(to, length, A(0));
    }
    if (begin >= end) return;
    if constexpr (kNative<T>) {
      if (output_.channel == 1) {
        for (; begin < end; ++begin) to[begin] = static_cast<A>(from[begin]);
        return;
      }
    }
    WidenRow<T>(from + begin * output_.channel, output_.channel, end - begin,
                to + begin);
  }

  const FilterGradCall<T>& call_;
  const ConvTransposeGeometry& geometry_;
  const PositionsBlocks& blocks_;
  const int inner_;
  const ElementStrides input_, output_;
  const int64_t width_, panel_step_, step_;
  const bool merges_;  // adjacent taps of the innermost axis make one run
  const int64_t output_end_;

  // The chunk at hand.
  std::array<TapRange, kMaxRank> reach_{};
  bool reaches_all_ = true;
  int64_t piece_count_ = 0, run_count_ = 0, count_ = 0, first_column_ = 0;
  bool touched_border_ = false;
  bool line_fits_ = false;  // of the piece, for the runs of one outer tap
  const W* in_place_ = nullptr;
  PositionPiece* pieces_ = nullptr;
  TapRun* runs_ = nullptr;
  int64_t* x_at_ = nullptr;  // columns of all positions
  int64_t* at_ = nullptr;    // of those that the block of rows takes
  int64_t* dy_at_ = nullptr;
  int64_t* ahead_at_ = nullptr;
  W* left_ = nullptr;
  W* right_ = nullptr;
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_POSITION_ROWS_INL_H_
