// Copies of the lines of output_grad that a chunk of positions reads: see
// CopiedLines in plan.h. What both gradients of few out_channels multiply with.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_LINE_COPIES_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_LINE_COPIES_INL_H_

template <typename T>
class LineCopies {
 public:
  using A = Compute<T>;

  LineCopies(const T* output_grad, const Plan& plan)
      : output_grad_(output_grad),
        geometry_(plan.geometry),
        blocks_(plan.copied_lines),
        axis_(geometry_.axis[geometry_.rank - 1]),
        output_(OutputStrides(geometry_)),
        taps_(axis_.filter / blocks_.parts),
        line_depth_(taps_ * geometry_.out_channels),
        output_end_(NumElements(geometry_.OutputDims())),
        side_by_side_(output_.channel == 1 &&
                      output_.axis[geometry_.rank - 1] ==
                          geometry_.out_channels) {}

  // Takes its share of plan.scratch_bytes from p on. Returns the end.
  char* SetScratch(char* p) {
    const auto take = [&p](int64_t bytes) {
      char* from = p;
      p += RoundUp64(bytes);
      return from;
    };
    pieces_ =
        reinterpret_cast<LinePiece*>(take(blocks_.pieces * sizeof(LinePiece)));
    inside_ = take(blocks_.line_taps * blocks_.pieces);
    lines_ =
        reinterpret_cast<A*>(take((blocks_.line_taps * blocks_.line_step +
                                   kLanes<A>)*static_cast<int64_t>(sizeof(A))));
    return p;
  }

  // The chunk of positions [begin, end).
  void Take(int64_t begin, int64_t end) {
    touched_border_ = false;
    slots_ = 0;
    for (piece_count_ = 0; begin < end; ++piece_count_) {
      if (piece_count_ > 0) slots_ += blocks_.gap;
      LinePiece& piece = pieces_[piece_count_];
      piece = PieceAt(begin, end);
      piece.slot = slots_;
      begin += piece.count;
      slots_ += piece.count;
    }
  }

  // What the combinations of outer taps [first, last) read for the chunk, and
  // numbers for `beyond` positions behind its last: any, but a subnormal one
  // takes the processor a hundred cycles.
  void Copy(int64_t first, int64_t last, int64_t beyond) {
    A* lines = lines_;
    for (int64_t tap = first; tap < last; ++tap, lines += blocks_.line_step) {
      std::array<int64_t, kMaxRank> shift{};
      const int64_t source = ShiftOf(tap, &shift);
      const int64_t first_tap = tap % blocks_.parts * taps_;
      char* inside = inside_ + (tap - first) * blocks_.pieces;
      for (int64_t n = 0; n < piece_count_; ++n) {
        inside[n] = OuterFits(pieces_[n], shift);
        CopyPiece(pieces_[n], inside[n], source, first_tap, lines);
      }
      const LinePiece& end = pieces_[piece_count_ - 1];
      Clear(beyond * blocks_.step,
            lines + (end.slot + end.count - 1) * blocks_.step + blocks_.reach);
    }
  }

  // Begins to list what Copy(first, last) will read for the chunk [begin, end):
  // nothing, where it is so little that the list takes longer.
  void StartAhead(int64_t first, int64_t last, int64_t begin, int64_t end) {
    constexpr int64_t kLeastBytes = 4096;
    const int64_t line = std::min(end - begin, axis_.input) * axis_.stride *
                         geometry_.out_channels;
    const bool pays = line * static_cast<int64_t>(sizeof(T)) >= kLeastBytes;
    ahead_ = {pays ? first : last, last, begin, begin, end};
  }

