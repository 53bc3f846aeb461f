// No memory, at each allocation of a call in turn: std::bad_alloc reaches the
// caller, nothing leaks (the address sanitizer looks), and the next call is
// right. A program of its own, for it replaces operator new.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"

namespace {

// Allocations until one fails; 0: none does.
int64_t countdown = 0;

void* Allocate(std::size_t bytes) {
  if (countdown > 0 && --countdown == 0) throw std::bad_alloc();
  void* p = std::malloc(bytes > 0 ? bytes : 1);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

void* operator new(std::size_t bytes) { return Allocate(bytes); }
void* operator new[](std::size_t bytes) { return Allocate(bytes); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }

namespace conv_transpose_nd {
namespace {

using testing::Request;
using testing::SimpleRequest;
using testing::Tensor;

// Calls `call` with the first, the second, ... allocation failing until it
// makes fewer, and `check` after each. Returns how many failed. What a stream
// does not get it leaves out without a word: not all of them are seen.
int64_t FailEach(const std::function<void()>& call,
                 const std::function<void()>& check) {
  for (int64_t n = 1;; ++n) {
    countdown = n;
    try {
      call();
    } catch (const std::bad_alloc&) {
      EXPECT_EQ(countdown, 0);
    }
    const bool failed = countdown == 0;
    countdown = 0;
    if (!failed) return n - 1;
    check();
  }
}

// Requests that between them take every family.
std::vector<Request> Requests() {
  Request layer = SimpleRequest({2, 6, 7, 32}, {4, 4, 24, 32}, {}, 2);
  layer.shapes.output = {2, 12, 14, 24};
  layer.attributes.padding = Padding::kSame;
  Request grouped = SimpleRequest({1, 6, 5, 4, 12}, {3, 2, 3, 2, 12}, {}, 2);
  grouped.attributes.groups = 4;
  grouped.attributes.dilations = {1, 2, 1, 3, 1};
  grouped.shapes.output = {1, 16, 10, 14, 8};
  grouped.attributes.padding = Padding::kExplicit;
  grouped.attributes.explicit_paddings = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  grouped.shapes.output = {1, 15, 10, 13, 8};
  Request depthwise = SimpleRequest({1, 5, 5, 9}, {3, 3, 1, 9}, {}, 1);
  depthwise.attributes.groups = 9;
  depthwise.attributes.padding = Padding::kSame;
  depthwise.shapes.output = {1, 5, 5, 9};
  return {layer, grouped, depthwise};
}

Plan PlanOf(Operation operation, const Request& request, KernelFamily family) {
  ConvTransposeGeometry geometry;
  const Status status =
      ResolveGeometry(operation, testing::ShapesOf(operation, request),
                      request.attributes, &geometry);
  EXPECT_TRUE(status.ok()) << status.message();
  return MakePlan(operation, geometry, DType::kFloat, ChosenTarget(), family);
}

TEST(AllocationTest, GeometryAndPlan) {
  for (const Request& request : Requests()) {
    for (Operation operation : testing::kOperations) {
      for (int f = 0; f <= static_cast<int>(KernelFamily::kPositions); ++f) {
        const auto family = static_cast<KernelFamily>(f);
        const std::string before =
            PlanOf(operation, request, family).ToString();
        const int64_t failures = FailEach(
            [&] { PlanOf(operation, request, family); },
            [&] {
              ASSERT_EQ(PlanOf(operation, request, family).ToString(), before);
            });
        EXPECT_GT(failures, 10) << before;
      }
    }
  }
}

TEST(AllocationTest, WordsOfAnError) {
  Request request = Requests()[0];
  request.shapes.output[1] = 99;
  ConvTransposeGeometry geometry;
  Status status;
  const auto resolve = [&] {
    status = InvalidArgument("");
    status = ResolveGeometry(Operation::kConvTranspose, request.shapes,
                             request.attributes, &geometry);
  };
  resolve();
  const std::string before = status.message();
  const int64_t failures = FailEach(resolve, [&] {
    ASSERT_EQ(status.code(), StatusCode::kInvalidArgument);
    resolve();
    ASSERT_EQ(status.message(), before);
  });
  EXPECT_GT(failures, 3);
}

// The kernels get their memory from the caller; what is left are closures.
TEST(AllocationTest, Run) {
  testing::Random random(1);
  for (const Request& request : Requests()) {
    for (Operation operation : testing::kOperations) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      const testing::Values values =
          testing::RandomValues(&random, DType::kFloat, geometry);
      for (const Plan& plan :
           testing::PlansOf(operation, DType::kFloat, geometry)) {
        const Tensor before = testing::RunKernel(plan, values);
        Tensor input(DType::kFloat, values.input.size());
        Tensor filter(DType::kFloat, values.filter.size());
        Tensor output_grad(DType::kFloat, values.output_grad.size());
        Tensor result(DType::kFloat, before.elements());
        input.SetAll(values.input);
        filter.SetAll(values.filter);
        output_grad.SetAll(values.output_grad);
        const testing::Buffer workspace(plan.WorkspaceBytes(2));
        Operands operands;
        operands.input = input.data();
        operands.filter = filter.data();
        operands.output_grad = output_grad.data();
        operands.result = result.data();
        // Units in blocks, as a pool of threads hands them out.
        ParallelFor parallel_for;
        parallel_for.max_workers = 2;
        parallel_for.run = [](int64_t total, int64_t block, const Work& work) {
          for (int64_t begin = 0; begin < total; begin += block) {
            work(begin, std::min(begin + block, total), begin / block % 2);
          }
        };
        const auto run = [&] {
          conv_transpose_nd::Run(plan, operands, workspace.data(),
                                 parallel_for);
        };
        FailEach(run, [&] {
          run();
          ASSERT_TRUE(testing::SameBits(result, before)) << plan.ToString();
        });
        EXPECT_TRUE(testing::SameBits(result, before)) << plan.ToString();
      }
    }
  }
}

}  // namespace
}  // namespace conv_transpose_nd
