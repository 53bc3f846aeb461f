// A block of result lines as sums, and the runs of products that add to them:
// what a work unit of the family tap_lanes owns.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_RESULT_LINES_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_RESULT_LINES_INL_H_

// to[0 .. length) += from[0 .. length). Reads and rewrites whole vectors: what
// lies beyond `length` stays as it is.
template <typename A>
class RunAdder {
 public:
  explicit RunAdder(int64_t length)
      : vectors_(length / kLanes<A>), tail_(length % kLanes<A>) {
    for (int i = 0; i < kLanes<A>; ++i) mask_[i] = i < tail_ ? -1 : 0;
  }

  // `count` runs, `passes` of which overlap with their neighbours: those that
  // follow each other are far enough apart for a load not to wait for a store.
  void Add(const A* from, int64_t from_step, int64_t count, int64_t passes,
           A* to, int64_t to_step) const {
    for (int64_t pass = 0; pass < passes; ++pass) {
      for (int64_t i = pass; i < count; i += passes) {
        AddOne(from + i * from_step, to + i * to_step);
      }
    }
  }

  void AddOne(const A* from, A* to) const {
    for (int64_t v = 0; v < vectors_; ++v, from += kLanes<A>, to += kLanes<A>) {
      Store(to, Load(to) + Load(from));
    }
    if (tail_ == 0) return;
    const Vec<A> last =
        reinterpret_cast<Vec<A>>(reinterpret_cast<Mask>(Load(from)) & mask_);
    Store(to, Load(to) + last);
  }

 private:
  using Int = std::conditional_t<sizeof(A) == 8, int64_t, int32_t>;
  typedef Int Mask __attribute__((vector_size(CT_VECTOR_BYTES)));

  int64_t vectors_;
  int64_t tail_;
  Mask mask_;
};

// Which lanes of a vector from offset i on lie in a row of `count` elements.
template <typename A>
class RowMask {
 public:
  using Int = std::conditional_t<sizeof(A) == 8, int64_t, int32_t>;
  typedef Int Mask __attribute__((vector_size(CT_VECTOR_BYTES)));

  RowMask() {
    for (int l = 0; l < kLanes<A>; ++l) {
      from_[l] = to_[kLanes<A> + l] = 0;
      from_[kLanes<A> + l] = to_[l] = -1;
    }
  }

  Mask At(int64_t i, int64_t count) const {
    constexpr int64_t kCount = kLanes<A>;
    Mask from, to;
    std::memcpy(&from, from_ + kCount + std::clamp<int64_t>(i, -kCount, 0),
                sizeof(from));
    std::memcpy(&to, to_ + kCount - std::clamp<int64_t>(count - i, 0, kCount),
                sizeof(to));
    return from & to;
  }

 private:
  // Windows of these let lanes through from one on, or up to one.
  Int from_[2 * kLanes<A>], to_[2 * kLanes<A>];
};

// Lines lie side by side, blocks.line elements each: [position][channel], or
// transposed [position mod stride][channel][position / stride].
template <typename T>
class ResultLines {
 public:
  using A = Compute<T>;

  explicit ResultLines(const GatherCall<T>& call)
      : call_(call),
        geometry_(call.plan.geometry),
        gather_(call.plan.gather),
        blocks_(call.plan.tap_lanes),
        inner_(call.plan.geometry.rank - 1),
        reach_((geometry_.axis[inner_].filter - 1) *
               geometry_.axis[inner_].dilation) {}

  // The sums of all lines, and where transposed lines are put in order.
  void SetScratch(A* lines, A* transposed) {
    lines_ = lines;
    transposed_ = transposed;
  }