  // The next range of it; false where there is none.
  bool NextAhead(const T** from, const T** to) {
    while (ahead_.tap < ahead_.last_tap && side_by_side_) {
      if (ahead_.position >= ahead_.end) {
        ahead_.position = ahead_.begin;
        ++ahead_.tap;
        continue;
      }
      const LinePiece piece = PieceAt(ahead_.position, ahead_.end);
      ahead_.position += piece.count;
      std::array<int64_t, kMaxRank> shift{};
      const int64_t source = piece.source + ShiftOf(ahead_.tap, &shift);
      if (piece.copied == 0 || !OuterFits(piece, shift)) continue;
      *from = output_grad_ + source + piece.first;
      *to = *from + piece.copied;
      return true;
    }
    return false;
  }

  // at[r]: where in the copy of the first position row `row` + r of the filter
  // lies, of the combinations of outer taps that are copied, r < rows.
  void FindRows(int64_t row, int64_t rows, int64_t* at) const {
    const int64_t channels = geometry_.out_channels;
    int64_t tap = row / line_depth_;
    int64_t k = row % line_depth_ / channels;
    int64_t channel = row % channels;
    for (int64_t r = 0; r < rows;) {
      int64_t from =
          tap * blocks_.line_step + k * axis_.dilation * channels + channel;
      for (; channel < channels && r < rows; ++channel) at[r++] = from++;
      channel = 0;
      if (++k == taps_) k = 0, ++tap;
    }
  }

  // Whether combination `tap` of those that are copied maps piece n into the
  // output, as far as the outer axes go.
  bool Inside(int64_t tap, int64_t n) const {
    return inside_[tap * blocks_.pieces + n] != 0;
  }
  int64_t slots() const { return slots_; }
  int64_t piece_count() const { return piece_count_; }
  const LinePiece& piece(int64_t n) const { return pieces_[n]; }
  const A* lines() const { return lines_; }
  // Rows of the filter that a combination of outer taps, or a part, has.
  int64_t line_depth() const { return line_depth_; }
  // Some tap has left the output since Take.
  bool touched_border() const { return touched_border_; }

 private:
  // What StartAhead began.
  struct Ahead {
    int64_t tap, last_tap;
    int64_t position, begin, end;
  };

  // Those of the positions [begin, end) that follow each other on one line.
  LinePiece PieceAt(int64_t begin, int64_t end) const {
    LinePiece piece{};
    int64_t line = begin / axis_.input;
    piece.inner = begin - line * axis_.input;
    piece.count = std::min(end - begin, axis_.input - piece.inner);
    for (int a = geometry_.rank - 2; a >= 0; --a) {
      const AxisGeometry& axis = geometry_.axis[a];
      const int64_t first = line % axis.input * axis.stride - axis.pad_before;
      line /= axis.input;
      piece.outer[a] = first;
      piece.source += first * output_.axis[a];
    }
    piece.source += line * output_.batch;
    SetElements(0, piece.inner, piece.count, &piece);
    return piece;
  }

  // How far a combination of outer taps is from the first, along each outer
  // axis. Returns the same in elements.
  int64_t ShiftOf(int64_t tap, std::array<int64_t, kMaxRank>* shift) const {
    int64_t source = 0, index = tap / blocks_.parts;
    for (int a = geometry_.rank - 2; a >= 0; --a) {
      const AxisGeometry& axis = geometry_.axis[a];
      (*shift)[a] = index % axis.filter * axis.dilation;
      source += (*shift)[a] * output_.axis[a];
      index /= axis.filter;
    }
    return source;
  }

  // What `count` positions from `inner` on read of a line, from tap `first_tap`
  // on: elements beyond the border, `copied` elements from `first` on, and
  // others beyond.
  void SetElements(int64_t first_tap, int64_t inner, int64_t count,
                   LinePiece* piece) const {
    const int64_t channels = geometry_.out_channels;
    const int64_t begin =
        inner * axis_.stride - axis_.pad_before + first_tap * axis_.dilation;
    const int64_t end =
        begin + (count - 1) * axis_.stride + (taps_ - 1) * axis_.dilation + 1;
    const int64_t from = std::clamp<int64_t>(0, begin, end);
    const int64_t last = std::clamp<int64_t>(axis_.output, from, end);
    piece->first = from * output_.axis[geometry_.rank - 1];
    piece->before = (from - begin) * channels;
    piece->copied = (last - from) * channels;
    piece->after = (end - last) * channels;
  }

