// Elements beyond 2^31 and 2^32, in memory that is reserved but not there: only
// the pages that a call touches exist. A 32-bit product anywhere in the address
// arithmetic reads or writes elsewhere.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/buffer.h"
#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"

namespace conv_transpose_nd {
namespace {

using testing::Request;

// Zeros, except where something was written.
class SparseFloats {
 public:
  explicit SparseFloats(int64_t elements)
      : bytes_(elements * sizeof(float)),
        data_(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~SparseFloats() {
    if (ok()) munmap(data_, bytes_);
  }
  SparseFloats(const SparseFloats&) = delete;
  SparseFloats& operator=(const SparseFloats&) = delete;

  bool ok() const { return data_ != MAP_FAILED; }
  float& operator[](int64_t i) const { return static_cast<float*>(data_)[i]; }
  void* data() const { return data_; }

 private:
  const size_t bytes_;
  void* const data_;
};

#define CT_NEED(sparse) \
  if (!(sparse).ok()) GTEST_SKIP() << "no address space for the tensor"

std::vector<Plan> Plans(Operation operation, const Request& request) {
  return testing::PlansOf(operation, DType::kFloat,
                          testing::GeometryOf(operation, request));
}

// Input [1, 2^32, 3], of which the padding crops all but positions near 2^31:
// elements near 3 * 2^31.
TEST(OffsetsTest, InputOfConvTranspose) {
  constexpr int64_t kLength = int64_t{1} << 32;
  constexpr int64_t kPad = (int64_t{1} << 31) - 1;
  const SparseFloats input(3 * kLength);
  CT_NEED(input);
  Request request = testing::SimpleRequest({1, kLength, 3}, {2, 1, 3}, {}, 1);
  request.attributes.padding = Padding::kExplicit;
  request.attributes.explicit_paddings = {0, 0, kPad, kPad, 0, 0};
  request.shapes.output = {1, kLength + 1 - 2 * kPad, 1};
  for (int64_t i = -2; i < 6; ++i) {
    for (int c = 0; c < 3; ++c) input[(kPad + i) * 3 + c] = 10.0f * i + c;
  }
  const float filter[] = {1, 10, 100, 1000, 10000, 100000};
  for (const Plan& plan : Plans(Operation::kConvTranspose, request)) {
    SCOPED_TRACE(plan.ToString());
    float output[3] = {-1, -1, -1};
    Operands operands;
    operands.input = input.data();
    operands.filter = filter;
    operands.result = output;
    const testing::Buffer workspace(plan.WorkspaceBytes(1));
    conv_transpose_nd::Run(plan, operands, workspace.data(), {});
    // output[o] = filter[0] . input[o + pad] + filter[1] . input[o + pad - 1]
    for (int o = 0; o < 3; ++o) {
      float sum = 0;
      for (int k = 0; k < 2; ++k) {
        for (int c = 0; c < 3; ++c) {
          sum += filter[k * 3 + c] * (10.0f * (o - k) + c);
        }
      }
      EXPECT_EQ(output[o], sum) << o;
    }
    EXPECT_TRUE(workspace.Intact());
  }
}

// Gradients of [1, 5, 2] -> [1, 2^32 + 1, 2], stride 2^30: output_grad is read
// at elements up to 2^33.
class HugeOutputTest : public ::testing::Test {
 protected:
  static constexpr int64_t kStride = int64_t{1} << 30;

  HugeOutputTest()
      : request_(testing::SimpleRequest({1, 5, 2}, {1, 2, 2},
                                        {1, 4 * kStride + 1, 2}, kStride)),
        output_grad_(2 * (4 * kStride + 1)) {}

  // Channel c of the position that input i meets.
  float& At(int64_t i, int64_t c) const {
    return output_grad_[2 * i * kStride + c];
  }
  void Fill() const {
    for (int64_t i = 0; i < 5; ++i) {
      for (int64_t c = 0; c < 2; ++c) At(i, c) = 1.0f + i + 10 * c;
    }
  }

