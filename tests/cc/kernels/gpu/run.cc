#include "tests/cc/kernels/gpu/run.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/cc/kernels/gpu/emulator.h"
#include "tests/cc/testing/buffer.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

using testing::Buffer;
using testing::Tensor;

Tensor Filled(DType dtype, const std::vector<double>& values) {
  Tensor tensor(dtype, static_cast<int64_t>(values.size()));
  tensor.SetAll(values);
  return tensor;
}

Tensor RunOnce(const Program& program, Operation operation, DType dtype,
               const ConvTransposeGeometry& geometry,
               const testing::Values& values,
               const emulator::Options& options) {
  const bool forward = operation == Operation::kConvTranspose;
  const Tensor first =
      Filled(dtype, operation == Operation::kInputGrad ? values.output_grad
                                                       : values.input);
  const Tensor second =
      Filled(dtype, operation == Operation::kFilterGrad ? values.output_grad
                                                        : values.filter);
  const Tensor bias =
      Filled(dtype, forward ? values.bias : std::vector<double>());
  const Buffer workspace(program.workspace_bytes);
  Tensor result(dtype, testing::ResultElements(operation, geometry));
  emulator::Run(program, first.data(), second.data(),
                bias.elements() > 0 ? bias.data() : nullptr, result.data(),
                workspace.data(), options);
  for (const Tensor* tensor : {&first, &second, &bias}) {
    EXPECT_TRUE(tensor->buffer().Intact()) << "wrote beside an operand";
  }
  EXPECT_TRUE(workspace.Intact()) << "wrote beside the workspace";
  EXPECT_TRUE(result.buffer().Intact()) << "wrote beside the result";
  return result;
}

}  // namespace

void CheckProgram(const Program& program, Operation operation, DType dtype,
                  const ConvTransposeGeometry& geometry,
                  const testing::Values& values) {
  SCOPED_TRACE(std::string(testing::DTypeName(dtype)) + " " + program.reason);
  const std::vector<double> expected =
      testing::Expected(operation, dtype, geometry, values);
  const Tensor result = RunOnce(program, operation, dtype, geometry, values,
                                {/*last_to_first=*/false,
                                 /*early_copies=*/false});
  testing::ExpectClose(
      result, expected,
      testing::Tolerance(operation, dtype, geometry, values, expected));
  const Tensor again = RunOnce(program, operation, dtype, geometry, values,
                               {/*last_to_first=*/true,
                                /*early_copies=*/true});
  EXPECT_TRUE(testing::SameBits(result, again)) << "other order of threads";
}

}  // namespace gpu
}  // namespace conv_transpose_nd
