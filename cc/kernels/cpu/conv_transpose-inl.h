// All kernel families for one instruction set. A target_*.cc defines
//   CT_TARGET           name of the target and of its namespace
//   CT_TARGET_OPTIONS   what the compiler may use, as a string, or nothing for
//   the baseline CT_VECTOR_BYTES     bytes of a vector register CT_REGISTERS
//   vector registers CT_HAS_F16C         defined where the target converts half
//   in hardware CT_BFLOAT16_PAIRS   defined where it multiplies pairs of
//   bfloat16, and CT_OTHERWISE then as the target that runs everything else
// and includes this file. Everything between the region's start and end is
// compiled for the target; standard and core headers come before it, so that no
// inline function of theirs is.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "cc/core/activation.h"
#include "cc/core/dtype.h"
#include "cc/core/geometry.h"
#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/kernels/cpu/target.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define CT_PRAGMA(text) _Pragma(#text)
#ifdef CT_TARGET_OPTIONS
#if defined(__clang__)
#define CT_BEGIN(options)                                          \
  CT_PRAGMA(clang attribute push(__attribute__((target(options))), \
                                 apply_to = function))
CT_BEGIN(CT_TARGET_OPTIONS)
#else
#define CT_BEGIN(options) CT_PRAGMA(GCC target options)
#pragma GCC push_options
CT_BEGIN((CT_TARGET_OPTIONS))
#endif
#endif

