// Implicit GEMM on tensor cores through mma.sync, fed by cp.async: half and
// bfloat16, and float rounded to TF32, sm_80 and later; double, where there are
// tensor cores for it that are worth it, on 8.0 and 9.0.
//
// Warps share a tile of 128 x 128 (2 x 4 warps of 64 x 32) or 64 x 64 (2 x 2 of
// 32 x 32). Shared tiles hold 64 bytes of depth, in chunks of 16 bytes that are
// permuted so that what a warp reads at a time (the eight rows of an ldmatrix,
// the four depths of eight rows of TF32, of four rows of double) lies in
// different banks:
//   deep operands  [row or column][4 chunks]:  chunk ^ (row / 2) % 4, or
//                                              chunk ^ (row / 2) % 2 * 2,
//                                              double
//   others         [depth][chunks of a row]:   chunk ^ depth % 8, or
//                                              chunk ^ depth % 4 * 2, 4 bytes
//                                              and more
#include "cc/kernels/gpu/gemm_flat.cuh"

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800

namespace conv_transpose_nd {
namespace gpu {
namespace {

constexpr int kStages = 4;
constexpr int kWarpColumns = 32;
constexpr int kDepthBytes = 64;

CT_DEVICE void Mma(Half, const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                   float (&sum)[4]) {
  MmaHalf(a, b0, b1, sum);
}
CT_DEVICE void Mma(BFloat16, const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                   float (&sum)[4]) {
  MmaBFloat16(a, b0, b1, sum);
}
CT_DEVICE void Mma(float, const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                   float (&sum)[4]) {
  MmaTf32(a, b0, b1, sum);
}
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 1000
CT_DEVICE void Mma(double, const double (&a)[4], double b0, double b1,
                   double (&sum)[4]) {
  MmaDouble(a, b0, b1, sum);
}
#endif

// What a register of an instruction's operands holds.
template <typename T>
struct FragmentOf {
  using type = uint32_t;
};
template <>
struct FragmentOf<double> {
  using type = double;
};
template <typename T>
using Fragment = typename FragmentOf<T>::type;

// Depth of one instruction.
template <typename T>
constexpr int kStepDepth = sizeof(T) == 8 ? 8 : 32 / sizeof(T);

CT_DEVICE int Lane() { return threadIdx.x % 32; }

// A shared tile of kMajor rows or columns.
template <typename T, bool kDeep, int kMajor>
struct SharedTile {
  static constexpr int kBytes = kMajor * kDepthBytes;

  // Of the chunk that starts at (major, depth).
  CT_DEVICE static int Offset(int major, int depth) {
    constexpr int kLength = Chunk<T>::kLength;
    if (kDeep) {
      const int swizzle = sizeof(T) == 8 ? (major & 2) : (major >> 1 & 3);
      return major * kDepthBytes + ((depth / kLength) ^ swizzle) * 16;
    }
    const int swizzle = sizeof(T) == 2 ? (depth & 7) : (depth & 3) * 2;
    return depth * (kMajor * static_cast<int>(sizeof(T))) +
           ((major / kLength) ^ swizzle) * 16;
  }

  // What an instruction takes of 16 rows of the first operand.
  CT_DEVICE static void First(const unsigned char* tile, int major, int step,
                              Fragment<T> (&fragment)[4]) {
    const int lane = Lane();
    if constexpr (kDeep && sizeof(T) <= 4) {
      LoadMatrices<false>(tile + Offset(major + lane % 16,
                                        step + lane / 16 * kStepDepth<T> / 2),
                          fragment);
    } else if constexpr (sizeof(T) == 2) {
      LoadMatrices<true>(tile + Offset(major + lane / 8 % 2 * 8,
                                       step + lane / 16 * 8 + lane % 8),
                         fragment);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        fragment[i] = Element(tile, major + lane / 4 + i % 2 * 8,
                              step + lane % 4 + i / 2 * 4);
      }
    }
    Round(fragment);
  }

  // Of 16 columns of the second operand: b0 and b1 of the first eight, then of
  // the others.
  CT_DEVICE static void Second(const unsigned char* tile, int major, int step,
                               Fragment<T> (&fragment)[4]) {
    const int lane = Lane();
    if constexpr (kDeep && sizeof(T) <= 4) {
      LoadMatrices<false>(
          tile + Offset(major + lane / 16 * 8 + lane % 8,
                        step + lane / 8 % 2 * kStepDepth<T> / 2),
          fragment);
    } else if constexpr (sizeof(T) == 2) {
      LoadMatrices<true>(tile + Offset(major + lane / 16 * 8,
                                       step + lane / 8 % 2 * 8 + lane % 8),
                         fragment);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        fragment[i] = Element(tile, major + lane / 4 + i / 2 * 8,
                              step + lane % 4 + i % 2 * 4);
      }
    }
    Round(fragment);
  }