  void SetUnit(int64_t unit) {
    block_ = unit % blocks_.column_blocks;
    unit /= blocks_.column_blocks;
    for (int a = inner_; a >= 0; --a) {
      const int64_t b = unit % blocks_.blocks[a];
      unit /= blocks_.blocks[a];
      begin_[a] = b * blocks_.block[a];
      end_[a] =
          std::min(begin_[a] + blocks_.block[a], geometry_.axis[a].output);
    }
    group_ = unit % geometry_.groups;
    batch_ = unit / geometry_.groups;
    first_channel_ = block_ * blocks_.columns;
    columns_ = std::min(blocks_.columns, gather_.columns - first_channel_);
    const AxisGeometry& axis = geometry_.axis[inner_];
    first_position_ = begin_[inner_] + axis.pad_before - reach_;
    if (blocks_.transposed) {
      first_position_ -=
          (first_position_ % axis.stride + axis.stride) % axis.stride;
    }
  }

  // Every sum starts from its bias.
  void Start() {
    const int64_t lines = UnitLines();
    std::fill(lines_, lines_ + lines * blocks_.line, A(0));
    if (call_.bias == nullptr) return;
    const A* bias = call_.bias + group_ * gather_.columns + first_channel_;
    if (blocks_.transposed) {
      for (int64_t row = 0; row < lines * PhaseColumns(); ++row) {
        std::fill(lines_ + row * blocks_.phase,
                  lines_ + (row + 1) * blocks_.phase,
                  bias[row % blocks_.columns]);
      }
      return;
    }
    for (int64_t i = 0; i + blocks_.columns <= blocks_.line;
         i += blocks_.columns) {
      std::copy(bias, bias + columns_, lines_ + i);
    }
    for (int64_t l = 1; l < lines; ++l) {
      std::copy(lines_, lines_ + blocks_.line, lines_ + l * blocks_.line);
    }
  }

  // Source positions [first, last) of the axis that reach the unit.
  void SourceRange(int a, int64_t* first, int64_t* last) const {
    const AxisGeometry& axis = geometry_.axis[a];
    const int64_t reach = (axis.filter - 1) * axis.dilation;
    const int64_t low = begin_[a] + axis.pad_before - reach;
    *first = low <= 0 ? 0 : (low + axis.stride - 1) / axis.stride;
    const int64_t high = end_[a] - 1 + axis.pad_before;
    *last = high < 0 ? 0 : std::min(axis.input, high / axis.stride + 1);
  }

  // Filter positions [first, last) that lead from source position i to the
  // unit's positions of the axis.
  void TapRange(int a, int64_t i, int64_t* first, int64_t* last) const {
    const AxisGeometry& axis = geometry_.axis[a];
    const int64_t low = begin_[a] + axis.pad_before - i * axis.stride;
    const int64_t high = end_[a] - 1 + axis.pad_before - i * axis.stride;
    *first = low <= 0 ? 0 : (low + axis.dilation - 1) / axis.dilation;
    *last = high < 0 ? 0 : std::min(axis.filter, high / axis.dilation + 1);
  }

  // The line that filter positions k of the outer axes lead to from source
  // positions i.
  int64_t LineOf(const std::array<int64_t, kMaxRank>& i,
                 const std::array<int64_t, kMaxRank>& k) const {
    int64_t line = 0;
    for (int a = 0; a < inner_; ++a) {
      const AxisGeometry& axis = geometry_.axis[a];
      line = line * (end_[a] - begin_[a]) + i[a] * axis.stride +
             k[a] * axis.dilation - axis.pad_before - begin_[a];
    }
    return line;
  }

  void Store() {
    std::array<int64_t, kMaxRank> o = begin_;
    const int64_t lines = UnitLines();
    for (int64_t l = 0; l < lines; ++l) {
      int64_t offset =
          batch_ * gather_.result.batch +
          (group_ * gather_.columns + first_channel_) * gather_.result.channel;
      for (int a = 0; a <= inner_; ++a) {
        offset += o[a] * gather_.result.axis[a];
      }
      const A* sums = lines_ + l * blocks_.line;
      if (blocks_.transposed) {
        StoreTransposed(sums, call_.result + offset);
      } else {
        StoreLine(sums + reach_ * blocks_.columns, call_.result + offset);
      }
      int a = inner_ - 1;
      while (a >= 0 && ++o[a] == end_[a]) o[a] = begin_[a], --a;
    }
  }

