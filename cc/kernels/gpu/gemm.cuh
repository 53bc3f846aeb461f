// What the implicit-GEMM kernels share: which tile a block has, where its
// operands are, and how sums become results. The kernels differ in how they
// multiply.
//
// Operands are read in chunks of 16 bytes. A chunk runs along the depth ("deep"
// operands: the source of a gather, the filter of a transposed convolution) or
// along rows or columns (the filter of an input gradient, both operands of a
// filter gradient), whichever is adjacent in channels-last tensors; elements
// are fetched one by one where they are not adjacent.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_CUH_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_CUH_

#include "cc/kernels/gpu/gemm_params.h"
#include "cc/kernels/gpu/warp.cuh"

namespace conv_transpose_nd {
namespace gpu {

enum GemmKind {
  kGemmForward,
  kGemmInputGrad,
  kGemmInputGradFlat,  // gemm_flat.cuh
  kGemmFilterGrad
};

template <typename T>
struct alignas(16) Chunk {
  static constexpr int kLength = 16 / sizeof(T);
  T value[kLength];
};

// Up to `count` elements, `step` apart, and zeros.
template <typename T>
struct ChunkSource {
  const T* data;
  int64_t step;
  int32_t count;
  bool adjacent;  // all of them, 16-byte aligned; or count is 0