namespace conv_transpose_nd {
namespace CT_TARGET {

inline int64_t RoundUp64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// clang-format off: each builds on the ones before it.
#include "cc/kernels/cpu/simd-inl.h"
#include "cc/kernels/cpu/transpose-inl.h"
#include "cc/kernels/cpu/pairs-inl.h"
#include "cc/kernels/cpu/microkernel-inl.h"
#include "cc/kernels/cpu/gather-inl.h"
#include "cc/kernels/cpu/rows-inl.h"
#include "cc/kernels/cpu/found_rows-inl.h"
#include "cc/kernels/cpu/tap_rows-inl.h"
#include "cc/kernels/cpu/channel_lanes-inl.h"
#include "cc/kernels/cpu/channelwise-inl.h"
#include "cc/kernels/cpu/position_rows-inl.h"
#include "cc/kernels/cpu/positions-inl.h"
#ifndef CT_BFLOAT16_PAIRS
#include "cc/kernels/cpu/pixel_windows-inl.h"
#include "cc/kernels/cpu/pixel_lanes-inl.h"
#include "cc/kernels/cpu/pixel_tiles-inl.h"
#include "cc/kernels/cpu/result_lines-inl.h"
#include "cc/kernels/cpu/tap_lanes-inl.h"
#include "cc/kernels/cpu/minimal_filter-inl.h"
#include "cc/kernels/cpu/winograd_transforms-inl.h"
#include "cc/kernels/cpu/winograd_pack-inl.h"
#include "cc/kernels/cpu/winograd_tiles-inl.h"
#include "cc/kernels/cpu/winograd-inl.h"
#include "cc/kernels/cpu/winograd_grad-inl.h"
#include "cc/kernels/cpu/line_copies-inl.h"
#include "cc/kernels/cpu/copied_rows-inl.h"
#include "cc/kernels/cpu/all_taps-inl.h"
#endif
// clang-format on

// The result where no product contributes.
template <typename T>
void RunFill(const Plan& plan, const Compute<T>* bias, T* result,
             const ParallelFor& parallel_for) {
  if (plan.operation != Operation::kConvTranspose) {
    const Dims dims = plan.operation == Operation::kInputGrad
                          ? plan.geometry.InputDims()
                          : plan.geometry.FilterDims();
    std::memset(static_cast<void*>(result), 0, NumElements(dims) * sizeof(T));
    return;
  }
  const int64_t step = OutputStrides(plan.geometry).channel;
  const auto fill = [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; ++o) {
      const int64_t channel = o / step % plan.geometry.out_channels;
      result[o] =
          FromCompute<T>(plan.geometry.activation,
                         bias != nullptr ? bias[channel] : Compute<T>(0));
    }
  };
  parallel_for(NumElements(plan.geometry.OutputDims()), 1 << 16, fill);
}

// What a gather needs before its family runs: the bias as accumulators,
// positions without a tap filled, and the filter that the kernels read: packed
// before, packed now, or in place. Calls run(call, filter, scratch).
template <typename T, typename RunFamily>
void WithGatherCall(const Plan& plan, const Operands& operands, void* workspace,
                    const ParallelFor& parallel_for, PackFunction pack,
                    const RunFamily& run) {
  using A = Compute<T>;
  char* shared = static_cast<char*>(workspace);
  T* result = static_cast<T*>(operands.result);
  A* bias = nullptr;
  if (operands.bias != nullptr) {
    bias = reinterpret_cast<A*>(shared);
    const int64_t channels = plan.geometry.out_channels / plan.folded;
    for (int64_t n = 0; n < plan.folded; ++n) {
      WidenRow<T>(static_cast<const T*>(operands.bias), 1, channels,
                  bias + n * channels);
    }
  }
  if (plan.fill_first || plan.family == KernelFamily::kFill) {
    RunFill(plan, bias, result, parallel_for);
  }
  if (plan.family == KernelFamily::kFill) return;
  const void* source = plan.operation == Operation::kInputGrad
                           ? operands.output_grad
                           : operands.input;
  std::atomic<int> operand_state{0};
  const GatherCall<T> call{plan,
                           static_cast<const T*>(source),
                           static_cast<const T*>(operands.filter),
                           bias,
                           result,
                           &operand_state};
  char* scratch = shared + plan.shared_bytes;
  const void* filter = operands.filter;
  if (operands.packed_filter != nullptr) {
    filter = operands.packed_filter;
    scratch -= plan.packed_bytes;
  } else if (plan.packed_bytes > 0) {
    void* packed = scratch - plan.packed_bytes;
    pack(plan, operands.filter, packed, parallel_for);
    filter = packed;
  }
  run(call, filter, scratch);
}

#define CT_STRING(name) #name
#define CT_NAME(name) CT_STRING(name)

#ifdef CT_BFLOAT16_PAIRS

bool RunsInPairs(const Plan& plan) {
  return plan.family == KernelFamily::kPositions ? plan.positions.pairs
                                                 : plan.channel_lanes.pairs;
}

void PackBFloat16(const Plan& plan, const void* filter, void* packed,
                  const ParallelFor& parallel_for) {
  if (!RunsInPairs(plan)) {
    return CT_OTHERWISE::Kernels()->pack[static_cast<int>(plan.dtype)](
        plan, filter, packed, parallel_for);
  }
  const GatherCall<BFloat16> call{
      plan,    nullptr, static_cast<const BFloat16*>(filter),
      nullptr, nullptr, nullptr};
  PackChannelLanes(call, static_cast<BFloat16Pair*>(packed), parallel_for);
}

void RunBFloat16(const Plan& plan, const Operands& operands, void* workspace,
                 const ParallelFor& parallel_for) {
  if (!RunsInPairs(plan)) {
    return CT_OTHERWISE::Kernels()->run[static_cast<int>(plan.dtype)](
        plan, operands, workspace, parallel_for);
  }
  if (plan.family == KernelFamily::kPositions) {
    char* shared = static_cast<char*>(workspace);
    const FilterGradCall<BFloat16> call{
        plan, static_cast<const BFloat16*>(operands.input),
        static_cast<const BFloat16*>(operands.output_grad),
        static_cast<BFloat16*>(operands.result)};
    if (!RunSums<Positions>(call, shared, shared + plan.shared_bytes,
                            parallel_for)) {
      RunBFloat16(*plan.exact, operands, workspace, parallel_for);
    }
    return;
  }
  WithGatherCall<BFloat16>(
      plan, operands, workspace, parallel_for, PackBFloat16,
      [&](const GatherCall<BFloat16>& call, const void* filter, char* scratch) {
        RunChannelLanes(call, static_cast<const BFloat16Pair*>(filter), scratch,
                        parallel_for);
      });
}

// The kernels of the other types are those of the other target.
const TargetKernels* Kernels() {
  static const TargetKernels kernels = [] {
    TargetKernels all = *CT_OTHERWISE::Kernels();
    all.info.name = CT_NAME(CT_TARGET);
    all.info.bfloat16_products = 2;
    all.run[static_cast<int>(DType::kBFloat16)] = RunBFloat16;
    all.pack[static_cast<int>(DType::kBFloat16)] = PackBFloat16;
    return all;
  }();
  return &kernels;
}

#else

// Transforms halve: integers cannot.
template <typename T>
inline constexpr bool kHasWinograd = std::is_floating_point_v<Compute<T>>;

template <typename T>
void PackTyped(const Plan& plan, const void* filter, void* packed,
               const ParallelFor& parallel_for) {
  const GatherCall<T> call{plan,    nullptr, static_cast<const T*>(filter),
                           nullptr, nullptr, nullptr};
  Compute<T>* to = static_cast<Compute<T>*>(packed);
  switch (plan.family) {
    case KernelFamily::kChannelLanes:
      return PackChannelLanes(call, to, parallel_for);
    case KernelFamily::kPixelLanes:
      return PackPixelLanes(call, to, parallel_for);
    case KernelFamily::kTapLanes:
      return PackTapLanes(call, to, parallel_for);
    case KernelFamily::kWinograd:
      if constexpr (kHasWinograd<T>) {
        PackWinograd(call, to, parallel_for);
      }
      return;
    default:
      WidenRow<T>(call.filter, 1, NumElements(plan.geometry.FilterDims()), to);
  }
}

template <typename T>
void RunTyped(const Plan& plan, const Operands& operands, void* workspace,
              const ParallelFor& parallel_for);

// One family of gathers.
template <typename T>
void RunGather(const GatherCall<T>& call, const void* filter, char* scratch,
               const Operands& operands, void* workspace,
               const ParallelFor& parallel_for) {
  const Plan& plan = call.plan;
  const auto* weights = static_cast<const Compute<T>*>(filter);
  switch (plan.family) {
    case KernelFamily::kChannelLanes:
      return RunChannelLanes(call, weights, scratch, parallel_for);
    case KernelFamily::kPixelLanes:
      return RunPixelLanes(call, weights, scratch, parallel_for);
    case KernelFamily::kPixelTiles:
      return RunPixelTiles(call, scratch, parallel_for);
    case KernelFamily::kCopiedRows:
      if constexpr (kNative<T>) {
        if (RunCopiedRows(call, scratch, parallel_for)) return;
        RunTyped<T>(*plan.exact, operands, workspace, parallel_for);
      }
      return;
    case KernelFamily::kTapLanes:
      return RunTapLanes(call, weights, scratch, parallel_for);
    case KernelFamily::kWinograd:
      if constexpr (kHasWinograd<T>) {
        if (RunWinograd(call, weights, scratch, parallel_for)) return;
        Operands exact = operands;
        exact.packed_filter = nullptr;
        RunTyped<T>(*plan.exact, exact, workspace, parallel_for);
      }
      return;
    default:
      return RunChannelwise(call, weights, scratch, parallel_for);
  }
}

// One family of filter gradients; false where the call has to run again.
template <typename T>
bool RunFilterGrad(const FilterGradCall<T>& call, char* shared, char* scratch,
                   const ParallelFor& parallel_for) {
  if constexpr (kHasWinograd<T>) {
    if (call.plan.family == KernelFamily::kWinograd) {
      return RunWinogradGrad(call, shared, scratch, parallel_for);
    }
  }
  if (call.plan.positions.all_taps) {
    return RunSums<AllTaps>(call, shared, scratch, parallel_for);
  }
  return RunSums<Positions>(call, shared, scratch, parallel_for);
}

template <typename T>
void RunTyped(const Plan& plan, const Operands& operands, void* workspace,
              const ParallelFor& parallel_for) {
  if (plan.operation == Operation::kFilterGrad &&
      plan.family != KernelFamily::kFill) {
    char* shared = static_cast<char*>(workspace);
    const FilterGradCall<T> call{plan, static_cast<const T*>(operands.input),
                                 static_cast<const T*>(operands.output_grad),
                                 static_cast<T*>(operands.result)};
    if (!RunFilterGrad(call, shared, shared + plan.shared_bytes,
                       parallel_for)) {
      RunTyped<T>(*plan.exact, operands, workspace, parallel_for);
    }
    return;
  }
  WithGatherCall<T>(
      plan, operands, workspace, parallel_for, PackTyped<T>,
      [&](const GatherCall<T>& call, const void* filter, char* scratch) {
        RunGather(call, filter, scratch, operands, workspace, parallel_for);
      });
}

const TargetKernels* Kernels() {
  static const TargetKernels kernels = {
      {CT_NAME(CT_TARGET), CT_VECTOR_BYTES, CT_REGISTERS},
      {RunTyped<Half>, RunTyped<BFloat16>, RunTyped<float>, RunTyped<double>,
       RunTyped<int32_t>},
      {PackTyped<Half>, PackTyped<BFloat16>, PackTyped<float>,
       PackTyped<double>, PackTyped<int32_t>}};
  return &kernels;
}

#endif

}  // namespace CT_TARGET
}  // namespace conv_transpose_nd

#ifdef CT_TARGET_OPTIONS
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