  A* sums() const { return lines_; }
  int64_t batch() const { return batch_; }
  int64_t group() const { return group_; }
  // Of the blocks of channels.
  int64_t block() const { return block_; }
  // Of a line, counted from the padding's start.
  int64_t first_position() const { return first_position_; }

 private:
  int64_t UnitLines() const {
    int64_t lines = 1;
    for (int a = 0; a < inner_; ++a) lines *= end_[a] - begin_[a];
    return lines;
  }

  // Rows of a transposed line: [position mod stride][channel].
  int64_t PhaseColumns() const {
    return geometry_.axis[inner_].stride * blocks_.columns;
  }

  // Positions and channels of a transposed line in turn.
  void StoreTransposed(const A* sums, T* result) const {
    const AxisGeometry& axis = geometry_.axis[inner_];
    const int64_t first = begin_[inner_] + axis.pad_before - first_position_;
    const int64_t skipped = first % axis.stride;
    const int64_t phases =
        (end_[inner_] - begin_[inner_] + skipped + axis.stride - 1) /
        axis.stride;
    sums += first / axis.stride;
    if (gather_.result.channel == 1) {
      Interleave(sums, blocks_.phase, PhaseColumns(), phases, transposed_);
      return StoreLine(transposed_ + skipped * blocks_.columns, result);
    }
    for (int64_t c = 0; c < columns_; ++c) {
      Interleave(sums + c * blocks_.phase, blocks_.columns * blocks_.phase,
                 axis.stride, phases, transposed_);
      T* to = result + c * gather_.result.channel;
      for (int64_t p = 0; p < end_[inner_] - begin_[inner_]; ++p) {
        to[p * gather_.result.axis[inner_]] =
            FromCompute<T>(geometry_.activation, transposed_[skipped + p]);
      }
    }
  }

  // Sums [position][channel] of a line.
  void StoreLine(const A* sums, T* result) const {
    const int64_t positions = end_[inner_] - begin_[inner_];
    const int64_t step = gather_.result.axis[inner_];
    if (gather_.result.channel == 1 && step == columns_ &&
        columns_ == blocks_.columns) {
      return StoreRun(sums, positions * columns_, result);
    }
    if (gather_.result.channel == 1) {
      for (int64_t p = 0; p < positions; ++p) {
        StoreRun(sums + p * blocks_.columns, columns_, result + p * step);
      }
      return;
    }
    for (int64_t c = 0; c < columns_; ++c) {
      T* to = result + c * gather_.result.channel;
      for (int64_t p = 0; p < positions; ++p) {
        to[p * step] =
            FromCompute<T>(geometry_.activation, sums[p * blocks_.columns + c]);
      }
    }
  }

  void StoreRun(const A* sums, int64_t count, T* result) const {
    const Activation activation = geometry_.activation;
    if (!kNative<T> && activation == Activation::kNone) {
      return NarrowRow<T>(sums, count, result);
    }
    if constexpr (kNative<T>) {
      if (activation == Activation::kNone) {
        std::memcpy(static_cast<void*>(result), sums, count * sizeof(T));
        return;
      }
      if (activation == Activation::kRelu) {
        for (int64_t i = 0; i < count; ++i) {
          const T z = static_cast<T>(sums[i]);
          result[i] = z < T(0) ? T(0) : z;
        }
        return;
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      result[i] = FromCompute<T>(activation, sums[i]);
    }
  }

  const GatherCall<T>& call_;
  const ConvTransposeGeometry& geometry_;
  const Gather& gather_;
  const TapLanesBlocks& blocks_;
  const int inner_;
  const int64_t reach_;  // of the innermost axis: its filter's extent

  // The unit at hand: result positions [begin, end).
  std::array<int64_t, kMaxRank> begin_{}, end_{};
  int64_t batch_ = 0, group_ = 0, block_ = 0, first_channel_ = 0, columns_ = 0;
  int64_t first_position_ = 0;
  A* lines_ = nullptr;
  A* transposed_ = nullptr;
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_RESULT_LINES_INL_H_
