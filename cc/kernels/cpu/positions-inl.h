// The filter gradient: sums run over positions. Step 6 of the path of a call.
//
// A tile of the result is one tap and a block of out_channels. A unit owns some
// of them (and a range of positions where the plan splits them). It walks the
// positions in spans that a level-2 cache holds, all tiles over each span, and
// within it in chunks: pointers to the two operands of each position, then
// register tiles of out_channels x in_channels over the chunk. Partial sums of
// position ranges are added in order afterwards, so the bits do not depend on
// who computed them.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_POSITIONS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_POSITIONS_INL_H_

template <typename T>
struct FilterGradCall {
  const Plan& plan;
  const T* input;
  const T* output_grad;
  T* result;
};

template <typename T>
class Positions {
 public:
  using A = Compute<T>;

  Positions(const FilterGradCall<T>& call, A* partial, char* scratch)
      : call_(call),
        plan_(call.plan),
        geometry_(call.plan.geometry),
        blocks_(call.plan.positions),
        input_(InputStrides(call.plan.geometry)),
        output_(OutputStrides(call.plan.geometry)),
        partial_(partial),
        scratch_(scratch),
        width_(blocks_.vectors * kLanes<A>) {
    for (int a = 0; a < geometry_.rank; ++a) taps_ *= geometry_.axis[a].filter;
    inner_length_ = geometry_.axis[geometry_.rank - 1].input;
    lines_ = geometry_.batch;
    for (int a = 0; a < geometry_.rank - 1; ++a)
      lines_ *= geometry_.axis[a].input;
    filter_elements_ = NumElements(geometry_.FilterDims());
    input_elements_ = NumElements(geometry_.InputDims());
    output_elements_ = NumElements(geometry_.OutputDims());
  }

  void RunUnit(int64_t unit, int worker) {
    SetScratch(worker);
    const int64_t tile_groups =
        (blocks_.tiles + blocks_.tile_group - 1) / blocks_.tile_group;
    const int64_t first = unit % tile_groups * blocks_.tile_group;
    const int64_t last = std::min(first + blocks_.tile_group, blocks_.tiles);
    const int64_t split = unit / tile_groups;
    for (int64_t tile = first; tile < last; ++tile) {
      SetTile(tile, split);
      ClearTile();
    }
    const int64_t positions = lines_ * inner_length_;
    const int64_t end = positions * (split + 1) / blocks_.splits;
    for (begin_ = positions * split / blocks_.splits; begin_ < end;
         begin_ = end_) {
      end_ = std::min(end, begin_ + blocks_.span);
      for (int64_t tile = first; tile < last; ++tile) {
        SetTile(tile, split);
        if (blocks_.merge_taps) {
          WalkMerged(tile_first_, tile_last_);
        } else {
          const int a = geometry_.rank - 1;
          Walk(tile_first_, tile_last_, low_[a], high_[a]);
        }
      }
    }
  }

  // Adds the partial sums of result elements [begin, end) in order and stores
  // them.
  void Reduce(int64_t begin, int64_t end) const {
    for (int64_t f = begin; f < end; ++f) {
      A sum = partial_[f];
      for (int64_t split = 1; split < blocks_.splits; ++split) {
        sum += partial_[split * filter_elements_ + f];
      }
      call_.result[f] = FromCompute<T>(Activation::kNone, sum);
    }
  }

 private:
  void SetScratch(int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    left_ = reinterpret_cast<const A**>(p);
    right_ = left_ + kPositionBlock;
    p += RoundUp64(kPositionBlock * 16);
    left_rows_ = reinterpret_cast<A*>(p);
    p += RoundUp64(kPositionBlock * blocks_.row_block * sizeof(A));
    right_rows_ = reinterpret_cast<A*>(p);
    p += RoundUp64(kPositionBlock * width_ * sizeof(A));
    channels_ = reinterpret_cast<A*>(p);
  }

