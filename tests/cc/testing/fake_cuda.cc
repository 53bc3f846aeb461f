#include "tests/cc/testing/fake_cuda.h"

#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr int kInvalidValue = 1;
constexpr int kInvalidImage = 200;
constexpr int kInvalidContext = 201;
constexpr int kNotFound = 500;

struct Failure {
  int result;
  int skip;
  int times;
};

// What CUmodule and CUfunction point to.
struct FakeModule {
  const void* image;
  void* context;
};
struct FakeFunction {
  std::string name;
  FakeModule* module;
  int shared_limit = 48 << 10;
};

struct Fake {
  std::mutex mutex;
  int major = 8, minor = 0, multiprocessors = 108, shared_bytes = 166912;
  void* context = reinterpret_cast<void*>(0x1000);
  std::map<void*, void*> stream_context;
  std::map<void*, unsigned long long> context_ids;
  std::map<std::string, Failure> failures;
  std::map<std::string, int> calls;
  std::deque<FakeModule> modules;
  std::deque<FakeFunction> functions;
  std::vector<std::string> launches;
  void (*runner)(const fake_cuda_launch*) = nullptr;
};

Fake& State() {
  static Fake* const fake = new Fake;
  return *fake;
}

thread_local std::vector<void*> pushed;

// Counts a call; its result if it was made to fail. The lock is held.
int Enter(Fake& fake, const char* function) {
  ++fake.calls[function];
  const auto found = fake.failures.find(function);
  if (found == fake.failures.end()) return 0;
  Failure& failure = found->second;
  if (failure.skip > 0) {
    --failure.skip;
    return 0;
  }
  const int result = failure.result;
  if (failure.times == 1) fake.failures.erase(found);
  return result;
}

void* Current(const Fake& fake) {
  return pushed.empty() ? fake.context : pushed.back();
}

#define ENTER(name)                             \
  Fake& fake = State();                         \
  std::lock_guard<std::mutex> lock(fake.mutex); \
  if (const int failed = Enter(fake, name)) return failed

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int cuInit(unsigned) {
  ENTER("cuInit");
  return 0;
}

EXPORT int cuDriverGetVersion(int* version) {
  ENTER("cuDriverGetVersion");
  *version = 12000;
  return 0;
}

EXPORT int cuGetErrorName(int result, const char** name) {
  *name = result == 2     ? "CUDA_ERROR_OUT_OF_MEMORY"
          : result == 100 ? "CUDA_ERROR_NO_DEVICE"
          : result == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
                          : nullptr;
  return *name != nullptr ? 0 : kInvalidValue;
}

EXPORT int cuGetErrorString(int result, const char** words) {
  *words = result == 2     ? "out of memory"
           : result == 100 ? "no CUDA-capable device is detected"
           : result == 700 ? "an illegal memory access was encountered"
                           : nullptr;
  return *words != nullptr ? 0 : kInvalidValue;
}

EXPORT int cuCtxGetCurrent(void** context) {
  ENTER("cuCtxGetCurrent");
  *context = Current(fake);
  return 0;
}

EXPORT int cuCtxGetId(void* context, unsigned long long* id) {
  ENTER("cuCtxGetId");
  if (context == nullptr) return kInvalidContext;
  *id = fake.context_ids.emplace(context, fake.context_ids.size() + 1)
            .first->second;
  return 0;
}

EXPORT int cuCtxPushCurrent_v2(void* context) {
  ENTER("cuCtxPushCurrent_v2");
  pushed.push_back(context);
  return 0;
}

EXPORT int cuCtxPopCurrent_v2(void** context) {
  ENTER("cuCtxPopCurrent_v2");
  if (pushed.empty()) return kInvalidContext;
  *context = pushed.back();
  pushed.pop_back();
  return 0;
}

EXPORT int cuCtxGetDevice(int* device) {
  ENTER("cuCtxGetDevice");
  if (Current(fake) == nullptr) return kInvalidContext;
  *device = 0;
  return 0;
}

EXPORT int cuStreamGetCtx(void* stream, void** context) {
  ENTER("cuStreamGetCtx");
  const auto found = fake.stream_context.find(stream);
  *context = found != fake.stream_context.end() ? found->second : fake.context;
  return 0;
}

EXPORT int cuDeviceGetAttribute(int* value, int attribute, int device) {
  ENTER("cuDeviceGetAttribute");
  if (device != 0) return kInvalidValue;
  switch (attribute) {
    case 16:
      *value = fake.multiprocessors;
      return 0;
    case 75:
      *value = fake.major;
      return 0;
    case 76:
      *value = fake.minor;
      return 0;
    case 97:
      *value = fake.shared_bytes;
      return 0;
    default:
      return kInvalidValue;
  }
}

