// The register tiles: step 7 of the path of a call, where the multiply-adds
// are.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_MICROKERNEL_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_MICROKERNEL_INL_H_

// Tiles of 12, 8, 6, 4, 2 and 1 rows are compiled; the next smaller one.
inline int SmallerTile(int rows) {
  return rows == 12 ? 8 : rows == 6 ? 4 : rows / 2;
}

// tile[r][c] (+)= sum over t < taps, d < depth of rows[t * kRows + r][d] *
// panel_t[d][c], where panel_t = panel + tap_offsets[t] and a panel row holds
// kVectors vectors. accumulate: start from the tile's contents instead of zero.
template <typename A, int kRows, int kVectors>
void MultiplyRows(const A* const* rows, const int64_t* tap_offsets,
                  int64_t taps, int64_t depth, const A* panel, bool accumulate,
                  A* tile) {
  constexpr int kWidth = kVectors * kLanes<A>;
  Vec<A> sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] =
          accumulate ? Load(tile + r * kWidth + v * kLanes<A>) : Vec<A>{};
    }
  }
  for (int64_t t = 0; t < taps; ++t) {
    const A* filter = panel + tap_offsets[t];
    const A* row[kRows];
    for (int r = 0; r < kRows; ++r) row[r] = rows[t * kRows + r];
    for (int64_t d = 0; d < depth; ++d) {
      Vec<A> weights[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v)
        weights[v] = Load(filter + v * kLanes<A>);
      filter += kWidth;
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const A value = row[r][d];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sums[r][v] += value * weights[v];
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v)
      Store(tile + r * kWidth + v * kLanes<A>, sums[r][v]);
  }
}

// sums[c][p] += sum over d < depth of filter[c * column_stride + d *
// depth_stride] * window[d * window_stride + p], p < kVectors vectors; rows of
// `sums` are sums_stride apart.
template <typename T, int kColumns, int kVectors>
void MultiplyWindow(const Compute<T>* window, int64_t window_stride,
                    int64_t depth, const T* filter, int64_t depth_stride,
                    int64_t column_stride, Compute<T>* sums,
                    int64_t sums_stride) {
  using A = Compute<T>;
  Vec<A> acc[kColumns][kVectors];
  for (int c = 0; c < kColumns; ++c) {
    for (int v = 0; v < kVectors; ++v)
      acc[c][v] = Load(sums + c * sums_stride + v * kLanes<A>);
  }
  for (int64_t d = 0; d < depth; ++d) {
    const A* source = window + d * window_stride;
    const T* weight = filter + d * depth_stride;
    Vec<A> values[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) values[v] = Load(source + v * kLanes<A>);
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      const A w = ToCompute(weight[c * column_stride]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[c][v] += w * values[v];
    }
  }
  for (int c = 0; c < kColumns; ++c) {
    for (int v = 0; v < kVectors; ++v)
      Store(sums + c * sums_stride + v * kLanes<A>, acc[c][v]);
  }
}

// tile[r][c] += sum over p < positions of left[p][row + r] * right[p][c], c <
// kVectors vectors; rows of the tile are tile_stride apart.
template <typename A, int kRows, int kVectors>
void MultiplyPositions(const A* const* left, int64_t row, const A* const* right,
                       int64_t positions, A* tile, int64_t tile_stride) {
  Vec<A> sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = Load(tile + r * tile_stride + v * kLanes<A>);
    }
  }
  for (int64_t p = 0; p < positions; ++p) {
    const A* column = right[p];
    const A* values_left = left[p] + row;
    Vec<A> values[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) values[v] = Load(column + v * kLanes<A>);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const A value = values_left[r];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sums[r][v] += value * values[v];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      Store(tile + r * tile_stride + v * kLanes<A>, sums[r][v]);
    }
  }
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_MICROKERNEL_INL_H_