  // Writes the piece's part of the copy in order; and whole vectors, of which
  // what follows overwrites the rest.
  void CopyPiece(const LinePiece& piece, bool inside, int64_t source,
                 int64_t first_tap, A* lines) {
    A* to = lines + piece.slot * blocks_.step;
    A* const next = to + (piece.count + blocks_.gap) * blocks_.step;
    if (!inside) {
      touched_border_ = true;
      Clear(next - to, to);
    } else if (!blocks_.spread) {
      to = CopyLine(piece, piece.source + source, to);
      Clear(next - to, to);
    } else {
      LinePiece position = piece;
      for (int64_t i = 0; i < piece.count; ++i, to += blocks_.step) {
        SetElements(first_tap, piece.inner + i, 1, &position);
        CopyLine(position, piece.source + source, to);
      }
    }
  }

  bool OuterFits(const LinePiece& piece,
                 const std::array<int64_t, kMaxRank>& shift) const {
    for (int a = 0; a < geometry_.rank - 1; ++a) {
      const int64_t o = piece.outer[a] + shift[a];
      if (o < 0 || o >= geometry_.axis[a].output) return false;
    }
    return true;
  }

  // Of the line that begins at `source`. Returns the end of the copy.
  A* CopyLine(const LinePiece& piece, int64_t source, A* to) {
    touched_border_ |= piece.before > 0 || piece.after > 0;
    to = Clear(piece.before, to);
    CopyElements(source + piece.first, piece.copied, to);
    return Clear(piece.after, to + piece.copied);
  }

  static A* Clear(int64_t count, A* to) {
    for (int64_t i = 0; i < count; i += kLanes<A>) Store(to + i, Vec<A>{});
    return to + count;
  }

  // `count` elements of neighbouring positions of a line.
  void CopyElements(int64_t source, int64_t count, A* to) const {
    const T* from = output_grad_ + source;
    const int64_t channels = geometry_.out_channels;
    if (!side_by_side_) {
      const int64_t step = output_.axis[geometry_.rank - 1];
      if (channels == 1) return WidenRow<T>(from, step, count, to);
      for (int64_t i = 0; i < count; i += channels, from += step) {
        WidenRow<T>(from, output_.channel, channels, to + i);
      }
      return;
    }
    int64_t i = 0;
    if constexpr (kNative<T>) {
      const A* vectors = reinterpret_cast<const A*>(from);
      const int64_t room = output_end_ - source - kLanes<A>;
      // Positions that are copied one by one lie too far apart for a core's own
      // prefetching: a fifth of the time with this.
      const int64_t ahead =
          blocks_.spread ? (1 + 2048 / blocks_.reach) * axis_.stride * channels
                         : int64_t{0};
      for (; i < count && i <= room; i += kLanes<A>) {
        __builtin_prefetch(vectors + i + ahead);
        Store(to + i, Load(vectors + i));
      }
    }
    if (i < count) WidenRow<T>(from + i, 1, count - i, to + i);
  }

  const T* output_grad_;
  const ConvTransposeGeometry& geometry_;
  const CopiedLines& blocks_;
  const AxisGeometry& axis_;  // the innermost
  const ElementStrides output_;
  const int64_t taps_;  // of the innermost axis, in a part
  const int64_t line_depth_;
  const int64_t output_end_;
  const bool side_by_side_;  // channels of neighbouring positions, in memory

  // The chunk at hand.
  int64_t piece_count_ = 0, slots_ = 0;
  bool touched_border_ = false;
  Ahead ahead_{};
  LinePiece* pieces_ = nullptr;
  char* inside_ = nullptr;  // by combination of outer taps and piece
  A* lines_ = nullptr;
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_LINE_COPIES_INL_H_
