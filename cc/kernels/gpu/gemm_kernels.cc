#include "cc/kernels/gpu/gemm_kernels.h"

#include <algorithm>

#include "cc/kernels/gpu/direct_program.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

constexpr int64_t kMaxPartialBytes = int64_t{64} << 20;
// Depth blocks that a range has at least: it also costs a tile of stores and
// loads.
constexpr int64_t kMinBlocksPerRange = 8;
// Depth blocks that ranges must take off the longest sum, or else the second
// launch costs more than it saves. A block takes some tenths of a microsecond,
// a launch after another in one stream about two. Estimates: no device has run
// them.
constexpr int64_t kMinBlocksSaved = 12;

constexpr int64_t kRowTableBytes = 16 + 4 * kMaxAxes;  // per row
constexpr int kSumRows = 16;                           // as in gemm_sum.cu
constexpr int kSumThreads = 128;

// mma.sync reaches about this part of wgmma's rate on 9.0. An estimate, too.
constexpr double kWgmmaWeight = 0.65;

int64_t Blocks(int64_t length, int64_t block) {
  return (length + block - 1) / block;
}

// Tiles of 64 read twice as much per product.
double Weight(int tile) { return tile == 64 ? 1.4 : 1.0; }

GemmKernel FmaKernel(const std::string& name, int tile, int depth,
                     int64_t sum_bytes) {
  const int64_t padding = 4;  // kPadding in gemm_fma.cu
  return {"gemm_fma",
          name,
          tile,
          256,
          depth,
          tile * kRowTableBytes + 4 * depth * (tile + padding) * sum_bytes,
          Weight(tile)};
}

GemmKernel MmaKernel(const std::string& name, int tile, int element_bytes) {
  const int64_t stages = 4, depth_bytes = 64;  // as in gemm_mma.cu
  return {"gemm_mma",
          name,
          tile,
          tile == 128 ? 256 : 128,
          static_cast<int>(depth_bytes) / element_bytes,
          tile * kRowTableBytes + stages * 2 * tile * depth_bytes,
          Weight(tile)};
}

GemmKernel WgmmaKernel(const std::string& name) {
  const int64_t stages = 3, depth_bytes = 128;  // as in gemm_wgmma.cu
  const int64_t tile = 128, alignment = 1024;
  return {"gemm_wgmma",
          name + "_wgmma",
          static_cast<int>(tile),
          256,
          static_cast<int>(depth_bytes) / 2,
          alignment + tile * kRowTableBytes + stages * 2 * tile * depth_bytes,
          kWgmmaWeight};
}

// Those for half and bfloat16 with tensor cores.
std::vector<GemmKernel> ShortKernels(const std::string& name,
                                     const DeviceInfo& device, bool vectors) {
  std::vector<GemmKernel> kernels;
  if (device.wgmma && vectors) {
    kernels.push_back(WgmmaKernel(name));
    if (device.wgmma_always) return kernels;
  }
  kernels.push_back(MmaKernel(name, 128, 2));
  kernels.push_back(MmaKernel(name, 64, 2));
  return kernels;
}

const char* KindName(Operation operation) {
  switch (operation) {
    case Operation::kInputGrad:
      return "input_grad";
    case Operation::kFilterGrad:
      return "filter_grad";
    default:
      return "forward";
  }
}

}  // namespace

std::vector<GemmKernel> GemmKernels(DType dtype, const DeviceInfo& device,
                                    bool allow_tf32, bool vectors) {
  if (device.compute_capability >= 80) {
    if (dtype == DType::kHalf || dtype == DType::kBFloat16) {
      return ShortKernels(Suffix(dtype), device, vectors);
    }
    if (dtype == DType::kFloat && allow_tf32) {
      return {MmaKernel("tf32", 128, 4), MmaKernel("tf32", 64, 4)};
    }
    // Later tensor cores are no faster than FMAs.
    if (dtype == DType::kDouble && device.compute_capability < 100) {
      return {MmaKernel("double_mma", 64, 8)};
    }
  }
  switch (dtype) {
    case DType::kHalf:
      return {FmaKernel("half_fma", 64, 16, 4)};
    case DType::kBFloat16:
      return {FmaKernel("bfloat16_fma", 64, 16, 4)};
    case DType::kDouble:
      return {FmaKernel("double", 64, 8, 8)};
    default:
      return {FmaKernel("float", 128, 8, 4), FmaKernel("float", 64, 16, 4)};
  }
}

