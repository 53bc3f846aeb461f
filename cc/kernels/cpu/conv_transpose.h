// SIMD-free entry of the CPU kernels: a plan and plain pointers. Step 5 of the
// path of a call. Everything was validated in ResolveGeometry; nothing here
// fails.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_CONV_TRANSPOSE_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_CONV_TRANSPOSE_H_

#include <memory>
#include <string>
#include <vector>

#include "cc/core/parallel_for.h"
#include "cc/core/plan.h"

namespace conv_transpose_nd {

// Contiguous tensors of plan.dtype, in the layout of geometry.h.
//   kConvTranspose: input, filter, bias (or null) -> result = output
//   kInputGrad:     output_grad, filter           -> result = input gradient
//   kFilterGrad:    input, output_grad            -> result = filter gradient
struct Operands {
  const void* input = nullptr;
  const void* filter = nullptr;
  const void* output_grad = nullptr;
  const void* bias = nullptr;
  // What PackFilter wrote for this plan, or null: Run then packs on its own.
  const void* packed_filter = nullptr;
  void* result = nullptr;
};

// MakePlan for the target in use. Writes one line per plan to stderr with
// CONV_TRANSPOSE_ND_LOG=plan.
Plan PlanFor(Operation operation, const ConvTransposeGeometry& geometry,
             DType dtype, bool filter_is_packed = false);

// The same, made once for calls that repeat: a few hundred are kept.
std::shared_ptr<const Plan> SharedPlanFor(Operation operation,
                                          const ConvTransposeGeometry& geometry,
                                          DType dtype);

// The family that PlanFor asks MakePlan for, process-wide; kNone, the default,
// leaves the choice to the estimated cost. For tests.
void ForceFamily(KernelFamily family);

// Writes plan.packed_bytes of packed filter, 64-byte aligned: for filters that
// serve more than one call.
void PackFilter(const Plan& plan, const void* filter, void* packed,
                const ParallelFor& parallel_for);

// workspace: plan.WorkspaceBytes(parallel_for.max_workers,
// operands.packed_filter != nullptr), 64-byte aligned;
// contents undefined before and after. Thread-safe; same bits for any number of
// workers.
void Run(const Plan& plan, const Operands& operands, void* workspace,
         const ParallelFor& parallel_for);

// Instruction sets compiled in that this machine runs, best first.
std::vector<std::string> SupportedTargets();

// The one in use: CONV_TRANSPOSE_ND_TARGET where that names a supported one,
// else the best.
const TargetInfo& ChosenTarget();

// Looks a supported target up; null where `name` is not among
// SupportedTargets().
const TargetInfo* FindTarget(const std::string& name);

// Makes `name` the one that ChosenTarget returns. False, and no change, where
// it is not supported.
bool ChooseTarget(const std::string& name);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_CONV_TRANSPOSE_H_