 private:
  CT_DEVICE static Fragment<T> Element(const unsigned char* tile, int major,
                                       int depth) {
    const int place = (kDeep ? depth : major) % Chunk<T>::kLength;
    return reinterpret_cast<const Fragment<T>*>(tile +
                                                Offset(major, depth))[place];
  }

  CT_DEVICE static void Round(Fragment<T> (&fragment)[4]) {
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int i = 0; i < 4; ++i) fragment[i] = RoundTf32(fragment[i]);
    }
  }
};

template <typename A>
struct alignas(2 * sizeof(A)) Pair {
  A value[2];
};

template <typename T, GemmKind kKind, int kSide>
class MmaGemm {
 public:
  using A = Accumulator<T>;
  static constexpr int kThreads = kSide == 128 ? 256 : 128;
  static constexpr int kDepth = kDepthBytes / sizeof(T);
  static constexpr int kWarpsAcross = kSide / kWarpColumns;
  static constexpr int kWarpsDown = kThreads / 32 / kWarpsAcross;
  static constexpr int kWarpRows = kSide / kWarpsDown;
  static constexpr int kDown = kWarpRows / 16;
  static constexpr int kAcross = kWarpColumns / 8;
  static constexpr int kPitch = kSide + 8;
  using Gemm = GemmOf<T, kKind, kSide, kSide, kDepth, kThreads>;
  using Loader = typename Gemm::Loader;
  using First = typename Loader::First;
  using Second = typename Loader::Second;
  using FirstTile = SharedTile<T, kKind != kGemmFilterGrad, kSide>;
  using SecondTile = SharedTile<T, kKind == kGemmForward, kSide>;
  static constexpr int kStageBytes = FirstTile::kBytes + SecondTile::kBytes;
  static_assert(kWarpsDown * 16 * kPitch * static_cast<int>(sizeof(A)) <=
                    kStages * kStageBytes,
                "a slice of sums fits where the operands were");
  static_assert(First::kChunks % kThreads == 0 &&
                    Second::kChunks % kThreads == 0,
                "all threads copy alike");

  CT_DEVICE static void Run(const GemmParams& p, const void* first,
                            const void* second, const void* bias, void* result,
                            void* workspace) {
    unsigned char* shared = SharedMemory();
    auto* rows =
        reinterpret_cast<RowTable<kSide>*>(shared + kStages * kStageBytes);
    const GemmTile tile = Gemm::Tile(p, workspace);
    Gemm::FillRows(p, tile, rows);
    __syncthreads();
    A sum[kDown][kAcross][4] = {};
    Multiply(p, tile, *rows, first, second, shared, sum);
    Finish(p, tile, *rows, first, second, bias, result, workspace,
           reinterpret_cast<A*>(shared), sum);
  }

 private:
  CT_DEVICE static int WarpRow() {
    return static_cast<int>(threadIdx.x) / 32 / kWarpsAcross * kWarpRows;
  }
  CT_DEVICE static int WarpColumn() {
    return static_cast<int>(threadIdx.x) / 32 % kWarpsAcross * kWarpColumns;
  }

  template <typename Source>
  CT_DEVICE static void Copy(const Source& source, unsigned char* shared) {
    if (source.adjacent) {
      CopyAsync16(shared, source.data, source.count <= 0);
    } else {
      *reinterpret_cast<Chunk<T>*>(shared) = source.Load();
    }
  }

  CT_DEVICE static void Fetch(Loader& loader, unsigned char* stage) {
#pragma unroll
    for (int i = 0; i < First::kEach; ++i) {
      loader.Seek(i);
      Copy(loader.FirstChunk(i),
           stage + FirstTile::Offset(First::Major(i), First::Depth(i)));
      Copy(loader.SecondChunk(i),
           stage + FirstTile::kBytes +
               SecondTile::Offset(Second::Major(i), Second::Depth(i)));
    }
  }