  // Tap, group and rows [tile_first_, tile_last_) of a tile, and where its sums
  // are.
  void SetTile(int64_t tile, int64_t split) {
    const int64_t group_out = geometry_.group_out_channels();
    const int64_t merged =
        blocks_.merge_taps ? geometry_.axis[geometry_.rank - 1].filter : 1;
    const int64_t rows = group_out * merged;
    const int64_t row_blocks =
        (rows + blocks_.row_block - 1) / blocks_.row_block;
    tile_first_ = tile % row_blocks * blocks_.row_block;
    tile_last_ = std::min(rows, tile_first_ + blocks_.row_block);
    tile /= row_blocks;
    const int64_t groups = blocks_.channelwise ? 1 : geometry_.groups;
    group_ = tile % groups;
    const int64_t tap = tile / groups * merged;
    SetTap(tap);
    tap_sums_ = partial_ + split * filter_elements_ +
                tap * group_out * geometry_.in_channels +
                group_ * geometry_.group_in_channels();
  }

  void ClearTile() {
    const int64_t columns =
        blocks_.channelwise ? geometry_.groups : geometry_.group_in_channels();
    for (int64_t r = tile_first_; r < tile_last_; ++r) {
      A* row = tap_sums_ + r * geometry_.in_channels;
      std::fill(row, row + columns, A(0));
    }
  }

  // Input positions [low, high) of each axis that this tap maps into the
  // output, and the output position of input 0.
  void SetTap(int64_t tap) {
    for (int a = geometry_.rank - 1; a >= 0; --a) {
      const AxisGeometry& axis = geometry_.axis[a];
      shift_[a] = tap % axis.filter * axis.dilation - axis.pad_before;
      tap /= axis.filter;
      low_[a] =
          shift_[a] >= 0 ? 0 : (-shift_[a] + axis.stride - 1) / axis.stride;
      const int64_t room = axis.output - shift_[a];
      high_[a] = room <= 0 ? 0
                           : std::min(axis.input,
                                      (room + axis.stride - 1) / axis.stride);
    }
  }

  // Rows are (tap of the innermost axis, out_channel). Positions from which all
  // taps of the block are inside the output take them together; the few at the
  // border take each tap by itself.
  void WalkMerged(int64_t first, int64_t last) {
    const int64_t group_out = geometry_.group_out_channels();
    const int64_t first_tap = first / group_out;
    const int64_t last_tap = (last - 1) / group_out;
    const int64_t low = InnerLow(first_tap), high = InnerHigh(last_tap);
    const bool interior = low < high;
    if (interior) Walk(first, last, low, high);
    for (int64_t k = first_tap; k <= last_tap; ++k) {
      const int64_t tap_first = std::max(first, k * group_out);
      const int64_t tap_last = std::min(last, (k + 1) * group_out);
      if (interior) {
        Walk(tap_first, tap_last, InnerLow(k), low);
        Walk(tap_first, tap_last, high, InnerHigh(k));
      } else {
        Walk(tap_first, tap_last, InnerLow(k), InnerHigh(k));
      }
    }
  }

  // Input positions [low, high) of the innermost axis that tap k, not dilated,
  // maps into the output.
  int64_t InnerLow(int64_t k) const {
    const AxisGeometry& axis = geometry_.axis[geometry_.rank - 1];
    const int64_t before = axis.pad_before - k;
    return before <= 0 ? 0 : (before + axis.stride - 1) / axis.stride;
  }
  int64_t InnerHigh(int64_t k) const {
    const AxisGeometry& axis = geometry_.axis[geometry_.rank - 1];
    const int64_t room = axis.output + axis.pad_before - k;
    return room <= 0
               ? 0
               : std::min(axis.input, (room + axis.stride - 1) / axis.stride);
  }

