// All kernel families for one instruction set. A target_*.cc defines
//   CT_TARGET           name of the target and of its namespace
//   CT_TARGET_OPTIONS   what the compiler may use, as a string, or nothing for
//   the baseline CT_VECTOR_BYTES     bytes of a vector register CT_REGISTERS
//   vector registers CT_HAS_F16C         defined where the target converts half
//   in hardware
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
#include "cc/kernels/cpu/microkernel-inl.h"
#include "cc/kernels/cpu/gather-inl.h"
#include "cc/kernels/cpu/rows-inl.h"
#include "cc/kernels/cpu/found_rows-inl.h"
#include "cc/kernels/cpu/tap_rows-inl.h"
#include "cc/kernels/cpu/channel_lanes-inl.h"
#include "cc/kernels/cpu/pixel_lanes-inl.h"
#include "cc/kernels/cpu/pixel_tiles-inl.h"
#include "cc/kernels/cpu/result_lines-inl.h"
#include "cc/kernels/cpu/tap_lanes-inl.h"
#include "cc/kernels/cpu/minimal_filter-inl.h"
#include "cc/kernels/cpu/winograd_pack-inl.h"
#include "cc/kernels/cpu/winograd-inl.h"
#include "cc/kernels/cpu/channelwise-inl.h"
#include "cc/kernels/cpu/position_rows-inl.h"
#include "cc/kernels/cpu/positions-inl.h"
#include "cc/kernels/cpu/copied_rows-inl.h"
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
      if constexpr (std::is_same_v<T, float>) {
        PackWinograd(call, to, parallel_for);
      }
      return;
    default:
      WidenRow<T>(call.filter, 1, NumElements(plan.geometry.FilterDims()), to);
  }
}

template <typename T>
void RunTyped(const Plan& plan, const Operands& operands, void* workspace,
              const ParallelFor& parallel_for) {
  using A = Compute<T>;
  char* shared = static_cast<char*>(workspace);
  T* result = static_cast<T*>(operands.result);
  if (plan.family == KernelFamily::kPositions) {
    const FilterGradCall<T> call{plan, static_cast<const T*>(operands.input),
                                 static_cast<const T*>(operands.output_grad),
                                 result};
    if (!RunPositions(call, shared, shared + plan.shared_bytes, parallel_for)) {
      RunTyped<T>(*plan.exact, operands, workspace, parallel_for);
    }
    return;
  }
  A* bias = nullptr;
  if (operands.bias != nullptr) {
    bias = reinterpret_cast<A*>(shared);
    WidenRow<T>(static_cast<const T*>(operands.bias), 1,
                plan.geometry.out_channels, bias);
  }
  if (plan.family == KernelFamily::kFill) {
    return RunFill(plan, bias, result, parallel_for);
  }
  if (plan.fill_first) RunFill(plan, bias, result, parallel_for);
  const void* source = plan.operation == Operation::kInputGrad
                           ? operands.output_grad
                           : operands.input;
  std::atomic<int> filter_state{0};
  const GatherCall<T> call{plan,
                           static_cast<const T*>(source),
                           static_cast<const T*>(operands.filter),
                           bias,
                           result,
                           &filter_state};
  // The filter that the kernels read: packed before, packed now, or in place.
  char* scratch = shared + plan.shared_bytes;
  const void* filter = operands.filter;
  if (operands.packed_filter != nullptr) {
    filter = operands.packed_filter;
    scratch -= plan.packed_bytes;
  } else if (plan.packed_bytes > 0) {
    void* packed = scratch - plan.packed_bytes;
    PackTyped<T>(plan, operands.filter, packed, parallel_for);
    filter = packed;
  }
  const A* weights = static_cast<const A*>(filter);
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
      if constexpr (std::is_same_v<T, float>) {
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

const TargetKernels* Kernels() {
#define CT_STRING(name) #name
#define CT_NAME(name) CT_STRING(name)
  static const TargetKernels kernels = {
      {CT_NAME(CT_TARGET), CT_VECTOR_BYTES, CT_REGISTERS},
      {RunTyped<Half>, RunTyped<BFloat16>, RunTyped<float>, RunTyped<double>,
       RunTyped<int32_t>},
      {PackTyped<Half>, PackTyped<BFloat16>, PackTyped<float>,
       PackTyped<double>, PackTyped<int32_t>}};
  return &kernels;
}

}  // namespace CT_TARGET
}  // namespace conv_transpose_nd

#ifdef CT_TARGET_OPTIONS
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
