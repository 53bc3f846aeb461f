// Family 3: lanes run along positions of all axes. Step 6 of the path of a
// call.
//
// For much filter and few positions: a tile holds (nearly) all positions of a
// phase, so every weight is read once, as it comes and in the order it comes.
// Packing the filter, which costs more than the product here, falls away; the
// source rows of each tap are transposed instead.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_TILES_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_TILES_INL_H_

// sums[c][p] += sum over d < depth of filter[c * column_stride + d] *
// source[d][p], for 4 columns and kVectors vectors of positions. One vector
// alone would leave four sums in flight, half of what hides the FMA latency:
// odd depths then go to sums of their own.
template <typename A, int kVectors>
void MultiplyPixels(const A* filter, int64_t column_stride, int64_t depth,
                    const A* source, A* sums) {
  constexpr int kColumns = 4;
  constexpr int kWidth = kVectors * kLanes<A>;
  constexpr int kSplit = kVectors == 1 ? 2 : 1;
  Vec<A> acc[kSplit][kColumns][kVectors];
  for (int c = 0; c < kColumns; ++c) {
    for (int v = 0; v < kVectors; ++v) {
      acc[0][c][v] = Load(sums + c * kWidth + v * kLanes<A>);
      if (kSplit == 2) acc[kSplit - 1][c][v] = Vec<A>{};
    }
  }
  const A* row[kColumns];
  for (int c = 0; c < kColumns; ++c) row[c] = filter + c * column_stride;
  const auto step = [&](int64_t d, int s) {
    Vec<A> values[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      values[v] = Load(source + d * kWidth + v * kLanes<A>);
    }
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      const A weight = row[c][d];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[s][c][v] += weight * values[v];
    }
  };
  // The rows of the next four columns, one line ahead of every line read here.
  constexpr int kLine = 64 / sizeof(A);
  int64_t d = 0;
  for (; d + kLine <= depth; d += kLine) {
    for (int c = 0; c < kColumns; ++c) {
      __builtin_prefetch(row[c] + d + kColumns * column_stride);
    }
    for (int i = 0; i < kLine; i += kSplit) {
      step(d + i, 0);
      if (kSplit == 2) step(d + i + 1, kSplit - 1);
    }
  }
  for (; d < depth; ++d) step(d, 0);
  for (int c = 0; c < kColumns; ++c) {
    for (int v = 0; v < kVectors; ++v) {
      if (kSplit == 2) acc[0][c][v] += acc[kSplit - 1][c][v];
      Store(sums + c * kWidth + v * kLanes<A>, acc[0][c][v]);
    }
  }
}

template <typename T>
class PixelTiles {
 public:
  using A = Compute<T>;
  static_assert(kNative<T>, "the filter is read as it comes");

  PixelTiles(const GatherCall<T>& call, char* scratch)
      : call_(call),
        plan_(call.plan),
        gather_(call.plan.gather),
        blocks_(call.plan.pixel_tiles),
        scratch_(scratch),
        width_(blocks_.vectors * kLanes<A>),
        tiles_(call.plan) {}

  void RunUnit(int64_t unit, int worker) {
    SetScratch(worker);
    const int64_t column_blocks =
        (gather_.columns + blocks_.columns - 1) / blocks_.columns;
    const int64_t row_blocks =
        plan_.units / plan_.geometry.groups / plan_.phases / column_blocks;
    first_column_ = unit % column_blocks * blocks_.columns;
    columns_ = std::min(blocks_.columns, gather_.columns - first_column_);
    unit /= column_blocks;
    const int64_t row = unit % row_blocks * width_;
    unit /= row_blocks;
    tiles_.SetPhase(unit % plan_.phases);
    group_ = unit / plan_.phases;
    if (row >= tiles_.rows()) return;
    const int64_t count = std::min(width_, tiles_.rows() - row);
    tiles_.Seek(row);
    tiles_.Take(count, static_cast<int>(width_));
    std::fill(sums_, sums_ + blocks_.columns * width_, A(0));
    touched_border_ = false;
    for (int64_t t = 0; t < tiles_.taps(); ++t) {
      int64_t filter_tap;
      const int64_t found = tiles_.FindTaps(t, t + 1, static_cast<int>(width_),
                                            &filter_tap, offsets_);
      touched_border_ |= tiles_.touched_border();
      if (found > 0) MultiplyTap(filter_tap);
    }
    StoreTile(count);
  }

 private:
  void SetScratch(int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    source_ = reinterpret_cast<A*>(p);
    p += RoundUp64(blocks_.depth_block * width_ * sizeof(A));
    sums_ = reinterpret_cast<A*>(p);
    row_ = sums_ + blocks_.columns * width_;
    p += RoundUp64(blocks_.columns * (width_ + 1) * sizeof(A));
    offsets_ = reinterpret_cast<int64_t*>(p);
  }

