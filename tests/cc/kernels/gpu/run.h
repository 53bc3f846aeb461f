// Runs programs in the emulator and compares them with the reference.
#ifndef CONV_TRANSPOSE_ND_TESTS_KERNELS_GPU_RUN_H_
#define CONV_TRANSPOSE_ND_TESTS_KERNELS_GPU_RUN_H_

#include "cc/kernels/gpu/program.h"
#include "tests/cc/testing/expected.h"
#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace gpu {

// Runs `program` on exact-size operands, result and workspace, twice: in
// opposite orders of threads, with asynchronous copies as late and as early as
// can be. Fails the test unless both are the same bits and close to the
// reference, and nothing else was written to. aligned: what MakeProgram was
// told.
void CheckProgram(const Program& program, Operation operation, DType dtype,
                  const ConvTransposeGeometry& geometry,
                  const testing::Values& values, bool aligned);

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_KERNELS_GPU_RUN_H_
