// What the machine can do at most: multiply-adds per second, and bytes copied
// per second. What the times of plans are held against; no kernel needs it.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_MACHINE_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_MACHINE_H_

#include <cstdint>
#include <vector>

namespace conv_transpose_nd {

// Of all threads together. Two operations per multiply-add; a copied byte
// counts twice, as read and as written.
struct MachineLimits {
  struct Multiply {
    double gflops = 0;
    const char* isa = "portable";
  };
  struct Copy {
    int64_t bytes = 0;
    double gbytes = 0;  // per second
  };
  Multiply float32;
  Multiply float64;
  Multiply bfloat16;
  std::vector<Copy> copies;  // by rising size
};

// Measures for about a second; threads >= 1.
MachineLimits MeasureMachine(int threads);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_MACHINE_H_
