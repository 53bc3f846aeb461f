// A CUDA driver whose GPU is the emulator, for programs that open
// libcuda.so.1: python scripts/gpu_check.py --emulated.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "tests/cc/kernels/gpu/emulator.h"
#include "tests/cc/testing/fake_cuda.h"

namespace {

void Emulate(const fake_cuda_launch* launch) {
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  const int64_t bytes = emulator::ParamsBytes(launch->kernel);
  if (bytes < 0) {
    std::fprintf(stderr, "no kernel %s to emulate\n", launch->kernel);
    std::abort();
  }
  conv_transpose_nd::gpu::Program program;
  conv_transpose_nd::gpu::Launch& one = program.launches.emplace_back();
  one.kernel = launch->kernel;
  for (int d = 0; d < 3; ++d) {
    one.grid[d] = launch->grid[d];
    one.block[d] = launch->block[d];
  }
  one.shared_bytes = launch->shared_bytes;
  const char* const params = static_cast<const char*>(launch->params[0]);
  one.params.assign(params, params + bytes);
  const auto pointer = [launch](int i) {
    return *static_cast<void**>(launch->params[i]);
  };
  emulator::Run(program, pointer(1), pointer(2), pointer(3), pointer(4),
                pointer(5), {});
}

// A device of 8.0, or with CONV_TRANSPOSE_ND_EMULATED_DEVICE=9.0 of that.
[[maybe_unused]] const bool kInstalled = [] {
  fake_cuda_set_runner(Emulate);
  const char* const device = std::getenv("CONV_TRANSPOSE_ND_EMULATED_DEVICE");
  if (device != nullptr && std::strcmp(device, "9.0") == 0) {
    fake_cuda_set_device(9, 0, 132, 232448);
  }
  return true;
}();

}  // namespace
