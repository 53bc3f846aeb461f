// Implicit GEMM on Hopper's tensor cores through wgmma: half and bfloat16,
// sm_90a alone.
//
// Two warpgroups share a tile of 128 x 128, 64 rows each. Shared memory is fed
// by cp.async, not TMA: rows of a gather lie where the table of taps and the
// borders say, which no tensor map can; and the filter follows the same path,
// so that there is one pipeline and no descriptor for the host to encode. Two
// blocks per multiprocessor, not a producer warp: while one of them waits at
// its barrier, or stores, the other multiplies.
//
// Operands that cannot be read 16 bytes at a time (channels-first, odd
// channels) are left to mma.sync: reading them element by element takes the
// registers of the sums, and more time than is to be won.
//
// float as TF32 stays with mma.sync: wgmma would truncate it, and takes no
// operand whose depth is not adjacent.
#include "cc/kernels/gpu/gemm.cuh"
#include "cc/kernels/gpu/wgmma.cuh"

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace conv_transpose_nd {
namespace gpu {
namespace {

// As in gemm_kernels.cc. Three stages of 32 KB, twice, fit in the 227 KB of a
// multiprocessor.
constexpr int kWgmmaStages = 3;
constexpr int kWgmmaSide = 128;
constexpr int kWgmmaThreads = 256;
constexpr int kWgmmaRowBytes = 128;  // the span of the swizzle
constexpr int kWgmmaDepth = kWgmmaRowBytes / 2;
constexpr int kWgmmaAlignment = 1024;  // the swizzle's period

template <int kAlongRows, int kAlongColumns>
CT_DEVICE void Wgmma(Half, float (&sum)[64], uint64_t a, uint64_t b) {
  WgmmaHalf<kAlongRows, kAlongColumns>(sum, a, b);
}
template <int kAlongRows, int kAlongColumns>
CT_DEVICE void Wgmma(BFloat16, float (&sum)[64], uint64_t a, uint64_t b) {
  WgmmaBFloat16<kAlongRows, kAlongColumns>(sum, a, b);
}

// A shared tile of 128 rows or columns by 64 of depth, in rows of 128 bytes:
//   deep operands  [row or column][8 chunks of depth]
//   others         [half of the rows or columns][depth][8 chunks of rows]
// with chunk ^ row of 128 bytes % 8. Half a tile is 8 KB either way.
template <bool kDeep>
struct SwizzledTile {
  static constexpr int kBytes = kWgmmaSide * kWgmmaRowBytes;
  static constexpr int kHalfBytes = kBytes / 2;
  // From block to block of 8 rows of 128 bytes; from half to half.
  static constexpr int kStride = 8 * kWgmmaRowBytes;
  static constexpr int kLeading = kDeep ? 16 : kHalfBytes;  // unused, deep
  // From one instruction's depth of 16 to the next.
  static constexpr int kStep = kDeep ? 32 : 16 * kWgmmaRowBytes;

  // Of the chunk that starts at (major, depth).
  CT_DEVICE static int Offset(int major, int depth) {
    if (kDeep) {
      return major * kWgmmaRowBytes + ((depth / 8) ^ (major & 7)) * 16;
    }
    return major / 64 * kHalfBytes + depth * kWgmmaRowBytes +
           ((major % 64 / 8) ^ (depth & 7)) * 16;
  }
};

template <typename T, GemmKind kKind>
class WgmmaGemm {
 public:
  static constexpr int kSide = kWgmmaSide;
  static constexpr int kThreads = kWgmmaThreads;
  static constexpr int kPitch = kSide + 8;
  static constexpr bool kFirstDeep = kKind != kGemmFilterGrad;
  static constexpr bool kSecondDeep = kKind == kGemmForward;
  using Gemm = GemmOf<T, kKind, kSide, kSide, kWgmmaDepth, kThreads>;
  using Loader = typename Gemm::Loader;
  using First = typename Loader::First;
  using Second = typename Loader::Second;
  using FirstTile = SwizzledTile<kFirstDeep>;
  using SecondTile = SwizzledTile<kSecondDeep>;
  static constexpr int kStageBytes = FirstTile::kBytes + SecondTile::kBytes;
  static_assert(kSide * kPitch * 4 <= kWgmmaStages * kStageBytes,
                "sums fit where the operands were");

  CT_DEVICE static void Run(const GemmParams& p, const void* first,
                            const void* second, const void* bias, void* result,
                            void* workspace) {
    unsigned char* shared = SharedMemory();
    shared += -SharedAddress(shared) & (kWgmmaAlignment - 1);
    auto* rows =
        reinterpret_cast<RowTable<kSide>*>(shared + kWgmmaStages * kStageBytes);
    const GemmTile tile = Gemm::Tile(p, workspace);
    Gemm::FillRows(p, tile, rows);
    __syncthreads();
    float sum[64] = {};
    Multiply(p, tile, *rows, first, second, shared, sum);
    Finish(p, tile, *rows, first, second, bias, result, workspace,
           reinterpret_cast<float*>(shared), sum);
  }

 private:
  CT_DEVICE static void Copy(const ChunkSource<T>& source,
                             unsigned char* shared) {
    CopyAsync16(shared, source.data, source.count <= 0);
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

  // Copies for a block two ahead are issued while this one's products run.
  CT_DEVICE static void Multiply(const GemmParams& p, const GemmTile& tile,
                                 const RowTable<kSide>& rows, const void* first,
                                 const void* second, unsigned char* shared,
                                 float (&sum)[64]) {
    Loader loader(p, tile, rows, first, second);
    const int32_t blocks = loader.Blocks();
    // Every stage is a group of copies, also where there is nothing to copy.
#pragma unroll
    for (int stage = 0; stage < kWgmmaStages - 1; ++stage) {
      if (stage > 0 && stage < blocks) loader.Advance();
      if (stage < blocks) Fetch(loader, shared + stage * kStageBytes);
      CommitCopies();
    }
    int now = 0, next = kWgmmaStages - 1;
#pragma unroll 1
    for (int32_t block = 0; block < blocks; ++block) {
      WaitCopies<kWgmmaStages - 2>();
      FenceSharedForWgmma();
      __syncthreads();
      MultiplyBlock(SharedAddress(shared + now * kStageBytes), sum);
      // Into the stage whose products all threads have waited for.
      if (block + kWgmmaStages - 1 < blocks) {
        loader.Advance();
        Fetch(loader, shared + next * kStageBytes);
      }
      CommitCopies();
      __syncwarp();  // taps are looked up lane by lane
      WaitWgmma(sum);
      now = now + 1 == kWgmmaStages ? 0 : now + 1;
      next = next + 1 == kWgmmaStages ? 0 : next + 1;
    }
    WaitCopies<0>();
  }

  CT_DEVICE static void MultiplyBlock(uint32_t stage, float (&sum)[64]) {
    const uint32_t group = threadIdx.x / 128;
    const uint64_t a = WgmmaDescriptor(stage + group * FirstTile::kHalfBytes,
                                       FirstTile::kLeading, FirstTile::kStride);
    const uint64_t b = WgmmaDescriptor(
        stage + FirstTile::kBytes, SecondTile::kLeading, SecondTile::kStride);
    FenceWgmma(sum);
#pragma unroll
    for (int step = 0; step < kWgmmaDepth / 16; ++step) {
      Wgmma<!kFirstDeep, !kSecondDeep>(T{}, sum,
                                       a + step * FirstTile::kStep / 16,
                                       b + step * SecondTile::kStep / 16);
    }
    CommitWgmma();
  }

  CT_DEVICE static void Finish(const GemmParams& p, const GemmTile& tile,
                               const RowTable<kSide>& rows, const void* first,
                               const void* second, const void* bias,
                               void* result, void* workspace, float* slice,
                               const float (&sum)[64]) {
    struct alignas(8) Pair {
      float value[2];
    };
    const int lane = threadIdx.x % 32;
    float* corner =
        slice + (threadIdx.x / 32 * 16 + lane / 4) * kPitch + lane % 4 * 2;
    bool bad = false;
    __syncthreads();
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      const float* s = sum + j * 4;
      bad = bad || s[0] != s[0] || s[1] != s[1] || s[2] != s[2] || s[3] != s[3];
      *reinterpret_cast<Pair*>(corner + j * 8) = {{s[0], s[1]}};
      *reinterpret_cast<Pair*>(corner + 8 * kPitch + j * 8) = {{s[2], s[3]}};
    }
    __syncthreads();
    StoreSlice<T, kSide, kSide, kThreads>(
        p, tile, rows, slice, kSide, kPitch, static_cast<const T*>(bias),
        static_cast<T*>(result), workspace, [](int r) { return r; });
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

#define CT_GEMM_KIND(T, suffix, kind, kKind)                                  \
  CT_TUNED_KERNEL(ct_gemm_##suffix##_wgmma_##kind##_128, GemmParams,          \
                  kWgmmaThreads, 2) {                                         \
    WgmmaGemm<T, kKind>::Run(params, first, second, bias, result, workspace); \
  }
#define CT_GEMM(T, suffix)                            \
  CT_GEMM_KIND(T, suffix, forward, kGemmForward)      \
  CT_GEMM_KIND(T, suffix, input_grad, kGemmInputGrad) \
  CT_GEMM_KIND(T, suffix, filter_grad, kGemmFilterGrad)

CT_GEMM(Half, half)
CT_GEMM(BFloat16, bfloat16)

#undef CT_GEMM
#undef CT_GEMM_KIND

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // sm_90a
