// The register tiles: step 7 of the path of a call, where the multiply-adds
// are.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_MICROKERNEL_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_MICROKERNEL_INL_H_

// A register tile is a function of its own: inlined into a large one, GCC 12
// keeps a vector of weights on the stack, which halves the speed.
#define CT_NOINLINE __attribute__((noinline))

// Rows of the largest register tile of one or two vectors; see TileRows in
// plan_blocks.h.
inline constexpr int kTileRows = CT_REGISTERS >= 32 ? 12 : 6;

// Calls run(rows, vectors) with the tile's size as compile-time constants. Four
// vectors: of at most six rows, and with 32 registers.
template <typename Run>
inline void WithTile(int rows, int vectors, const Run& run) {
  const auto pick = [&](auto fixed_vectors) {
    if constexpr (fixed_vectors() < 4) {
      if (rows == 12) {
        return run(std::integral_constant<int, 12>(), fixed_vectors);
      }
      if (rows == 8) {
        return run(std::integral_constant<int, 8>(), fixed_vectors);
      }
    }
    switch (rows) {
      case 6:
        return run(std::integral_constant<int, 6>(), fixed_vectors);
      case 4:
        return run(std::integral_constant<int, 4>(), fixed_vectors);
      case 2:
        return run(std::integral_constant<int, 2>(), fixed_vectors);
      default:
        return run(std::integral_constant<int, 1>(), fixed_vectors);
    }
  };
  if (vectors == 2) return pick(std::integral_constant<int, 2>());
  if constexpr (CT_REGISTERS >= 32) {
    if (vectors == 4) return pick(std::integral_constant<int, 4>());
  }
  pick(std::integral_constant<int, 1>());
}

// Where a register tile of rows of vectors goes. Either to be added to later,
// or as a part of the result: on top of the bias, activated.
template <typename A>
struct TileRows {
  A* const* rows;
  int64_t offset = 0;       // of the tile's first column in each row
  bool accumulate = false;  // start from what the rows hold
  const A* bias = nullptr;  // or from this, where there is one
  bool relu = false;
  bool stream = false;  // past the caches; rows on a boundary of the vector
  int64_t columns = 0;  // so many of the tile's columns there are; 0: all
  // Complete sums of pairs go here instead, rounded; *found_nan is set where
  // one is NaN.
  BFloat16* const* rounded = nullptr;
  bool* found_nan = nullptr;
};

// Lanes of vector v of a row that has so many columns.
template <typename A>
inline int64_t LanesOf(int64_t columns, int v) {
  return std::clamp<int64_t>(columns - v * kLanes<A>, 0, kLanes<A>);
}

// What a register tile reads: row r of tap t is rows[t * kRows + r], or, where
// the tile is one of kFound rows, rows[t * step + r] from `depth` on. W: a word
// of pairs-inl.h.
template <typename W>
struct RowsOfTaps {
  const W* const* rows;
  int64_t step = 0;
  int64_t depth = 0;
  int64_t filter_step = 0;  // from a row of a filter kInPlace to the next
};

// What a register tile fetches for a later one while it multiplies: `step`
// bytes per multiplied depth, from `beyond` bytes after the first row of each
// tap. Few at a time: twelve rows at once kept the tile itself waiting. Of a
// filter kInPlace: the two cache lines that begin offsets[d] bytes after that.
template <typename W>
struct RowsAhead {
  const W* const* rows = nullptr;
  int64_t row_step = 0;
  int64_t beyond = 0;
  int64_t step = 0;
  const int64_t* offsets = nullptr;
};

// to[r][c] = sum over t < taps, d < depth of row(t, r)[d] * panel_t[d][c],
// where panel_t = panel + tap_offsets[t] and a panel row holds kVectors
// vectors. kFound and kInPlace are fixed when compiled: with twelve rows each
// register counts.
template <typename W, int kRows, int kVectors, bool kFound = false,
          bool kAhead = false, bool kInPlace = false>