  void MultiplyTap(int64_t filter_tap) {
    const A* filter = reinterpret_cast<const A*>(call_.filter) +
                      filter_tap * gather_.tap_stride +
                      group_ * gather_.group_stride +
                      first_column_ * gather_.column_stride;
    for (int64_t depth = 0; depth < gather_.depth;
         depth += blocks_.depth_block) {
      const int64_t depths =
          std::min(blocks_.depth_block, gather_.depth - depth);
      TransposeSource(depth, depths);
      for (int64_t c = 0; c < columns_; c += 4) {
        MultiplyColumns(filter + depth, c, depths);
      }
    }
  }

  void MultiplyColumns(const A* filter, int64_t c, int64_t depths) {
    const int64_t left = columns_ - c;
    const int64_t stride = gather_.column_stride;
    A* sums = sums_ + c * width_;
    const A* from = filter + c * stride;
    if (left < 4) {
      // Fewer than four: one column at a time, all four rows the same.
      for (int64_t i = 0; i < left; ++i) {
        A one[4 * kMaxTileRows] = {};
        std::copy_n(sums + i * width_, width_, one);
        Multiply(from + i * stride, 0, depths, one);
        std::copy_n(one, width_, sums + i * width_);
      }
      return;
    }
    Multiply(from, stride, depths, sums);
  }

  void Multiply(const A* filter, int64_t stride, int64_t depths, A* sums) {
    switch (blocks_.vectors) {
      case 1:
        return MultiplyPixels<A, 1>(filter, stride, depths, source_, sums);
      case 2:
        return MultiplyPixels<A, 2>(filter, stride, depths, source_, sums);
      case 3:
        return MultiplyPixels<A, 3>(filter, stride, depths, source_, sums);
      default:
        return MultiplyPixels<A, 4>(filter, stride, depths, source_, sums);
    }
  }

  // source_[d][r] = the tap's source row r at depth + d, zero where it is
  // outside.
  void TransposeSource(int64_t depth, int64_t depths) {
    const T* source = call_.source +
                      (group_ * gather_.depth + depth) * gather_.source.channel;
    constexpr int kCount = kLanes<A>;
    for (int64_t r = 0; r < width_; r += kCount) {
      int64_t d = 0;
      if (gather_.source.channel == 1) {
        for (; d + kCount <= depths; d += kCount) {
          A rows[kCount * kCount];
          for (int i = 0; i < kCount; ++i) {
            const int64_t offset = offsets_[r + i];
            Store(rows + i * kCount,
                  offset < 0
                      ? Vec<A>{}
                      : Load(reinterpret_cast<const A*>(source + offset + d)));
          }
          TransposeSquare(rows, kCount, source_ + d * width_ + r, width_);
        }
      }
      for (; d < depths; ++d) {
        for (int i = 0; i < kCount; ++i) {
          const int64_t offset = offsets_[r + i];
          source_[d * width_ + r + i] =
              offset < 0
                  ? A(0)
                  : ToCompute(source[offset + d * gather_.source.channel]);
        }
      }
    }
  }

  void StoreTile(int64_t count) {
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t c = 0; c < columns_; ++c) {
        A sum = sums_[c * width_ + r];
        if (touched_border_ && sum != sum && call_.NeedsRepair()) {
          sum =
              ExactSum(call_, tiles_.PositionOf(r), group_, first_column_ + c);
        }
        row_[c] = sum;
      }
      StoreColumns(call_, row_, columns_,
                   group_ * gather_.columns + first_column_,
                   call_.result + tiles_.result_offset(r));
    }
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const Gather& gather_;
  const PixelTilesBlocks& blocks_;
  char* scratch_;
  const int64_t width_;
  RowTiles tiles_;

  // The unit at hand.
  int64_t group_ = 0, first_column_ = 0, columns_ = 0;
  bool touched_border_ = false;
  A* source_ = nullptr;
  A* sums_ = nullptr;
  A* row_ = nullptr;
  int64_t* offsets_ = nullptr;
};

template <typename T>
void RunPixelTiles(const GatherCall<T>& call, char* scratch,
                   const ParallelFor& parallel_for) {
  if constexpr (kNative<T>) {
    const PixelTiles<T> kernel(call, scratch);
    parallel_for(call.plan.units, 1,
                 [&](int64_t begin, int64_t end, int worker) {
                   PixelTiles<T> own = kernel;
                   for (int64_t unit = begin; unit < end; ++unit) {
                     own.RunUnit(unit, worker);
                   }
                 });
  }
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_TILES_INL_H_
