// The rules that a request must obey, as README states them, in 128-bit
// arithmetic and in another way than geometry.cc: what it accepts and what it
// rejects is compared with these.
#ifndef CONV_TRANSPOSE_ND_TESTS_FUZZ_RULES_H_
#define CONV_TRANSPOSE_ND_TESTS_FUZZ_RULES_H_

#include "cc/core/geometry.h"

namespace conv_transpose_nd {
namespace fuzz {

// Whether ResolveGeometry must accept shapes that hold no kUnknown, and the
// input, filter and output dimensions that it must then find.
bool Valid(Operation operation, const Shapes& shapes,
           const Attributes& attributes, Shapes* resolved);

}  // namespace fuzz
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_FUZZ_RULES_H_