  CT_DEVICE Chunk<T> Load() const {
    Chunk<T> chunk;
    if (adjacent && count > 0) {
      chunk = *reinterpret_cast<const Chunk<T>*>(data);
    } else {
#pragma unroll
      for (int i = 0; i < Chunk<T>::kLength; ++i) {
        chunk.value[i] = i < count ? data[i * step] : T{};
      }
    }
    return chunk;
  }
};

struct GemmTables {
  const GemmPhase* phases;
  const GemmFold* folds;
  const GemmTap* taps;
};
CT_DEVICE GemmTables FindTables(const GemmParams& p, const void* workspace) {
  const unsigned char* tables =
      p.tables_are_here ? p.tables
                        : static_cast<const unsigned char*>(workspace);
  GemmTables result;
  result.phases = reinterpret_cast<const GemmPhase*>(tables);
  result.folds = reinterpret_cast<const GemmFold*>(result.phases + p.phases);
  result.taps = reinterpret_cast<const GemmTap*>(result.folds + p.folds);
  return result;
}

// What one block computes.
struct GemmTile {
  const GemmFold* folds;
  int32_t group;
  int32_t row;  // first
  int32_t column;
  int32_t split;
  // Gather.
  const GemmPhase* phase;
  const GemmTap* taps;
  // Filter gradient.
  int32_t first_position;
  int32_t end_position;
  int32_t tap;
};

template <int kRows, int kColumns>
CT_DEVICE GemmTile GatherTile(const GemmParams& p, const void* workspace) {
  const GemmTables tables = FindTables(p, workspace);
  const int32_t index = static_cast<int32_t>(blockIdx.x);
  int32_t low = 0, high = p.phases - 1;
  while (low < high) {
    const int32_t middle = (low + high + 1) / 2;
    if (tables.phases[middle].first_tile <= index) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  GemmTile tile{};
  tile.folds = tables.folds;
  tile.phase = tables.phases + low;
  tile.taps = tables.taps + tile.phase->first_tap;
  tile.split = static_cast<int32_t>(blockIdx.y);
  int32_t rest = index - tile.phase->first_tile;
  tile.column = rest % p.column_tiles * kColumns;
  rest /= p.column_tiles;
  tile.group = rest % p.groups;
  tile.row = rest / p.groups * kRows;
  return tile;
}

template <int kRows, int kColumns, int kDepth>
CT_DEVICE GemmTile FilterGradTile(const GemmParams& p, const void* workspace) {
  GemmTile tile{};
  tile.folds = FindTables(p, workspace).folds;
  int32_t rest = static_cast<int32_t>(blockIdx.x);
  tile.column = rest % p.column_tiles * kColumns;
  rest /= p.column_tiles;
  tile.row = rest % p.row_tiles * kRows;
  rest /= p.row_tiles;
  tile.group = rest % p.groups;
  rest /= p.groups;
  int32_t taps = 1;
  for (int a = 0; a < p.rank; ++a) taps *= p.filter_length[a];
  tile.tap = rest % taps;
  tile.split = rest / taps;
  tile.first_position = tile.split * p.blocks_per_split * kDepth;
  tile.end_position =
      Min(p.depth - tile.first_position, p.blocks_per_split * kDepth) +
      tile.first_position;
  return tile;
}

// The rows of a tile, in shared memory.
template <int kRows>
struct RowTable {
  int64_t source[kRows];  // element of a tap with no offset
  int64_t result[kRows];  // first element; -1: no such row
  int32_t coordinate[kMaxAxes][kRows];
};

// Coordinates of a row that does not exist: no tap brings them inside.
inline constexpr int32_t kOutside = -(1 << 30);

template <int kRows, int kThreads>
CT_DEVICE void FillGatherRows(const GemmParams& p, const GemmTile& tile,
                              RowTable<kRows>* rows) {
  for (int r = threadIdx.x; r < kRows; r += kThreads) {
    const bool exists = tile.row + r < tile.phase->rows;
    int32_t rest = tile.row + r;
    int64_t source = tile.group * p.source_group;
    int64_t result = tile.phase->result + tile.group * p.result_group;
    for (int a = p.rank - 1; a >= 0; --a) {
      const int32_t count = tile.phase->count[a];
      const int32_t at = rest % count;
      rest /= count;
      rows->coordinate[a][r] = exists ? at * p.source_step[a] : kOutside;
      source += at * p.source_axis[a];
      result += at * p.result_axis[a];
    }
    rows->source[r] = source + rest * p.source_batch;
    rows->result[r] = exists ? result + rest * p.result_batch : -1;
  }
}

// Of a filter gradient: also where the tile's tap shifts outputs along each
// axis, as the coordinates of row 0.
template <int kRows, int kThreads>
CT_DEVICE void FillFilterGradRows(const GemmParams& p, const GemmTile& tile,
                                  RowTable<kRows>* rows) {
  for (int r = threadIdx.x; r < kRows; r += kThreads) {
    const int32_t row = tile.row + r;
    const int64_t element =
        (static_cast<int64_t>(tile.tap) * p.rows + row) * p.filter_row +
        tile.group * p.result_group;
    rows->result[r] = row < p.rows ? element : -1;
  }
  if (threadIdx.x == 0) {
    int32_t rest = tile.tap;
    for (int a = p.rank - 1; a >= 0; --a) {
      const int32_t k = rest % p.filter_length[a];
      rest /= p.filter_length[a];
      rows->coordinate[a][0] = k * p.dilation[a] - p.pad_before[a];
    }
  }
}

template <int kRows>
CT_DEVICE bool Inside(const GemmParams& p, const RowTable<kRows>& rows, int row,
                      const GemmTap& tap) {
  bool inside = true;
  for (int a = 0; a < p.rank; ++a) {
    inside = inside &&
             static_cast<uint32_t>(rows.coordinate[a][row] + tap.offset[a]) <
                 static_cast<uint32_t>(p.source_length[a]);
  }
  return inside;
}

CT_DEVICE int32_t FoldOf(const GemmParams& p, int32_t column) {
  return column < p.fold ? 0 : column / p.fold;
}
CT_DEVICE int64_t FilterColumn(const GemmParams& p, const GemmTile& tile,
                               int32_t column) {
  const int32_t fold = FoldOf(p, column);
  return tile.folds[fold].filter + tile.group * p.filter_group +
         (column - fold * p.fold) * p.filter_column;
}
// Where a tile has its chunks: kMajor x kDepth elements, each thread some of
// them, chunk i of this thread being number threadIdx.x + i * kThreads.
// Deep: chunk number = row * chunks of a row + chunk. Else depth * chunks of
// all rows + chunk.
template <typename T, bool kDeep, int kMajor, int kDepth, int kThreads>
struct ChunkMap {
  static constexpr int kLength = Chunk<T>::kLength;
  static constexpr int kAcross = (kDeep ? kDepth : kMajor) / kLength;
  static constexpr int kChunks = kMajor * kDepth / kLength;
  static constexpr int kEach = (kChunks + kThreads - 1) / kThreads;

  CT_DEVICE static bool Has(int i) {
    return kChunks % kThreads == 0 ||
           static_cast<int>(threadIdx.x) + i * kThreads < kChunks;
  }
  CT_DEVICE static int Number(int i) { return threadIdx.x + i * kThreads; }
  // Index of the first element along the tile's rows or columns.
  CT_DEVICE static int Major(int i) {
    return kDeep ? Number(i) / kAcross : Number(i) % kAcross * kLength;
  }
  CT_DEVICE static int Depth(int i) {
    return kDeep ? Number(i) % kAcross * kLength : Number(i) / kAcross;
  }
};

// Operands of a gather, one depth block after the other. Of a block, Seek(i)
// precedes the i-th chunks.
template <typename T, GemmKind kKind, int kRows, int kColumns, int kDepth,
          int kThreads>
class GatherLoader {
 public:
  using First = ChunkMap<T, true, kRows, kDepth, kThreads>;
  using Second = ChunkMap<T, kKind == kGemmForward, kColumns, kDepth, kThreads>;
  static constexpr int kLength = Chunk<T>::kLength;
  static_assert(First::kEach == Second::kEach, "read side by side");
  // A thread's chunks of an operand that is not deep have one column, and
  // depths equally far apart: one pointer serves them.
  static constexpr bool kOneColumn = kKind == kGemmInputGrad;
  static constexpr int kSeconds = kOneColumn ? 1 : Second::kEach;
  static constexpr int kSecondStep = kThreads / Second::kAcross;
  static_assert(!kOneColumn || kThreads % Second::kAcross == 0, "one column");

  CT_DEVICE GatherLoader(const GemmParams& p, const GemmTile& tile,
                         const RowTable<kRows>& rows, const void* source,
                         const void* filter)
      : p_(p),
        tile_(tile),
        rows_(rows),
        source_(static_cast<const T*>(source)),
        filter_(static_cast<const T*>(filter)) {
    const int32_t per_tap = (p.depth + kDepth - 1) / kDepth;
    const int32_t all = tile.phase->taps * per_tap;
    const int32_t each = (all + p.splits - 1) / p.splits;
    const int32_t begin = Min(tile.split * each, all);
    blocks_ = Min(all - begin, each);
    tap_ = begin / per_tap;
    depth_ = begin % per_tap * kDepth;
    if (blocks_ > 0) SetTap();
  }

  CT_DEVICE int32_t Blocks() const { return blocks_; }

  CT_DEVICE void Seek(int) {}

  CT_DEVICE ChunkSource<T> FirstChunk(int i) const {
    const int32_t left =
        (inside_ >> i & 1) ? p_.depth - depth_ - First::Depth(i) : 0;
    return {first_[i], p_.source_channel, Min(left, kLength),
            p_.vector_first != 0};
  }

  CT_DEVICE ChunkSource<T> SecondChunk(int i) const {
    const int32_t depth_left = p_.depth - depth_ - Second::Depth(i);
    const int32_t column_left = p_.columns - tile_.column - Second::Major(i);
    if (kKind == kGemmForward) {
      return {second_[i], p_.filter_depth,
              column_left > 0 ? Min(depth_left, kLength) : 0,
              p_.vector_second != 0};
    }
    return {second_[0] + i * kSecondStep * p_.filter_depth, p_.filter_column,
            depth_left > 0 ? Min(column_left, kLength) : 0,
            p_.vector_second != 0};
  }

  CT_DEVICE void Advance() {
    depth_ += kDepth;
    if (depth_ >= p_.depth) {
      depth_ = 0;
      ++tap_;
      if (tap_ < tile_.phase->taps) SetTap();
      return;
    }
#pragma unroll
    for (int i = 0; i < First::kEach; ++i) {
      first_[i] += kDepth * p_.source_channel;
    }
#pragma unroll
    for (int i = 0; i < kSeconds; ++i) {
      second_[i] += kDepth * p_.filter_depth;
    }
  }

 private:
  CT_DEVICE void SetTap() {
    const GemmTap& tap = tile_.taps[tap_];
    inside_ = 0;
#pragma unroll
    for (int i = 0; i < First::kEach; ++i) {
      if (!First::Has(i)) continue;
      const int row = First::Major(i);
      if (Inside(p_, rows_, row, tap)) inside_ |= 1u << i;
      first_[i] = source_ + (rows_.source[row] + tap.source +
                             (depth_ + First::Depth(i)) * p_.source_channel);
    }
#pragma unroll
    for (int i = 0; i < kSeconds; ++i) {
      if (!Second::Has(i)) continue;
      // Columns that do not exist have no fold either.
      const int32_t column =
          Min(tile_.column + Second::Major(i), p_.columns - 1);
      second_[i] = filter_ + (FilterColumn(p_, tile_, column) + tap.filter +
                              (depth_ + Second::Depth(i)) * p_.filter_depth);
    }
  }

  const GemmParams& p_;
  const GemmTile& tile_;
  const RowTable<kRows>& rows_;
  const T* source_;
  const T* filter_;
  const T* first_[First::kEach] = {};
  const T* second_[kSeconds] = {};
  uint32_t inside_ = 0;
  int32_t blocks_;
  int32_t tap_;
  int32_t depth_;
};

// Operands of a filter gradient: positions are the depth, and those that meet
// no output through the tile's tap are zeros in both, so that no infinity is
// multiplied by zero. They are found one by one as they are read: kept for all
// chunks, they would take the registers of the sums.
template <typename T, GemmKind kKind, int kRows, int kColumns, int kDepth,
          int kThreads>
class FilterGradLoader {
 public:
  using First = ChunkMap<T, false, kRows, kDepth, kThreads>;
  using Second = ChunkMap<T, false, kColumns, kDepth, kThreads>;
  static constexpr int kLength = Chunk<T>::kLength;
  // Both maps give a thread the same positions, so that it finds them once.
  static_assert(kRows == kColumns, "square tiles");

  CT_DEVICE FilterGradLoader(const GemmParams& p, const GemmTile& tile,
                             const RowTable<kRows>& rows, const void* input,
                             const void* output_grad)
      : p_(p),
        tile_(tile),
        rows_(rows),
        input_(static_cast<const T*>(input)),
        output_grad_(static_cast<const T*>(output_grad)),
        position_(tile.first_position) {}

  CT_DEVICE int32_t Blocks() const {
    return (tile_.end_position - tile_.first_position + kDepth - 1) / kDepth;
  }

  CT_DEVICE ChunkSource<T> FirstChunk(int i) const {
    const int32_t left = p_.rows - tile_.row - First::Major(i);
    return {output_grad_ + first_, p_.gradient_channel,
            inside_ ? Min(left, kLength) : 0, p_.vector_first != 0};
  }
  CT_DEVICE ChunkSource<T> SecondChunk(int i) const {
    const int32_t left = p_.columns - tile_.column - Second::Major(i);
    return {input_ + second_, p_.source_channel,
            inside_ ? Min(left, kLength) : 0, p_.vector_second != 0};
  }

  CT_DEVICE void Advance() { position_ += kDepth; }

  CT_DEVICE void Seek(int i) {
    int32_t rest = position_ + First::Depth(i);
    bool inside = First::Has(i) && rest < tile_.end_position;
    int64_t first = tile_.group * p_.gradient_group +
                    (tile_.row + First::Major(i)) * p_.gradient_channel;
    int64_t second = tile_.group * p_.source_group +
                     (tile_.column + Second::Major(i)) * p_.source_channel;
#pragma unroll 1
    for (int a = p_.rank - 1; a >= 0; --a) {
      const int32_t quotient = Divide(rest, p_.input_length[a]);
      const int32_t at =
          rest - quotient * static_cast<int32_t>(p_.input_length[a].divisor);
      const int32_t output = at * p_.stride[a] + rows_.coordinate[a][0];
      rest = quotient;
      inside = inside && static_cast<uint32_t>(output) <
                             static_cast<uint32_t>(p_.output_length[a]);
      first += output * p_.gradient_axis[a];
      second += at * p_.source_axis[a];
    }
    inside_ = inside;
    first_ = first + rest * p_.gradient_batch;
    second_ = second + rest * p_.source_batch;
  }

 private:
  const GemmParams& p_;
  const GemmTile& tile_;
  const RowTable<kRows>& rows_;
  const T* input_;
  const T* output_grad_;
  int64_t first_;
  int64_t second_;
  bool inside_;
  int32_t position_;
};

// The two kinds of kernels behind one name.
template <typename T, GemmKind kKind, int kRows, int kColumns, int kDepth,
          int kThreads>
struct GemmOf {
  using Loader = GatherLoader<T, kKind, kRows, kColumns, kDepth, kThreads>;
  CT_DEVICE static GemmTile Tile(const GemmParams& p, const void* workspace) {
    return GatherTile<kRows, kColumns>(p, workspace);
  }
  CT_DEVICE static void FillRows(const GemmParams& p, const GemmTile& tile,
                                 RowTable<kRows>* rows) {
    FillGatherRows<kRows, kThreads>(p, tile, rows);
  }
};
template <typename T, int kRows, int kColumns, int kDepth, int kThreads>
struct GemmOf<T, kGemmFilterGrad, kRows, kColumns, kDepth, kThreads> {
  using Loader =
      FilterGradLoader<T, kGemmFilterGrad, kRows, kColumns, kDepth, kThreads>;
  CT_DEVICE static GemmTile Tile(const GemmParams& p, const void* workspace) {
    return FilterGradTile<kRows, kColumns, kDepth>(p, workspace);
  }
  CT_DEVICE static void FillRows(const GemmParams& p, const GemmTile& tile,
                                 RowTable<kRows>* rows) {
    FillFilterGradRows<kRows, kThreads>(p, tile, rows);
  }
};

// Activations of a few instructions; the others are calls that would be
// repeated for every element of an unrolled loop.
inline constexpr int32_t kLastSimpleActivation = 3;
template <typename A>
CT_DEVICE A ActivateSimple(int32_t activation, A z) {
  if (activation == 0 || !(z < A(0) || activation == 2)) return z;
  if (activation == 3) return z * A(0.2);
  return z < A(0) ? A(0) : (z > A(6) ? A(6) : z);
}

// A column's fold and its place in it, without a division for each column.
struct ColumnCursor {
  int32_t fold;
  int32_t channel;

  CT_DEVICE void Advance(const GemmParams& p) {
    ++channel;
    if (channel == p.fold) {
      channel = 0;
      ++fold;
    }
  }
};
CT_DEVICE ColumnCursor CursorAt(const GemmParams& p, int32_t column) {
  const int32_t fold = FoldOf(p, column);
  return {fold, column - fold * p.fold};
}
template <typename T>
CT_DEVICE Accumulator<T> BiasAt(const GemmParams& p, const GemmTile& tile,
                                const ColumnCursor& at, const T* bias) {
  if (bias == nullptr) return 0;
  return Widen(bias[tile.group * p.fold + at.channel]);
}
CT_DEVICE int64_t ElementAt(const GemmParams& p, const GemmTile& tile,
                            const ColumnCursor& at) {
  return tile.folds[at.fold].result + at.channel * p.result_channel;
}

// Where sums of a range of depth wait for those of the others, in a filter
// gradient by element, in a gather by tile: results of phases without a tap
// have none.
template <typename A, int kRows, int kColumns>
CT_DEVICE A* PartialSums(const GemmParams& p, const GemmTile& tile,
                         int64_t result, int row, int across, void* workspace) {
  if (tile.phase == nullptr) {
    return static_cast<A*>(workspace) +
           (tile.split * p.elements + result + tile.column + across);
  }
  A* sums = reinterpret_cast<A*>(static_cast<char*>(workspace) + p.partials);
  const int64_t index = static_cast<int64_t>(tile.split) * gridDim.x +
                        static_cast<int64_t>(blockIdx.x);
  return sums + (index * (kRows * kColumns) + row * kColumns + across);
}

// Turns sums into results: rows [0, slice_rows) of `slice`, `pitch` sums each,
// are rows row_of(r) of the tile. A slice and not the whole tile, so that it
// fits where the operands were.
template <typename T, int kRows, int kColumns, int kThreads, typename RowOf>
CT_DEVICE void StoreSlice(const GemmParams& p, const GemmTile& tile,
                          const RowTable<kRows>& rows, Accumulator<T>* slice,
                          int slice_rows, int pitch, const T* bias, T* result,
                          void* workspace, RowOf row_of) {
  using A = Accumulator<T>;
  constexpr int kLength = Chunk<T>::kLength;
  constexpr int kAcross = kColumns / kLength;
#pragma unroll 1
  for (int i = threadIdx.x; i < slice_rows * kAcross; i += kThreads) {
    const int r = p.rows_adjacent ? i % slice_rows : i / kAcross;
    const int across = p.rows_adjacent ? i / slice_rows : i % kAcross;
    const int64_t row = rows.result[row_of(r)];
    const int32_t column = tile.column + across * kLength;
    if (row < 0 || column >= p.columns) continue;
    const int count = Min(p.columns - column, int32_t{kLength});
    A* sums = slice + r * pitch + across * kLength;
    if (p.store_partials) {
      A* partial = PartialSums<A, kRows, kColumns>(p, tile, row, row_of(r),
                                                   across * kLength, workspace);
      const int stored = tile.phase != nullptr ? kLength : count;
      for (int c = 0; c < stored; ++c) partial[c] = sums[c];
      continue;
    }
    const ColumnCursor begin = CursorAt(p, column);
    if (p.activation > kLastSimpleActivation) {
      ColumnCursor at = begin;
#pragma unroll 1
      for (int c = 0; c < count; ++c, at.Advance(p)) {
        sums[c] = Activate(p.activation, sums[c] + BiasAt(p, tile, at, bias));
      }
    }
    const bool simple = p.activation <= kLastSimpleActivation;
    Chunk<T> chunk;
    ColumnCursor at = begin;
#pragma unroll
    for (int c = 0; c < kLength; ++c, at.Advance(p)) {
      A sum = sums[c];
      if (simple && c < count) {
        sum = ActivateSimple(p.activation, sum + BiasAt(p, tile, at, bias));
      }
      Narrow(sum, &chunk.value[c]);
    }
    if (p.vector_result) {
      *reinterpret_cast<Chunk<T>*>(result + row + ElementAt(p, tile, begin)) =
          chunk;
      continue;
    }
    at = begin;
#pragma unroll
    for (int c = 0; c < kLength; ++c, at.Advance(p)) {
      if (c < count) result[row + ElementAt(p, tile, at)] = chunk.value[c];
    }
  }
}

// The sum of one element by definition, if a tap of its row is outside.
template <typename T, int kRows>
CT_DEVICE bool SumInside(const GemmParams& p, const GemmTile& tile,
                         const RowTable<kRows>& rows, int row, int32_t column,
                         const T* source, const T* filter,
                         Accumulator<T>* sum) {
  bool complete = true;
  *sum = 0;
#pragma unroll 1
  for (int t = 0; t < tile.phase->taps; ++t) {
    const GemmTap& tap = tile.taps[t];
    if (!Inside(p, rows, row, tap)) {
      complete = false;
      continue;
    }
    const T* s = source + rows.source[row] + tap.source;
    const T* f = filter + FilterColumn(p, tile, column) + tap.filter;
#pragma unroll 1
    for (int32_t d = 0; d < p.depth; ++d) {
      *sum += Widen(s[d * p.source_channel]) * Widen(f[d * p.filter_depth]);
    }
  }
  return !complete;
}

// A tap that is outside multiplies the filter by zeros, and 0 * infinity is
// NaN: results that are NaN in rows with such taps are computed again. Called
// by all threads, after a barrier that follows the last store.
template <typename T, int kRows, int kColumns, int kThreads>
CT_DEVICE void RepairBorders(const GemmParams& p, const GemmTile& tile,
                             const RowTable<kRows>& rows, const T* source,
                             const T* filter, const T* bias, T* result) {
#pragma unroll 1
  for (int i = threadIdx.x; i < kRows * kColumns; i += kThreads) {
    const int row = i / kColumns;
    const int32_t column = tile.column + i % kColumns;
    if (rows.result[row] < 0 || column >= p.columns) continue;
    const ColumnCursor at = CursorAt(p, column);
    T* element = result + rows.result[row] + ElementAt(p, tile, at);
    const Accumulator<T> stored = Widen(*element);
    if (stored == stored) continue;
    Accumulator<T> sum;
    if (SumInside(p, tile, rows, row, column, source, filter, &sum)) {
      Narrow(Activate(p.activation, sum + BiasAt(p, tile, at, bias)), element);
    }
  }
}

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_CUH_