  // Sums rows [first, last) over the unit's positions whose innermost index is
  // in [low, high), in order, chunk by chunk.
  void Walk(int64_t first, int64_t last, int64_t low, int64_t high) {
    if (low >= high) return;
    const int inner = geometry_.rank - 1;
    first_row_ = first;
    row_count_ = last - first;
    sums_ = tap_sums_ + first * geometry_.in_channels;
    int64_t filled = 0;
    for (int64_t begin = begin_; begin < end_;) {
      const int64_t line = begin / inner_length_;
      const int64_t line_end = std::min(end_, (line + 1) * inner_length_);
      int64_t i = std::max(begin - line * inner_length_, low);
      const int64_t i_end = std::min(line_end - line * inner_length_, high);
      begin = line_end;
      int64_t x, dy;
      if (i >= i_end || !LineOffsets(line, &x, &dy)) continue;
      for (; i < i_end; ++i) {
        input_at_[filled] = x + i * input_.axis[inner];
        output_at_[filled] =
            dy + (i * geometry_.axis[inner].stride + shift_[inner]) *
                     output_.axis[inner];
        if (++filled == kPositionBlock) {
          MultiplyChunk(filled);
          filled = 0;
        }
      }
    }
    if (filled > 0) MultiplyChunk(filled);
  }

  // Offsets of a line (all axes but the innermost). False where the tap leaves
  // the output.
  bool LineOffsets(int64_t line, int64_t* x, int64_t* dy) const {
    *x = *dy = 0;
    for (int a = geometry_.rank - 2; a >= 0; --a) {
      const AxisGeometry& axis = geometry_.axis[a];
      const int64_t i = line % axis.input;
      line /= axis.input;
      if (i < low_[a] || i >= high_[a]) return false;
      *x += i * input_.axis[a];
      *dy += (i * axis.stride + shift_[a]) * output_.axis[a];
    }
    *x += line * input_.batch;
    *dy += line * output_.batch;
    return true;
  }

  void MultiplyChunk(int64_t positions) {
    if (blocks_.channelwise) return MultiplyChannelwise(positions);
    FindLeft(positions);
    for (int64_t c = 0; c < geometry_.group_in_channels(); c += width_) {
      const int64_t columns =
          std::min(width_, geometry_.group_in_channels() - c);
      FindRight(positions, c, columns);
      for (int64_t r = 0; r < row_count_;) {
        const int64_t rows = std::min<int64_t>(row_count_ - r, blocks_.rows);
        MultiplyTile(positions, r, rows, c, columns);
        r += rows;
      }
    }
  }

  // Depthwise: channel c of input meets channel c of output_grad alone.
  void MultiplyChannelwise(int64_t positions) {
    const int64_t channels = geometry_.groups;
    int64_t c = 0;
    if constexpr (kNative<T>) {
      const A* input = reinterpret_cast<const A*>(call_.input);
      const A* output_grad = reinterpret_cast<const A*>(call_.output_grad);
      constexpr int kBlock = 4 * kLanes<A>;
      for (; c + kBlock <= channels; c += kBlock) {
        Vec<A> acc[4];
        for (int v = 0; v < 4; ++v) acc[v] = Load(sums_ + c + v * kLanes<A>);
        for (int64_t p = 0; p < positions; ++p) {
          const A* x = input + input_at_[p] + c;
          const A* dy = output_grad + output_at_[p] + c;
#pragma GCC unroll 4
          for (int v = 0; v < 4; ++v) {
            acc[v] += Load(x + v * kLanes<A>) * Load(dy + v * kLanes<A>);
          }
        }
        for (int v = 0; v < 4; ++v) Store(sums_ + c + v * kLanes<A>, acc[v]);
      }
    }
    if (c == channels) return;
    for (int64_t p = 0; p < positions; ++p) {
      WidenRow<T>(call_.input + input_at_[p] + c, 1, channels - c, channels_);
      WidenRow<T>(call_.output_grad + output_at_[p] + c, 1, channels - c,
                  channels_ + channels);
      MultiplyChannels(channels_, channels_ + channels, channels - c,
                       sums_ + c);
    }
  }

  // Pointers to output_grad: in place, or widened into scratch. A register tile
  // that is not filled reads on into the next position; only what would leave
  // the tensor is copied.
  void FindLeft(int64_t positions) {
    const int64_t channel =
        (group_ * geometry_.group_out_channels() + first_row_) *
        output_.channel;
    const int64_t last_in_place =
        output_elements_ - channel - row_count_ - blocks_.rows;
    for (int64_t p = 0; p < positions; ++p) {
      const T* from = call_.output_grad + output_at_[p] + channel;
      if constexpr (kNative<T>) {
        if (!blocks_.convert && output_at_[p] <= last_in_place) {
          left_[p] = reinterpret_cast<const A*>(from);
          continue;
        }
      }
      A* to = left_rows_ + p * blocks_.row_block;
      WidenRow<T>(from, output_.channel, row_count_, to);
      std::fill(to + row_count_, to + blocks_.row_block, A(0));
      left_[p] = to;
    }
  }

