// Runs the kernels on all that this machine supports and compares them with
// the reference.
#ifndef CONV_TRANSPOSE_ND_TESTS_TESTING_RUN_H_
#define CONV_TRANSPOSE_ND_TESTS_TESTING_RUN_H_

#include <vector>

#include "cc/core/parallel_for.h"
#include "cc/core/plan.h"
#include "tests/cc/testing/buffer.h"
#include "tests/cc/testing/expected.h"
#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace testing {

// The plans of one operation that this machine can run: every target and every
// kernel family that takes the geometry, what MakePlan prefers first.
std::vector<Plan> PlansOf(Operation operation, DType dtype,
                          const ConvTransposeGeometry& geometry);

// Calls Run with exact-size operands, result and workspace. Nothing that it
// reads before writing it holds a number. Fails the test where a guard of any
// buffer or an operand changed. filter_is_packed: PackFilter comes first, for
// plans that have a packed filter.
Tensor RunKernel(const Plan& plan, const Values& values,
                 const ParallelFor& parallel_for = {},
                 bool filter_is_packed = false);

// The three operations of `request` in `dtype`, with all of PlansOf, against
// the reference; int32 has the forward one only.
void CheckRequest(const Request& request, DType dtype, Random* random);

// One operation, with all of PlansOf.
void CheckOperation(Operation operation, DType dtype,
                    const ConvTransposeGeometry& geometry,
                    const Values& values);

// Whether units that other workers compute, and in another order, give the same
// bits as one thread does. Returns what that computed.
Tensor CheckSameBits(const Plan& plan, const Values& values);

}  // namespace testing
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_TESTING_RUN_H_
