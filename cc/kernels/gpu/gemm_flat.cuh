// Operands of an input gradient of few output channels. These are too few to be
// a depth of their own, tap by tap, so every channel of every tap has an entry
// in the table of taps, of depth 1, and a block of depth is so many of them: a
// chunk of the source is gathered element by element, one of the filter is read
// whole.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_FLAT_CUH_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_FLAT_CUH_

#include "cc/kernels/gpu/gemm.cuh"

namespace conv_transpose_nd {
namespace gpu {

// `count` elements of one row by as many taps, and zeros; as ChunkSource.
template <typename T, int kRows>
struct FlatSource {
  static constexpr bool adjacent = false;
  const T* data;
  const GemmParams& p;
  const RowTable<kRows>& rows;
  const GemmTap* taps;
  int32_t row;
  int32_t count;

  CT_DEVICE uint32_t InsideMask() const {
    uint32_t inside = 0;
#pragma unroll
    for (int e = 0; e < Chunk<T>::kLength; ++e) {
      if (e < count) inside |= 1u << e;
    }
#pragma unroll 1
    for (int a = 0; a < p.rank; ++a) {
      const int32_t coordinate = rows.coordinate[a][row];
      const auto length = static_cast<uint32_t>(p.source_length[a]);
#pragma unroll
      for (int e = 0; e < Chunk<T>::kLength; ++e) {
        if (e < count &&
            static_cast<uint32_t>(coordinate + taps[e].offset[a]) >= length) {
          inside &= ~(1u << e);
        }
      }
    }
    return inside;
  }

  CT_DEVICE Chunk<T> Load() const {
    const uint32_t inside = InsideMask();
    const T* const from = data + rows.source[row];
    Chunk<T> chunk;
#pragma unroll
    for (int e = 0; e < Chunk<T>::kLength; ++e) {
      chunk.value[e] = (inside >> e & 1) ? from[taps[e].source] : T{};
    }
    return chunk;
  }
};

template <typename T, int kRows, int kColumns, int kDepth, int kThreads>
class FlatLoader {
 public:
  using First = ChunkMap<T, true, kRows, kDepth, kThreads>;
  using Second = ChunkMap<T, false, kColumns, kDepth, kThreads>;
  static constexpr int kLength = Chunk<T>::kLength;
  static_assert(First::kEach == Second::kEach, "read side by side");
  static_assert(kThreads % Second::kAcross == 0, "a thread has one column");

  CT_DEVICE FlatLoader(const GemmParams& p, const GemmTile& tile,
                       const RowTable<kRows>& rows, const void* source,
                       const void* filter)
      : p_(p),
        tile_(tile),
        rows_(rows),
        source_(static_cast<const T*>(source)) {
    const int32_t all = (tile.phase->taps + kDepth - 1) / kDepth;
    const int32_t each = (all + p.splits - 1) / p.splits;
    const int32_t begin = Min(tile.split * each, all);
    blocks_ = Min(all - begin, each);
    tap_ = begin * kDepth;
    // Columns that do not exist have no fold either.
    const int32_t column = Min(tile.column + Second::Major(0), p.columns - 1);
    filter_ = static_cast<const T*>(filter) + FilterColumn(p, tile, column);
  }

  CT_DEVICE int32_t Blocks() const { return blocks_; }

  CT_DEVICE void Seek(int) {}

  CT_DEVICE FlatSource<T, kRows> FirstChunk(int i) const {
    const int32_t tap = tap_ + First::Depth(i);
    return {source_,         p_,
            rows_,           tile_.taps + tap,
            First::Major(i), Min(tile_.phase->taps - tap, kLength)};
  }

  CT_DEVICE ChunkSource<T> SecondChunk(int i) const {
    const int32_t tap = tap_ + Second::Depth(i);
    const int32_t left = p_.columns - tile_.column - Second::Major(i);
    const bool exists = tap < tile_.phase->taps;
    return {filter_ + (exists ? tile_.taps[tap].filter : 0), p_.filter_column,
            exists ? Min(left, kLength) : 0, p_.vector_second != 0};
  }

  CT_DEVICE void Advance() { tap_ += kDepth; }

 private:
  const GemmParams& p_;
  const GemmTile& tile_;
  const RowTable<kRows>& rows_;
  const T* source_;
  const T* filter_;
  int32_t blocks_;
  int32_t tap_;
};

template <typename T, int kRows, int kColumns, int kDepth, int kThreads>
struct GemmOf<T, kGemmInputGradFlat, kRows, kColumns, kDepth, kThreads>
    : GemmOf<T, kGemmInputGrad, kRows, kColumns, kDepth, kThreads> {
  using Loader = FlatLoader<T, kRows, kColumns, kDepth, kThreads>;
};

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_FLAT_CUH_
