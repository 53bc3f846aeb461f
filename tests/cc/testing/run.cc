#include "tests/cc/testing/run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/workers.h"

namespace conv_transpose_nd {
namespace testing {
namespace {

Tensor Filled(DType dtype, const std::vector<double>& values) {
  Tensor tensor(dtype, static_cast<int64_t>(values.size()));
  tensor.SetAll(values);
  return tensor;
}

// The operands of one call, and what they held.
class KernelOperands {
 public:
  KernelOperands(DType dtype, const Values& values)
      : input_(Filled(dtype, values.input)),
        filter_(Filled(dtype, values.filter)),
        output_grad_(Filled(dtype, values.output_grad)),
        bias_(Filled(dtype, values.bias)) {
    for (const Tensor* tensor : All()) before_.push_back(Bytes(*tensor));
  }

  // What an operation does not take stays null.
  Operands Of(Operation operation) const {
    Operands operands;
    if (operation != Operation::kInputGrad) operands.input = input_.data();
    if (operation != Operation::kFilterGrad) operands.filter = filter_.data();
    if (operation != Operation::kConvTranspose) {
      operands.output_grad = output_grad_.data();
    } else if (bias_.elements() > 0) {
      operands.bias = bias_.data();
    }
    return operands;
  }

  void ExpectUnchanged() const {
    for (size_t i = 0; i < before_.size(); ++i) {
      EXPECT_TRUE(All()[i]->buffer().Intact()) << "wrote beside an operand";
      EXPECT_TRUE(Bytes(*All()[i]) == before_[i]) << "wrote to an operand";
    }
  }

 private:
  std::array<const Tensor*, 4> All() const {
    return {&input_, &filter_, &output_grad_, &bias_};
  }
  static std::vector<unsigned char> Bytes(const Tensor& tensor) {
    const unsigned char* begin = tensor.buffer().data();
    return std::vector<unsigned char>(begin, begin + tensor.buffer().bytes());
  }

  const Tensor input_, filter_, output_grad_, bias_;
  std::vector<std::vector<unsigned char>> before_;
};

}  // namespace

std::vector<Plan> PlansOf(Operation operation, DType dtype,
                          const ConvTransposeGeometry& geometry) {
  std::vector<Plan> plans;
  for (const std::string& name : SupportedTargets()) {
    const TargetInfo& target = *FindTarget(name);
    plans.push_back(MakePlan(operation, geometry, dtype, target));
    const KernelFamily preferred = plans.back().family;
    for (int f = static_cast<int>(KernelFamily::kChannelLanes);
         f < static_cast<int>(KernelFamily::kPositions); ++f) {
      const auto family = static_cast<KernelFamily>(f);
      Plan plan = MakePlan(operation, geometry, dtype, target, family);
      if (family == preferred || plan.family != family) continue;
      plans.push_back(std::move(plan));
    }
  }
  return plans;
}

Tensor RunKernel(const Plan& plan, const Values& values,
                 const ParallelFor& parallel_for, bool filter_is_packed) {
  const KernelOperands tensors(plan.dtype, values);
  Operands operands = tensors.Of(plan.operation);
  const Buffer packed(filter_is_packed ? plan.packed_bytes : 0);
  if (packed.bytes() > 0) {
    PackFilter(plan, operands.filter, packed.data(), parallel_for);
    operands.packed_filter = packed.data();
  }
  const Buffer workspace(plan.WorkspaceBytes(
      parallel_for.max_workers, operands.packed_filter != nullptr));
  Tensor result(plan.dtype, ResultElements(plan.operation, plan.call));
  operands.result = result.data();
  Run(plan, operands, workspace.data(), parallel_for);
  EXPECT_TRUE(packed.Intact()) << "wrote beside the packed filter";
  EXPECT_TRUE(workspace.Intact()) << "wrote beside the workspace";
  EXPECT_TRUE(result.buffer().Intact()) << "wrote beside the result";
  tensors.ExpectUnchanged();
  return result;
}

void CheckOperation(Operation operation, DType dtype,
                    const ConvTransposeGeometry& geometry,
                    const Values& values) {
  const std::vector<double> expected =
      Expected(operation, dtype, geometry, values);
  for (const Plan& plan : PlansOf(operation, dtype, geometry)) {
    SCOPED_TRACE(std::string(DTypeName(dtype)) + " " + plan.ToString());
    const Tensor result = RunKernel(plan, values);
    ExpectClose(result, expected, Tolerance(plan, values, expected));
    const Tensor again = RunKernel(plan, values, LastToFirst(3),
                                   /*filter_is_packed=*/true);
    EXPECT_TRUE(SameBits(result, again)) << "other order or packed filter";
  }
}

void CheckRequest(const Request& request, DType dtype, Random* random) {
  SCOPED_TRACE(Describe(request));
  for (Operation operation : kOperations) {
    if (dtype == DType::kInt32 && operation != Operation::kConvTranspose) {
      continue;
    }
    const ConvTransposeGeometry geometry = GeometryOf(operation, request);
    CheckOperation(operation, dtype, geometry,
                   RandomValues(random, dtype, geometry));
  }
}

Tensor CheckSameBits(const Plan& plan, const Values& values) {
  Tensor alone = RunKernel(plan, values);
  EXPECT_TRUE(SameBits(alone, RunKernel(plan, values, Threads(3))))
      << plan.ToString();
  EXPECT_TRUE(SameBits(alone, RunKernel(plan, values, LastToFirst(2))))
      << plan.ToString();
  return alone;
}

}  // namespace testing
}  // namespace conv_transpose_nd