EXPORT int cuModuleLoadData(void** module, const void* image) {
  ENTER("cuModuleLoadData");
  if (Current(fake) == nullptr) return kInvalidContext;
  // ELF, or PTX: text.
  const char* const text = static_cast<const char*>(image);
  const bool is_cubin = std::memcmp(text,
                                    "\x7f"
                                    "ELF",
                                    4) == 0;
  if (!is_cubin && std::strstr(text, ".version") == nullptr) {
    return kInvalidImage;
  }
  fake.modules.push_back({image, Current(fake)});
  *module = &fake.modules.back();
  return 0;
}

EXPORT int cuModuleGetFunction(void** function, void* module,
                               const char* name) {
  ENTER("cuModuleGetFunction");
  if (module == nullptr) return kNotFound;
  FakeFunction made;
  made.name = name;
  made.module = static_cast<FakeModule*>(module);
  fake.functions.push_back(std::move(made));
  *function = &fake.functions.back();
  return 0;
}

EXPORT int cuFuncSetAttribute(void* function, int attribute, int value) {
  ENTER("cuFuncSetAttribute");
  if (attribute != 8 || value > fake.shared_bytes) return kInvalidValue;
  static_cast<FakeFunction*>(function)->shared_limit = value;
  return 0;
}

EXPORT int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes,
                                void*) {
  ENTER("cuMemcpyDtoDAsync_v2");
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from),
              bytes);
  return 0;
}

EXPORT int cuMemcpyHtoDAsync_v2(uint64_t device, const void* host, size_t bytes,
                                void*) {
  ENTER("cuMemcpyHtoDAsync_v2");
  std::memcpy(reinterpret_cast<void*>(device), host, bytes);
  return 0;
}

EXPORT int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y,
                          unsigned grid_z, unsigned block_x, unsigned block_y,
                          unsigned block_z, unsigned shared_bytes, void* stream,
                          void** params, void**) {
  const FakeFunction* const called = static_cast<FakeFunction*>(function);
  fake_cuda_launch launch;
  void (*runner)(const fake_cuda_launch*) = nullptr;
  {
    ENTER("cuLaunchKernel");
    if (static_cast<int>(shared_bytes) > called->shared_limit ||
        called->module->context != Current(fake)) {
      return kInvalidValue;
    }
    fake.launches.push_back(called->name);
    launch = {called->name.c_str(),
              {grid_x, grid_y, grid_z},
              {block_x, block_y, block_z},
              shared_bytes,
              stream,
              Current(fake),
              params};
    runner = fake.runner;
  }
  if (runner != nullptr) runner(&launch);
  return 0;
}

EXPORT void fake_cuda_reset(void) {
  Fake& fake = State();
  std::lock_guard<std::mutex> lock(fake.mutex);
  fake.major = 8;
  fake.minor = 0;
  fake.multiprocessors = 108;
  fake.shared_bytes = 166912;
  fake.context = reinterpret_cast<void*>(0x1000);
  fake.stream_context.clear();
  fake.failures.clear();
  fake.calls.clear();
  fake.launches.clear();
  fake.runner = nullptr;
}

EXPORT void fake_cuda_set_device(int major, int minor, int multiprocessors,
                                 int shared_bytes) {
  Fake& fake = State();
  std::lock_guard<std::mutex> lock(fake.mutex);
  fake.major = major;
  fake.minor = minor;
  fake.multiprocessors = multiprocessors;
  fake.shared_bytes = shared_bytes;
}

EXPORT void fake_cuda_set_context(void* context) {
  Fake& fake = State();
  std::lock_guard<std::mutex> lock(fake.mutex);
  fake.context = context;
}

EXPORT void fake_cuda_set_stream_context(void* stream, void* context) {
  Fake& fake = State();
  std::lock_guard<std::mutex> lock(fake.mutex);
  fake.stream_context[stream] = context;
}

EXPORT void fake_cuda_fail(const char* function, int result, int skip,
                           int times) {
  Fake& fake = State();
  std::lock_guard<std::mutex> lock(fake.mutex);
  fake.failures[function] = {result, skip, times};
}

EXPORT int fake_cuda_calls(const char* function) {
  Fake& fake = State();
  std::lock_guard<std::mutex> lock(fake.mutex);
  const auto found = fake.calls.find(function);
  return found != fake.calls.end() ? found->second : 0;
}

EXPORT void fake_cuda_set_runner(void (*runner)(const fake_cuda_launch*)) {
  Fake& fake = State();
  std::lock_guard<std::mutex> lock(fake.mutex);
  fake.runner = runner;
}

EXPORT int fake_cuda_launches(void) {
  Fake& fake = State();
  std::lock_guard<std::mutex> lock(fake.mutex);
  return static_cast<int>(fake.launches.size());
}

EXPORT const char* fake_cuda_kernel(int i) {
  Fake& fake = State();
  std::lock_guard<std::mutex> lock(fake.mutex);
  return fake.launches[i].c_str();
}

EXPORT int fake_cuda_shared_limit(const char* kernel) {
  Fake& fake = State();
  std::lock_guard<std::mutex> lock(fake.mutex);
  int limit = -1;
  for (const FakeFunction& function : fake.functions) {
    if (function.name == kernel) limit = function.shared_limit;
  }
  return limit;
}
