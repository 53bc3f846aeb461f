// The controls of fake_cuda.h, in the library that a test loads as the driver:
// FAKE(fake_cuda_reset)().
#ifndef CONV_TRANSPOSE_ND_TESTING_FAKE_CUDA_CONTROL_H_
#define CONV_TRANSPOSE_ND_TESTING_FAKE_CUDA_CONTROL_H_

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "tests/cc/testing/fake_cuda.h"

namespace conv_transpose_nd {
namespace testing {

template <typename Pointer>
Pointer FakeCudaControl(const char* name) {
  static void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  EXPECT_NE(library, nullptr) << dlerror();
  const auto found = reinterpret_cast<Pointer>(dlsym(library, name));
  EXPECT_NE(found, nullptr) << "a real driver, not tests/cc/testing/fake_cuda";
  return found;
}

}  // namespace testing
}  // namespace conv_transpose_nd

#define FAKE(name) \
  ::conv_transpose_nd::testing::FakeCudaControl<decltype(&::name)>(#name)

#endif  // CONV_TRANSPOSE_ND_TESTING_FAKE_CUDA_CONTROL_H_