CT_NOINLINE void MultiplyRows(const RowsOfTaps<W>& from,
                              const int64_t* tap_offsets, int64_t taps,
                              int64_t depth, const W* panel,
                              const TileRows<SumOf<W>>& to,
                              const RowsAhead<W>& ahead = {}) {
  using A = SumOf<W>;
  Vec<A> sums[kRows][kVectors];
  if (to.accumulate && to.columns > 0) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const A* start = to.rows[r] + to.offset;
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = LoadPart(start + v * kLanes<A>, LanesOf<A>(to.columns, v));
      }
    }
  } else if (to.accumulate) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const A* start = to.rows[r] + to.offset;
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = Load(start + v * kLanes<A>);
      }
    }
  } else {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sums[0][v] = Vec<A>{};
      if (to.bias != nullptr) {
        const A* bias = to.bias + v * kLanes<A>;
        sums[0][v] = to.columns > 0 ? LoadPart(bias, LanesOf<A>(to.columns, v))
                                    : Load(bias);
      }
#pragma GCC unroll 16
      for (int r = 1; r < kRows; ++r) sums[r][v] = sums[0][v];
    }
  }
  for (int64_t t = 0; t < taps; ++t) {
    const W* filter = panel + tap_offsets[t];
    const W* row[kRows];
    const W* const* rows = from.rows + t * (kFound ? from.step : kRows);
    for (int r = 0; r < kRows; ++r) {
      row[r] = rows[r] + (kFound ? from.depth : 0);
    }
    const char* next = nullptr;
    if (kAhead) {
      next = reinterpret_cast<const char*>(ahead.rows[t * ahead.row_step]) +
             ahead.beyond;
    }
    for (int64_t d = 0; d < depth; ++d) {
      if (kAhead && kInPlace) {
        __builtin_prefetch(next + ahead.offsets[d], 0, 2);
        __builtin_prefetch(next + ahead.offsets[d] + 64, 0, 2);
      } else if (kAhead) {
        __builtin_prefetch(next);
        next += ahead.step;
      }
      Vec<A> weights[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v)
        weights[v] = LoadWords(filter + v * kLanes<A>);
      filter += kInPlace ? from.filter_step : kVectors * kLanes<A>;
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const auto value = ForAllLanes(row[r] + d);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) {
          sums[r][v] = MultiplyAdd(value, weights[v], sums[r][v]);
        }
      }
    }
  }
  if (to.relu) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = sums[r][v] < A(0) ? Vec<A>{} : sums[r][v];
      }
    }
  }
#ifdef CT_BFLOAT16_PAIRS
  if constexpr (std::is_same_v<W, BFloat16Pair>) {
    if (to.rounded != nullptr) {
      bool nan = false;
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        nan |= StoreRounded<kVectors>(sums[r], to.stream,
                                      to.rounded[r] + to.offset);
      }
      if (nan) *to.found_nan = true;
      return;
    }
  }
#endif
  if (to.columns > 0) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const int64_t lanes = LanesOf<A>(to.columns, v);
      if (to.stream && lanes == kLanes<A>) {
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          Stream(to.rows[r] + to.offset + v * kLanes<A>, sums[r][v]);
        }
      } else {
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          StorePart(to.rows[r] + to.offset + v * kLanes<A>, sums[r][v], lanes);
        }
      }
    }
    return;
  }
  if (to.stream) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      A* row = to.rows[r] + to.offset;
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        Stream(row + v * kLanes<A>, sums[r][v]);
      }
    }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    A* row = to.rows[r] + to.offset;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) Store(row + v * kLanes<A>, sums[r][v]);
  }
}

// sums[r][p] += sum over d < depth of filter[r][d] * window[d * step + p],
// p < kVectors vectors.
template <typename A, int kRows, int kVectors>
CT_NOINLINE void MultiplyWindow(const A* const* filter, int64_t depth,
                                const A* window, int64_t step, A* const* sums,
                                int64_t position) {
  Vec<A> acc[kRows][kVectors];
  const A* row[kRows];
  for (int r = 0; r < kRows; ++r) {
    row[r] = filter[r];
    for (int v = 0; v < kVectors; ++v) {
      acc[r][v] = Load(sums[r] + position + v * kLanes<A>);
    }
  }
  window += position;
  for (int64_t d = 0; d < depth; ++d) {
    Vec<A> values[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      values[v] = Load(window + v * kLanes<A>);
    }
    window += step;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const A weight = row[r][d];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[r][v] += weight * values[v];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      Store(sums[r] + position + v * kLanes<A>, acc[r][v]);
    }
  }
}

// A tap of a window: where its positions begin, and its first filter row.
template <typename A>
struct WindowTap {
  const A* window;
  const A* filter;
};

// sums[r * sums_step + p] = sum over t < taps, d < depth of filter row
// min(r, last)[d] * window[d * step + p], p < kVectors vectors from `position`
// on; filter rows are row_step apart.
template <typename A, int kRows, int kVectors>
CT_NOINLINE void MultiplyWindowTaps(const WindowTap<A>* taps, int64_t count,
                                    int64_t row_step, int64_t last,
                                    int64_t depth, int64_t step,
                                    int64_t position, A* sums,
                                    int64_t sums_step) {
  Vec<A> acc[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) acc[r][v] = Vec<A>{};
  }
  for (int64_t t = 0; t < count; ++t) {
    const A* row[kRows];
    for (int r = 0; r < kRows; ++r) {
      row[r] = taps[t].filter + std::min<int64_t>(r, last) * row_step;
    }
    const A* window = taps[t].window + position;
    for (int64_t d = 0; d < depth; ++d, window += step) {
      Vec<A> values[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        values[v] = Load(window + v * kLanes<A>);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const A weight = row[r][d];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) acc[r][v] += weight * values[v];
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    A* to = sums + std::min<int64_t>(r, last) * sums_step + position;
    for (int v = 0; v < kVectors; ++v) Store(to + v * kLanes<A>, acc[r][v]);
  }
}