  CT_DEVICE static void Multiply(const GemmParams& p, const GemmTile& tile,
                                 const RowTable<kSide>& rows, const void* first,
                                 const void* second, unsigned char* shared,
                                 A (&sum)[kDown][kAcross][4]) {
    Loader loader(p, tile, rows, first, second);
    const int32_t blocks = loader.Blocks();
    // Every stage is a group of copies, also where there is nothing to copy.
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) {
      if (stage > 0 && stage < blocks) loader.Advance();
      if (stage < blocks) Fetch(loader, shared + stage * kStageBytes);
      CommitCopies();
    }
    int now = 0, next = kStages - 1;
#pragma unroll 1
    for (int32_t block = 0; block < blocks; ++block) {
      WaitCopies<kStages - 2>();
      __syncthreads();
      // Into the stage that all threads have left at the barrier.
      if (block + kStages - 1 < blocks) {
        loader.Advance();
        Fetch(loader, shared + next * kStageBytes);
      }
      CommitCopies();
      __syncwarp();  // taps are looked up lane by lane
      MultiplyBlock(shared + now * kStageBytes, sum);
      now = now + 1 == kStages ? 0 : now + 1;
      next = next + 1 == kStages ? 0 : next + 1;
    }
    WaitCopies<0>();
  }

  CT_DEVICE static void MultiplyBlock(const unsigned char* stage,
                                      A (&sum)[kDown][kAcross][4]) {
    const int row = WarpRow(), column = WarpColumn();
#pragma unroll
    for (int step = 0; step < kDepth; step += kStepDepth<T>) {
      Fragment<T> a[kDown][4], b[kAcross / 2][4];
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        FirstTile::First(stage, row + i * 16, step, a[i]);
      }
#pragma unroll
      for (int j = 0; j < kAcross / 2; ++j) {
        SecondTile::Second(stage + FirstTile::kBytes, column + j * 16, step,
                           b[j]);
      }
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
#pragma unroll
        for (int j = 0; j < kAcross; ++j) {
          Mma(T{}, a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1],
              sum[i][j]);
        }
      }
    }
  }

  // Slices of 16 rows of each warp.
  CT_DEVICE static void Finish(const GemmParams& p, const GemmTile& tile,
                               const RowTable<kSide>& rows, const void* first,
                               const void* second, const void* bias,
                               void* result, void* workspace, A* slice,
                               const A (&sum)[kDown][kAcross][4]) {
    A* corner = slice + (WarpRow() / kWarpRows * 16 + Lane() / 4) * kPitch +
                WarpColumn() + Lane() % 4 * 2;
    bool bad = false;
#pragma unroll 1
    for (int pass = 0; pass < kDown; ++pass) {
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        if (i != pass) continue;
#pragma unroll
        for (int j = 0; j < kAcross; ++j) {
          const A(&s)[4] = sum[i][j];
          bad = bad || s[0] != s[0] || s[1] != s[1] || s[2] != s[2] ||
                s[3] != s[3];
          *reinterpret_cast<Pair<A>*>(corner + j * 8) = {{s[0], s[1]}};
          *reinterpret_cast<Pair<A>*>(corner + 8 * kPitch +
                                      j * 8) = {{s[2], s[3]}};
        }
      }
      __syncthreads();
      StoreSlice<T, kSide, kSide, kThreads>(
          p, tile, rows, slice, kWarpsDown * 16, kPitch,
          static_cast<const T*>(bias), static_cast<T*>(result), workspace,
          [pass](int r) { return r / 16 * kWarpRows + pass * 16 + r % 16; });
    }
    if (kKind == kGemmFilterGrad || p.store_partials) return;
    if (__syncthreads_or(bad)) {
      RepairBorders<T, kSide, kSide, kThreads>(
          p, tile, rows, static_cast<const T*>(first),
          static_cast<const T*>(second), static_cast<const T*>(bias),
          static_cast<T*>(result));
    }
  }
};

}  // namespace

// Two blocks of 256 threads, four of 128: 128 registers per thread. The large
// tile of TF32 rounds its operands in registers, and needs more; sums of double
// take two registers each.
#define CT_GEMM_KIND(T, suffix, kind, kKind, tile, blocks)            \
  CT_TUNED_KERNEL(ct_gemm_##suffix##_##kind##_##tile, GemmParams,     \
                  (MmaGemm<T, kKind, tile>::kThreads), blocks) {      \
    MmaGemm<T, kKind, tile>::Run(params, first, second, bias, result, \
                                 workspace);                          \
  }
#define CT_GEMM(T, suffix, blocks)                                    \
  CT_GEMM_KIND(T, suffix, forward, kGemmForward, 128, blocks)         \
  CT_GEMM_KIND(T, suffix, input_grad, kGemmInputGrad, 128, blocks)    \
  CT_GEMM_KIND(T, suffix, filter_grad, kGemmFilterGrad, 128, blocks)  \
  CT_GEMM_KIND(T, suffix, forward, kGemmForward, 64, 4)               \
  CT_GEMM_KIND(T, suffix, input_grad, kGemmInputGrad, 64, 4)          \
  CT_GEMM_KIND(T, suffix, input_grad_flat, kGemmInputGradFlat, 64, 4) \
  CT_GEMM_KIND(T, suffix, filter_grad, kGemmFilterGrad, 64, 4)

CT_GEMM(Half, half, 2)
CT_GEMM(BFloat16, bfloat16, 2)
CT_GEMM(float, tf32, 1)
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 1000
CT_GEMM_KIND(double, double_mma, forward, kGemmForward, 64, 3)
CT_GEMM_KIND(double, double_mma, input_grad, kGemmInputGrad, 64, 3)
CT_GEMM_KIND(double, double_mma, input_grad_flat, kGemmInputGradFlat, 64, 3)
CT_GEMM_KIND(double, double_mma, filter_grad, kGemmFilterGrad, 64, 3)
#endif

#undef CT_GEMM
#undef CT_GEMM_KIND

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // __CUDA_ARCH__ >= 800