  const Request request_;
  const SparseFloats output_grad_;
};

TEST_F(HugeOutputTest, InputGrad) {
  CT_NEED(output_grad_);
  Fill();
  const float filter[] = {1, 2, 3, 4};  // [out][in]
  for (const Plan& plan : Plans(Operation::kInputGrad, request_)) {
    SCOPED_TRACE(plan.ToString());
    std::vector<float> result(10, -1.0f);
    Operands operands;
    operands.output_grad = output_grad_.data();
    operands.filter = filter;
    operands.result = result.data();
    const testing::Buffer workspace(plan.WorkspaceBytes(1));
    conv_transpose_nd::Run(plan, operands, workspace.data(), {});
    for (int i = 0; i < 5; ++i) {
      for (int c = 0; c < 2; ++c) {
        EXPECT_EQ(result[2 * i + c],
                  At(i, 0) * filter[c] + At(i, 1) * filter[2 + c]);
      }
    }
  }
}

TEST_F(HugeOutputTest, FilterGrad) {
  CT_NEED(output_grad_);
  Fill();
  const std::vector<float> input = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  for (const Plan& plan : Plans(Operation::kFilterGrad, request_)) {
    SCOPED_TRACE(plan.ToString());
    std::vector<float> result(4, -1.0f);
    Operands operands;
    operands.input = input.data();
    operands.output_grad = output_grad_.data();
    operands.result = result.data();
    const testing::Buffer workspace(plan.WorkspaceBytes(1));
    conv_transpose_nd::Run(plan, operands, workspace.data(), {});
    for (int co = 0; co < 2; ++co) {
      for (int ci = 0; ci < 2; ++ci) {
        float sum = 0;
        for (int i = 0; i < 5; ++i) sum += At(i, co) * input[2 * i + ci];
        EXPECT_EQ(result[2 * co + ci], sum);
      }
    }
  }
}

// Strides, plans and workspaces of tensors just below the bound of 2^56
// elements, in 128-bit arithmetic.
TEST(OffsetsTest, StridesOfTheLargestTensors) {
  __extension__ using Wide = __int128;
  testing::Random random(1);
  for (int i = 0; i < 2000; ++i) {
    const int rank = static_cast<int>(random.Uniform(1, 6));
    Dims input{1}, filter, output{1};
    int64_t bits = 56;
    for (int a = 0; a < rank; ++a) {
      const int64_t stride_bits = 1, length = random.Uniform(0, bits / 2);
      bits -= length + stride_bits;
      if (bits < 2) break;
      input.push_back(int64_t{1} << length);
      output.push_back(int64_t{2} << length);
      filter.push_back(2);
    }
    for (Dims* dims : {&input, &output}) dims->push_back(1);
    filter.push_back(1);
    filter.push_back(1);
    if (filter.size() < 3) continue;
    Request request = testing::SimpleRequest(input, filter, output, 2);
    request.attributes.padding = Padding::kSame;
    const ConvTransposeGeometry geometry =
        testing::GeometryOf(Operation::kConvTranspose, request);
    const ElementStrides strides = OutputStrides(geometry);
    Wide step = 1;
    for (int a = geometry.rank - 1; a >= 0; --a) {
      EXPECT_EQ(static_cast<Wide>(strides.axis[a]), step);
      step *= output[a + 1];
    }
    EXPECT_EQ(static_cast<Wide>(strides.batch), step);
    for (Operation operation : testing::kOperations) {
      const Plan plan =
          MakePlan(operation, testing::GeometryOf(operation, request),
                   DType::kFloat, ChosenTarget());
      EXPECT_GT(plan.units, 0) << plan.ToString();
      // Blocks, not tensors: the workspace does not grow with the lengths.
      EXPECT_LT(plan.WorkspaceBytes(8), int64_t{1} << 26) << plan.ToString();
    }
  }
}

}  // namespace
}  // namespace conv_transpose_nd