// tile[r][c] (+)= sum over p < positions of left[p * left_step + r] *
// right[at[p] + c], c < kVectors vectors; rows of the tile are tile_stride
// apart. On the way it fetches what lies at ahead + ahead_at[p].
template <typename W, int kRows, int kVectors>
CT_NOINLINE void MultiplyPositions(const W* left, int64_t left_step,
                                   const W* right, const int64_t* at,
                                   int64_t positions, const W* ahead,
                                   const int64_t* ahead_at, bool accumulate,
                                   SumOf<W>* tile, int64_t tile_stride) {
  using A = SumOf<W>;
  Vec<A> sums[kRows][kVectors];
  // What is added to at the end has arrived by then.
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = Vec<A>{};
      __builtin_prefetch(tile + r * tile_stride + v * kLanes<A>, 1);
    }
  }
  for (int64_t p = 0; p < positions; ++p) {
    const W* column = right + at[p];
    __builtin_prefetch(ahead + ahead_at[p], 0, 2);
    Vec<A> values[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      values[v] = LoadWords(column + v * kLanes<A>);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const auto value = ForAllLanes(left + r);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = MultiplyAdd(value, values[v], sums[r][v]);
      }
    }
    left += left_step;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      A* to = tile + r * tile_stride + v * kLanes<A>;
      if (accumulate) sums[r][v] += Load(to);
      Store(to, sums[r][v]);
    }
  }
}

// tile[r][c] (+)= sum over the positions s of all spans of lines[at[r] +
// span.first + s * step] * columns[span.columns + s * columns_step + c], c <
// kVectors vectors; rows of the tile are tile_stride apart. On the way it
// fetches a cache line per position from `ahead` on. stream: sums go past the
// caches.
template <typename A, int kRows, int kVectors>
CT_NOINLINE void MultiplyLines(const A* lines, const int64_t* at, int64_t step,
                               const A* columns, int64_t columns_step,
                               const LineSpans& spans, const A* ahead,
                               bool accumulate, bool stream, A* tile,
                               int64_t tile_stride) {
  Vec<A> sums[kRows][kVectors];
  const A* row[kRows];
  // What is added to at the end has arrived by then.
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    row[r] = lines + at[r];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = Vec<A>{};
      if (!stream) {
        __builtin_prefetch(tile + r * tile_stride + v * kLanes<A>, 1);
      }
    }
  }
  for (int64_t n = 0; n < spans.count; ++n) {
    const LineSpan& span = spans.spans[n];
    int64_t i = span.first;
    const A* column = columns + span.columns;
    const A* const end = column + span.count * columns_step;
    for (; column != end; column += columns_step, i += step) {
      __builtin_prefetch(ahead, 0, 2);
      ahead += 64 / sizeof(A);
      Vec<A> values[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        values[v] = Load(column + v * kLanes<A>);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const A value = row[r][i];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sums[r][v] += value * values[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      A* to = tile + r * tile_stride + v * kLanes<A>;
      if (accumulate) sums[r][v] += Load(to);
      if (stream) {
        Stream(to, sums[r][v]);
      } else {
        Store(to, sums[r][v]);
      }
    }
  }
}

// to[r][c] = sum over d < depth of left[r * step + at[d]] * filter[d *
// filter_step + c], c < kVectors vectors, without bias or activation. Where
// `ahead` is given it fetches ahead + d * ahead_step on the way.
template <typename A, int kRows, int kVectors>
CT_NOINLINE void MultiplyCopies(const A* left, int64_t step, const int64_t* at,
                                int64_t depth, const A* filter,
                                int64_t filter_step, const A* ahead,
                                int64_t ahead_step, const TileRows<A>& to) {
  Vec<A> sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = Vec<A>{};
      if (to.accumulate) {
        __builtin_prefetch(to.rows[r] + to.offset + v * kLanes<A>, 1);
      }
    }
  }
  if (ahead == nullptr) ahead = filter, ahead_step = 0;
  for (int64_t d = 0; d < depth; ++d) {
    Vec<A> weights[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      weights[v] = Load(filter + v * kLanes<A>);
    filter += filter_step;
    __builtin_prefetch(ahead, 0, 2);
    ahead += ahead_step;
    // An address per three rows: registers for all of them there are not.
    const A* row = left + at[d];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      if (r > 0 && r % 3 == 0) row += 3 * step;
      const A value = row[r % 3 * step];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sums[r][v] += value * weights[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    A* row = to.rows[r] + to.offset;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      if (to.accumulate) sums[r][v] += Load(row + v * kLanes<A>);
      if (to.stream) {
        Stream(row + v * kLanes<A>, sums[r][v]);
      } else {
        Store(row + v * kLanes<A>, sums[r][v]);
      }
    }
  }
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_MICROKERNEL_INL_H_
