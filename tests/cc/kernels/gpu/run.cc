#include "tests/cc/kernels/gpu/run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/cc/kernels/gpu/emulator.h"
#include "tests/cc/testing/buffer.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

using testing::Buffer;
using testing::Tensor;

// Elements at a 16-byte boundary, or one element beyond it.
class Operand {
 public:
  Operand(DType dtype, int64_t elements, bool aligned)
      : buffer_(elements * SizeOf(dtype), aligned ? 0 : SizeOf(dtype)) {}
  Operand(DType dtype, const std::vector<double>& values, bool aligned)
      : Operand(dtype, static_cast<int64_t>(values.size()), aligned) {
    Tensor tensor(dtype, static_cast<int64_t>(values.size()));
    tensor.SetAll(values);
    std::copy_n(tensor.buffer().data(), buffer_.bytes(), buffer_.data());
  }

  unsigned char* data() const { return buffer_.data(); }
  int64_t bytes() const { return buffer_.bytes(); }
  bool Intact() const { return buffer_.Intact(); }

 private:
  Buffer buffer_;
};

Tensor RunOnce(const Program& program, Operation operation, DType dtype,
               const ConvTransposeGeometry& geometry,
               const testing::Values& values, bool aligned,
               const emulator::Options& options) {
  const bool forward = operation == Operation::kConvTranspose;
  const Operand first(
      dtype,
      operation == Operation::kInputGrad ? values.output_grad : values.input,
      aligned);
  const Operand second(
      dtype,
      operation == Operation::kFilterGrad ? values.output_grad : values.filter,
      aligned);
  const Operand bias(dtype, forward ? values.bias : std::vector<double>(),
                     aligned);
  const Buffer workspace(program.workspace_bytes);
  const int64_t elements = ResultElements(operation, geometry);
  const Operand result(dtype, elements, aligned);
  emulator::Run(program, first.data(), second.data(),
                bias.bytes() > 0 ? bias.data() : nullptr, result.data(),
                workspace.data(), options);
  for (const Operand* operand : {&first, &second, &bias}) {
    EXPECT_TRUE(operand->Intact()) << "wrote beside an operand";
  }
  EXPECT_TRUE(workspace.Intact()) << "wrote beside the workspace";
  EXPECT_TRUE(result.Intact()) << "wrote beside the result";
  Tensor tensor(dtype, elements);
  std::copy_n(result.data(), result.bytes(), tensor.buffer().data());
  return tensor;
}

}  // namespace

void CheckProgram(const Program& program, Operation operation, DType dtype,
                  const ConvTransposeGeometry& geometry,
                  const testing::Values& values, bool aligned) {
  SCOPED_TRACE(std::string(testing::DTypeName(dtype)) + " " + program.reason);
  const std::vector<double> expected =
      testing::Expected(operation, dtype, geometry, values);
  const Tensor result =
      RunOnce(program, operation, dtype, geometry, values, aligned,
              {/*last_to_first=*/false,
               /*early_copies=*/false});
  std::vector<double> tolerance =
      testing::Tolerance(operation, dtype, geometry, values, expected);
  if (program.reason.find("tf32") != std::string::npos) {
    // Both factors are rounded to 10 bits, ties away: 2^-11 each, where the
    // bound above is 8 * 2^-23 of the same sum.
    for (double& bound : tolerance) bound *= 2 * 0x1p-11 / (8 * 0x1p-23) + 1;
  }
  testing::ExpectClose(result, expected, tolerance);
  const Tensor again =
      RunOnce(program, operation, dtype, geometry, values, aligned,
              {/*last_to_first=*/true,
               /*early_copies=*/true});
  EXPECT_TRUE(testing::SameBits(result, again)) << "other order of threads";
}

}  // namespace gpu
}  // namespace conv_transpose_nd