DepthRanges MakeRanges(int64_t blocks, int64_t tiles, int64_t range_bytes,
                       int64_t wanted, const DeviceInfo& device) {
  if (wanted == 0) {
    wanted = std::min({2 * device.multiprocessors / std::max<int64_t>(tiles, 1),
                       blocks / kMinBlocksPerRange,
                       kMaxPartialBytes / std::max<int64_t>(range_bytes, 1)});
    const int64_t longest = Blocks(blocks, std::max<int64_t>(wanted, 1));
    if (blocks - longest < kMinBlocksSaved) wanted = 1;
  }
  wanted = std::max<int64_t>(1, std::min(wanted, blocks));
  DepthRanges ranges;
  ranges.each = Blocks(blocks, wanted);
  ranges.count = Blocks(blocks, ranges.each);
  return ranges;
}

// Waves of blocks times the products of one.
double GemmCost(const GemmKernel& kernel, int64_t tiles,
                const DepthRanges& ranges, const DeviceInfo& device) {
  const double area = static_cast<double>(kernel.tile) * kernel.tile;
  const double waves =
      static_cast<double>(Blocks(tiles * ranges.count, device.multiprocessors));
  const double depth = static_cast<double>(ranges.each) * kernel.depth;
  return waves * area * depth * kernel.weight;
}

// Gathering elements takes more time than a larger tile would save.
bool HasFlat(const GemmKernel& kernel) { return kernel.tile == 64; }

Launch GemmLaunch(const GemmKernel& kernel, Operation operation, bool flat,
                  int64_t tiles, const GemmParams& params) {
  Launch launch;
  launch.module = kernel.module;
  launch.kernel =
      KernelName("ct_gemm_" + kernel.name + "_" + KindName(operation) +
                 (flat ? "_flat_" : "_") + std::to_string(kernel.tile));
  launch.grid[0] = static_cast<uint32_t>(tiles);
  launch.block[0] = static_cast<uint32_t>(kernel.threads);
  launch.shared_bytes = static_cast<uint32_t>(kernel.shared_bytes);
  launch.params = BytesOf(params);
  return launch;
}

Launch GemmSumLaunch(const GemmKernel& kernel, DType dtype, int64_t tiles,
                     GemmParams params) {
  params.store_partials = 0;
  const int64_t sum_bytes = dtype == DType::kDouble ? 8 : 4;
  const int64_t padding = 4;  // kPitch in gemm_sum.cu
  Launch launch;
  launch.module = "gemm_sum";
  launch.kernel = KernelName(std::string("ct_gemm_sum_") + Suffix(dtype) + "_" +
                             std::to_string(kernel.tile));
  launch.grid[0] = static_cast<uint32_t>(tiles);
  launch.grid[1] = static_cast<uint32_t>(kernel.tile / kSumRows);
  launch.block[0] = kSumThreads;
  launch.shared_bytes = static_cast<uint32_t>(
      kSumRows * (kRowTableBytes + (kernel.tile + padding) * sum_bytes));
  launch.params = BytesOf(params);
  return launch;
}

std::string Describe(const GemmKernel& kernel, int64_t tiles) {
  return "gemm: " + kernel.name + ", " + std::to_string(tiles) + " tiles of " +
         std::to_string(kernel.tile) + " x " + std::to_string(kernel.tile);
}

}  // namespace gpu
}  // namespace conv_transpose_nd