  void FindRight(int64_t positions, int64_t column, int64_t columns) {
    const int64_t channel =
        (group_ * geometry_.group_in_channels() + column) * input_.channel;
    const int64_t last_in_place = input_elements_ - channel - width_;
    for (int64_t p = 0; p < positions; ++p) {
      const T* from = call_.input + input_at_[p] + channel;
      if constexpr (kNative<T>) {
        if (!blocks_.convert && input_at_[p] <= last_in_place) {
          right_[p] = reinterpret_cast<const A*>(from);
          continue;
        }
      }
      A* to = right_rows_ + p * width_;
      WidenRow<T>(from, input_.channel, columns, to);
      std::fill(to + columns, to + width_, A(0));
      right_[p] = to;
    }
  }

  void MultiplyTile(int64_t positions, int64_t row, int64_t rows,
                    int64_t column, int64_t columns) {
    int tile_rows = blocks_.rows;
    while (SmallerTile(tile_rows) >= rows) tile_rows = SmallerTile(tile_rows);
    A* sums = sums_ + row * geometry_.in_channels + column;
    if (columns == width_ && rows == tile_rows) {
      return Multiply(positions, row, tile_rows, sums, geometry_.in_channels);
    }
    // A tile that is not filled goes through a copy: its neighbours belong to
    // other tiles.
    A tile[16 * 2 * kLanes<A>] = {};
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(sums + r * geometry_.in_channels, columns, tile + r * width_);
    }
    Multiply(positions, row, tile_rows, tile, width_);
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(tile + r * width_, columns, sums + r * geometry_.in_channels);
    }
  }

  void Multiply(int64_t positions, int64_t row, int tile_rows, A* tile,
                int64_t tile_stride) {
    WithTile(tile_rows, blocks_.vectors, [&](auto rows, auto vectors) {
      MultiplyPositions<A, rows(), vectors()>(left_, row, right_, positions,
                                              tile, tile_stride);
    });
  }

  const FilterGradCall<T>& call_;
  const Plan& plan_;
  const ConvTransposeGeometry& geometry_;
  const PositionsBlocks& blocks_;
  const ElementStrides input_, output_;
  A* partial_;
  char* scratch_;
  const int64_t width_;
  int64_t taps_ = 1, inner_length_ = 0, lines_ = 0, filter_elements_ = 0;
  int64_t input_elements_ = 0, output_elements_ = 0;

  // The unit at hand.
  int64_t tile_first_ = 0, tile_last_ = 0;
  int64_t first_row_ = 0, row_count_ = 0, group_ = 0, begin_ = 0, end_ = 0;
  std::array<int64_t, kMaxRank> shift_{}, low_{}, high_{};
  A* tap_sums_ = nullptr;
  A* sums_ = nullptr;
  A* channels_ = nullptr;
  const A** left_ = nullptr;
  const A** right_ = nullptr;
  A* left_rows_ = nullptr;
  A* right_rows_ = nullptr;
  std::array<int64_t, kPositionBlock> input_at_{}, output_at_{};
};

template <typename T>
void RunPositions(const FilterGradCall<T>& call, char* shared, char* scratch,
                  const ParallelFor& parallel_for) {
  using A = Compute<T>;
  const bool direct = kNative<T> && call.plan.positions.splits == 1;
  A* partial =
      direct ? reinterpret_cast<A*>(call.result) : reinterpret_cast<A*>(shared);
  const Positions<T> kernel(call, partial, scratch);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    Positions<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
  if (direct) return;
  parallel_for(
      NumElements(call.plan.geometry.FilterDims()), 1 << 14,
      [&](int64_t begin, int64_t end, int) { kernel.Reduce(begin, end); });
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_POSITIONS_INL_H_
