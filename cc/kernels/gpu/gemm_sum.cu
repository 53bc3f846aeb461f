// Adds the sums of the ranges of depth of a gather, in order, and turns them
// into results: the second launch where the first had too few tiles to fill the
// device. A block has 16 rows of a tile, so that a few tiles are many blocks.
#include "cc/kernels/gpu/gemm.cuh"

namespace conv_transpose_nd {
namespace gpu {
namespace {

constexpr int kSumThreads = 128;
constexpr int kSumRows = 16;  // as in gemm_kernels.cc

template <typename T, int kSide>
class GemmSum {
 public:
  using A = Accumulator<T>;
  static constexpr int kPitch = kSide + 4;
  static constexpr int kLength = Chunk<T>::kLength;
  static constexpr int kAcross = kSide / kLength;

  CT_DEVICE static void Run(const GemmParams& p, const void* first,
                            const void* second, const void* bias, void* result,
                            void* workspace) {
    auto* rows = reinterpret_cast<RowTable<kSumRows>*>(SharedMemory());
    A* slice = reinterpret_cast<A*>(rows + 1);
    GemmTile tile = GatherTile<kSide, kSide>(p, workspace);
    tile.split = 0;
    const int first_row = static_cast<int>(blockIdx.y) * kSumRows;
    tile.row += first_row;
    FillGatherRows<kSumRows, kSumThreads>(p, tile, rows);
    __syncthreads();
    const bool bad = Add(p, tile, *rows, first_row, slice, workspace);
    __syncthreads();
    StoreSlice<T, kSumRows, kSide, kSumThreads>(
        p, tile, *rows, slice, kSumRows, kPitch, static_cast<const T*>(bias),
        static_cast<T*>(result), workspace, [](int r) { return r; });
    if (__syncthreads_or(bad)) {
      RepairBorders<T, kSumRows, kSide, kSumThreads>(
          p, tile, *rows, static_cast<const T*>(first),
          static_cast<const T*>(second), static_cast<const T*>(bias),
          static_cast<T*>(result));
    }
  }

 private:
  // A thread adds the sums of a chunk at a time; true where one is NaN.
  CT_DEVICE static bool Add(const GemmParams& p, const GemmTile& tile,
                            const RowTable<kSumRows>& rows, int first_row,
                            A* slice, void* workspace) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * (kSide * kSide);
    bool bad = false;
#pragma unroll 1
    for (int i = threadIdx.x; i < kSumRows * kAcross; i += kSumThreads) {
      const int row = i / kAcross;
      const int across = i % kAcross * kLength;
      if (rows.result[row] < 0 || tile.column + across >= p.columns) continue;
      const A* partial = PartialSums<A, kSide, kSide>(
          p, tile, 0, first_row + row, across, workspace);
      A sum[kLength];
#pragma unroll
      for (int c = 0; c < kLength; ++c) sum[c] = partial[c];
#pragma unroll 2
      for (int32_t s = 1; s < p.splits; ++s) {
        partial += step;
#pragma unroll
        for (int c = 0; c < kLength; ++c) sum[c] += partial[c];
      }
#pragma unroll
      for (int c = 0; c < kLength; ++c) {
        bad = bad || sum[c] != sum[c];
        slice[row * kPitch + across + c] = sum[c];
      }
    }
    return bad;
  }
};

}  // namespace

#define CT_GEMM_SUM(T, suffix, side)                                           \
  CT_TUNED_KERNEL(ct_gemm_sum_##suffix##_##side, GemmParams, kSumThreads, 8) { \
    GemmSum<T, side>::Run(params, first, second, bias, result, workspace);     \
  }

CT_GEMM_SUM(Half, half, 128)
CT_GEMM_SUM(Half, half, 64)
CT_GEMM_SUM(BFloat16, bfloat16, 128)
CT_GEMM_SUM(BFloat16, bfloat16, 64)
CT_GEMM_SUM(float, float, 128)
CT_GEMM_SUM(float, float, 64)
CT_GEMM_SUM(double, double, 64)

#undef CT_GEMM_SUM

}  // namespace gpu
}  // namespace conv_transpose_nd
