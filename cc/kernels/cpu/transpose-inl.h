// Transposition of small blocks in registers.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_TRANSPOSE_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_TRANSPOSE_INL_H_

// Lanes of a and b in turn: of their first halves (kHigh = 0) or second halves.
template <typename A, int kHigh, size_t... kLane>
inline Vec<A> Zip(Vec<A> a, Vec<A> b, std::index_sequence<kLane...>) {
  constexpr int kCount = kLanes<A>;
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(
      a, b,
      (static_cast<int>(kLane) / 2 + kHigh * kCount / 2 +
       (kLane % 2 == 1 ? kCount : 0))...);
#else
  using Index = std::conditional_t<sizeof(A) == 8, int64_t, int32_t>;
  typedef Index Mask __attribute__((vector_size(CT_VECTOR_BYTES)));
  return __builtin_shuffle(
      a, b,
      Mask{(static_cast<Index>(kLane) / 2 + kHigh * kCount / 2 +
            (kLane % 2 == 1 ? kCount : 0))...});
#endif
}

// Elements of all rows in turn: first those of lane 0. Pairing row i with row i
// + n/2 and writing the pairs next to each other is one step of a perfect
// shuffle; log2(n) of them, for n a power of two, sort by lane.
template <typename A, int kRows>
[[gnu::always_inline]] inline void ShuffleRows(Vec<A>* rows) {
  constexpr auto kIndex = std::make_index_sequence<kLanes<A>>();
  Vec<A> next[kRows];
#pragma GCC unroll 4
  for (int step = 1; step < kRows; step *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows / 2; ++i) {
      next[2 * i] = Zip<A, 0>(rows[i], rows[i + kRows / 2], kIndex);
      next[2 * i + 1] = Zip<A, 1>(rows[i], rows[i + kRows / 2], kIndex);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) rows[r] = next[r];
  }
}

// to[c * to_step + r] = from[r * from_step + c] for r, c < kLanes.
template <typename A>
inline void TransposeSquare(const A* from, int64_t from_step, A* to,
                            int64_t to_step) {
  constexpr int kCount = kLanes<A>;
  Vec<A> rows[kCount];
#pragma GCC unroll 16
  for (int r = 0; r < kCount; ++r) rows[r] = Load(from + r * from_step);
  ShuffleRows<A, kCount>(rows);
#pragma GCC unroll 16
  for (int c = 0; c < kCount; ++c) Store(to + c * to_step, rows[c]);
}

// The same for r < rows and c < columns, where masks cost nothing.
#if CT_VECTOR_BYTES == 64
template <typename A>
__attribute__((noinline)) void TransposePart(const A* from, int64_t from_step,
                                             int64_t rows, int64_t columns,
                                             A* to, int64_t to_step) {
  constexpr int kCount = kLanes<A>;
  Vec<A> lanes[kCount];
#pragma GCC unroll 16
  for (int r = 0; r < kCount; ++r) {
    lanes[r] = r < rows ? LoadPart(from + r * from_step, columns) : Vec<A>{};
  }
  ShuffleRows<A, kCount>(lanes);
#pragma GCC unroll 16
  for (int c = 0; c < kCount; ++c) {
    if (c < columns) StorePart(to + c * to_step, lanes[c], rows);
  }
}
#endif

// to[i * kRows + r] = from[r * step + i] for r < kRows, i < kLanes; kRows is a
// power of two.
template <typename A, int kRows>
inline void InterleaveVectors(const A* from, int64_t step, A* to) {
  Vec<A> rows[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) rows[r] = Load(from + r * step);
  ShuffleRows<A, kRows>(rows);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) Store(to + r * kLanes<A>, rows[r]);
}

// to[i * rows + r] = from[r * step + i] for r < rows <= kLanes, i < count.
// Reads and writes whole vectors: of each row up to kLanes - 1 elements beyond
// the last, of `to` up to kLanes * kLanes.
template <typename A>
void Interleave(const A* from, int64_t step, int64_t rows, int64_t count,
                A* to) {
  constexpr int64_t kCount = kLanes<A>;
  for (int64_t i = 0; i < count; i += kCount, from += kCount) {
    A* block = to + i * rows;
    if (rows == 1) {
      Store(block, Load(from));
    } else if (rows == 2) {
      InterleaveVectors<A, 2>(from, step, block);
    } else if (rows == 4) {
      InterleaveVectors<A, 4>(from, step, block);
    } else {
      Vec<A> lanes[kCount];
#pragma GCC unroll 16
      for (int64_t r = 0; r < kCount; ++r) {
        lanes[r] = Load(from + std::min(r, rows - 1) * step);
      }
      ShuffleRows<A, kCount>(lanes);
      // In ascending order: what a vector has too much, the next overwrites.
#pragma GCC unroll 16
      for (int64_t p = 0; p < kCount; ++p) Store(block + p * rows, lanes[p]);
    }
  }
}

// Rows or columns from which on a part of a square is transposed as one.
inline constexpr int64_t kLeastPart = 3;

// to[c * to_step + r] = from[r * from_step + c] for r < rows, c < columns.
template <typename T>
void Transpose(const T* from, int64_t from_step, int64_t rows, int64_t columns,
               Compute<T>* to, int64_t to_step) {
  using A = Compute<T>;
  constexpr int kCount = kLanes<A>;
  int64_t r = 0;
  for (; r + kCount <= rows; r += kCount) {
    int64_t c = 0;
    for (; c + kCount <= columns; c += kCount) {
      const T* block = from + r * from_step + c;
      if constexpr (kNative<T>) {
        TransposeSquare(reinterpret_cast<const A*>(block), from_step,
                        to + c * to_step + r, to_step);
      } else {
        A wide[kCount * kCount];
        for (int i = 0; i < kCount; ++i) {
          WidenRow<T>(block + i * from_step, 1, kCount, wide + i * kCount);
        }
        TransposeSquare(wide, kCount, to + c * to_step + r, to_step);
      }
    }
#if CT_VECTOR_BYTES == 64
    if constexpr (kNative<T>) {
      if (columns - c >= kLeastPart) {
        TransposePart(reinterpret_cast<const A*>(from + r * from_step + c),
                      from_step, kCount, columns - c, to + c * to_step + r,
                      to_step);
        c = columns;
      }
    }
#endif
    for (; c < columns; ++c) {
      WidenRow<T>(from + r * from_step + c, from_step, kCount,
                  to + c * to_step + r);
    }
  }
#if CT_VECTOR_BYTES == 64
  if constexpr (kNative<T>) {
    if (rows - r >= kLeastPart) {
      for (int64_t c = 0; c < columns; c += kCount) {
        TransposePart(reinterpret_cast<const A*>(from + r * from_step + c),
                      from_step, rows - r,
                      std::min(columns - c, int64_t{kCount}),
                      to + c * to_step + r, to_step);
      }
      r = rows;
    }
  }
#endif
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      to[c * to_step + r] = ToCompute(from[r * from_step + c]);
    }
  }
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_TRANSPOSE_INL_H_
