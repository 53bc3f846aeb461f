// Implicit GEMM with the FMAs of the CUDA cores: float; double where there are
// no tensor cores for it that are faster (all but 8.x and 9.0); half and
// bfloat16 where there are none for both (below sm_80).
//
// A block of 256 threads; a thread has a register tile of kEachRow x
// kEachColumn sums. Operands pass through registers into one of two shared
// tiles, [depth][rows] and [depth][columns], while the other is multiplied.
#include "cc/kernels/gpu/gemm_flat.cuh"

namespace conv_transpose_nd {
namespace gpu {
namespace {

constexpr int kThreads = 256;
// Rows of a shared tile are this much longer: a transposing store then meets 32
// banks, and quads stay aligned.
constexpr int kPadding = 4;

// Four adjacent sums.
template <typename A>
struct alignas(16) Quad {
  A value[4];
};

template <typename T, int kMajor, int kDepth, typename Map>
struct Stage {
  Chunk<T> chunk[Map::kEach];

  // [depth][major]
  CT_DEVICE void Store(bool deep, Accumulator<T>* shared) const {
#pragma unroll
    for (int i = 0; i < Map::kEach; ++i) {
      if (!Map::Has(i)) continue;
#pragma unroll
      for (int e = 0; e < Chunk<T>::kLength; ++e) {
        const int depth = Map::Depth(i) + (deep ? e : 0);
        const int major = Map::Major(i) + (deep ? 0 : e);
        shared[depth * (kMajor + kPadding) + major] = Widen(chunk[i].value[e]);
      }
    }
  }
};

template <typename T, GemmKind kKind, int kRows, int kColumns, int kDepth>
class FmaGemm {
 public:
  using A = Accumulator<T>;
  using Gemm = GemmOf<T, kKind, kRows, kColumns, kDepth, kThreads>;
  using Loader = typename Gemm::Loader;
  using First = typename Loader::First;
  using Second = typename Loader::Second;
  static constexpr int kSide = kRows == 128 ? 8 : 4;
  static constexpr int kThreadsAcross = kColumns / kSide;
  static constexpr int kQuads = kSide / 4;
  static constexpr int kFirstTile = kDepth * (kRows + kPadding);
  static constexpr int kSecondTile = kDepth * (kColumns + kPadding);
  static constexpr int kPitch = kColumns + kPadding;
  static_assert(kRows / kSide * kThreadsAcross == kThreads, "a tile each");
  static_assert(kRows / kSide * kPitch <= 2 * (kFirstTile + kSecondTile),
                "a slice of sums fits where the operands were");

  CT_DEVICE static void Run(const GemmParams& p, const void* first,
                            const void* second, const void* bias, void* result,
                            void* workspace) {
    auto* rows = reinterpret_cast<RowTable<kRows>*>(SharedMemory());
    A* shared = reinterpret_cast<A*>(rows + 1);
    const GemmTile tile = Gemm::Tile(p, workspace);
    Gemm::FillRows(p, tile, rows);
    __syncthreads();
    A sum[kSide][kSide] = {};
    Multiply(p, tile, *rows, first, second, shared, sum);
    Finish(p, tile, *rows, first, second, bias, result, workspace, shared, sum);
  }

 private:
  CT_DEVICE static int Row(int i) {
    return i / 4 * (kRows / kQuads) +
           static_cast<int>(threadIdx.x) / kThreadsAcross * 4 + i % 4;
  }

  CT_DEVICE static void Multiply(const GemmParams& p, const GemmTile& tile,
                                 const RowTable<kRows>& rows, const void* first,
                                 const void* second, A* shared,
                                 A (&sum)[kSide][kSide]) {
    Loader loader(p, tile, rows, first, second);
    Stage<T, kRows, kDepth, First> first_stage;
    Stage<T, kColumns, kDepth, Second> second_stage;
    A* first_tile = shared;
    A* second_tile = shared + 2 * kFirstTile;
    const int32_t blocks = loader.Blocks();
    if (blocks > 0) Fetch(loader, &first_stage, &second_stage);
#pragma unroll 1
    for (int32_t block = 0; block < blocks; ++block) {
      A* first_now = first_tile + (block & 1) * kFirstTile;
      A* second_now = second_tile + (block & 1) * kSecondTile;
      first_stage.Store(true && kKind != kGemmFilterGrad, first_now);
      second_stage.Store(kKind == kGemmForward, second_now);
      __syncthreads();
      if (block + 1 < blocks) {
        loader.Advance();
        Fetch(loader, &first_stage, &second_stage);
      }
      MultiplyBlock(first_now, second_now, sum);
    }
  }

  CT_DEVICE static void Fetch(Loader& loader,
                              Stage<T, kRows, kDepth, First>* first,
                              Stage<T, kColumns, kDepth, Second>* second) {
#pragma unroll
    for (int i = 0; i < First::kEach; ++i) {
      loader.Seek(i);
      if (First::Has(i)) first->chunk[i] = loader.FirstChunk(i).Load();
      if (Second::Has(i)) second->chunk[i] = loader.SecondChunk(i).Load();
    }
  }

  CT_DEVICE static void MultiplyBlock(const A* first, const A* second,
                                      A (&sum)[kSide][kSide]) {
    const int down = threadIdx.x / kThreadsAcross * 4;
    const int across = threadIdx.x % kThreadsAcross * 4;
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      Quad<A> x[kQuads], y[kQuads];
#pragma unroll
      for (int q = 0; q < kQuads; ++q) {
        x[q] = *reinterpret_cast<const Quad<A>*>(
            first + d * (kRows + kPadding) + q * (kRows / kQuads) + down);
        y[q] = *reinterpret_cast<const Quad<A>*>(
            second + d * (kColumns + kPadding) + q * (kColumns / kQuads) +
            across);
      }
#pragma unroll
      for (int i = 0; i < kSide; ++i) {
#pragma unroll
        for (int j = 0; j < kSide; ++j) {
          sum[i][j] += x[i / 4].value[i % 4] * y[j / 4].value[j % 4];
        }
      }
    }
  }

  // Slices of one row of each thread.
  CT_DEVICE static void Finish(const GemmParams& p, const GemmTile& tile,
                               const RowTable<kRows>& rows, const void* first,
                               const void* second, const void* bias,
                               void* result, void* workspace, A* shared,
                               const A (&sum)[kSide][kSide]) {
    const int down = threadIdx.x / kThreadsAcross;
    const int across = threadIdx.x % kThreadsAcross * 4;
    bool bad = false;
#pragma unroll 1
    for (int pass = 0; pass < kSide; ++pass) {
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kSide; ++i) {
        if (i != pass) continue;
#pragma unroll
        for (int j = 0; j < kSide; ++j) {
          bad = bad || sum[i][j] != sum[i][j];
          shared[down * kPitch + j / 4 * (kColumns / kQuads) + across + j % 4] =
              sum[i][j];
        }
      }
      __syncthreads();
      StoreSlice<T, kRows, kColumns, kThreads>(
          p, tile, rows, shared, kRows / kSide, kPitch,
          static_cast<const T*>(bias), static_cast<T*>(result), workspace,
          [pass](int r) {
            return pass / 4 * (kRows / kQuads) + r * 4 + pass % 4;
          });
    }
    if (kKind == kGemmFilterGrad || p.store_partials) return;
    if (__syncthreads_or(bad)) {
      RepairBorders<T, kRows, kColumns, kThreads>(
          p, tile, rows, static_cast<const T*>(first),
          static_cast<const T*>(second), static_cast<const T*>(bias),
          static_cast<T*>(result));
    }
  }
};

}  // namespace

#define CT_GEMM_KIND(T, suffix, kind, kKind, tile, depth, blocks)           \
  CT_TUNED_KERNEL(ct_gemm_##suffix##_##kind##_##tile, GemmParams, kThreads, \
                  blocks) {                                                 \
    FmaGemm<T, kKind, tile, tile, depth>::Run(params, first, second, bias,  \
                                              result, workspace);           \
  }
#define CT_GEMM(T, suffix, tile, depth, blocks)                            \
  CT_GEMM_KIND(T, suffix, forward, kGemmForward, tile, depth, blocks)      \
  CT_GEMM_KIND(T, suffix, input_grad, kGemmInputGrad, tile, depth, blocks) \
  CT_GEMM_KIND(T, suffix, filter_grad, kGemmFilterGrad, tile, depth, blocks)

CT_GEMM(float, float, 128, 8, 2)
CT_GEMM(float, float, 64, 16, 2)
CT_GEMM_KIND(float, float, input_grad_flat, kGemmInputGradFlat, 64, 16, 2)
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 800 || __CUDA_ARCH__ >= 1000
CT_GEMM(double, double, 64, 8, 2)
CT_GEMM_KIND(double, double, input_grad_flat, kGemmInputGradFlat, 64, 8, 2)
#endif
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 800
CT_GEMM(Half, half_fma, 64, 16, 2)
CT_GEMM(BFloat16, bfloat16_fma, 64, 16, 2)
CT_GEMM_KIND(Half, half_fma, input_grad_flat, kGemmInputGradFlat, 64, 16, 2)
CT_GEMM_KIND(BFloat16, bfloat16_fma, input_grad_flat, kGemmInputGradFlat, 64,
             16, 2)
#endif

#undef CT_GEMM
#undef CT_GEMM_KIND

}  // namespace gpu
}  // namespace conv_transpose_nd
