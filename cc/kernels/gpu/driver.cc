#include "cc/kernels/gpu/driver.h"

#include <dlfcn.h>

#include <mutex>

namespace conv_transpose_nd {
namespace gpu {
namespace {

template <typename Pointer>
bool Find(void* library, const char* name, Pointer* function) {
  *function = reinterpret_cast<Pointer>(dlsym(library, name));
  return *function != nullptr;
}

// The first name that is missing, or null. The suffix _v2 is part of the
// binary interface since CUDA 4.
const char* FindAll(void* library, Driver* driver) {
#define FIND(name, member) \
  if (!Find(library, name, &driver->member)) return name
  FIND("cuInit", init);
  FIND("cuDriverGetVersion", driver_version);
  FIND("cuGetErrorName", error_name);
  FIND("cuGetErrorString", error_string);
  FIND("cuCtxGetCurrent", context_current);
  FIND("cuCtxGetId", context_id);
  FIND("cuCtxPushCurrent_v2", context_push);
  FIND("cuCtxPopCurrent_v2", context_pop);
  FIND("cuCtxGetDevice", context_device);
  FIND("cuStreamGetCtx", stream_context);
  FIND("cuDeviceGetAttribute", device_attribute);
  FIND("cuModuleLoadData", module_load);
  FIND("cuModuleGetFunction", module_function);
  FIND("cuFuncSetAttribute", function_attribute);
  FIND("cuMemcpyHtoDAsync_v2", copy_to_device);
  FIND("cuMemcpyDtoDAsync_v2", copy_on_device);
  FIND("cuLaunchKernel", launch);
#undef FIND
  return nullptr;
}

Status Unavailable(const std::string& message) {
  return Status(StatusCode::kUnavailable, message);
}

}  // namespace

Status Driver::Check(Result result, const std::string& doing) const {
  if (result == kSuccess) return OkStatus();
  const char* name = nullptr;
  const char* words = nullptr;
  // Both leave null where the driver does not know the number.
  error_name(result, &name);
  error_string(result, &words);
  std::string message = doing + ": ";
  message += words != nullptr ? words : "unknown error";
  message += " (";
  message += name != nullptr ? name : "CUresult " + std::to_string(result);
  message += ")";
  return Status(result == kOutOfMemory ? StatusCode::kResourceExhausted
                                       : StatusCode::kInternal,
                std::move(message));
}

Status OpenDriver(const char* library, Driver* driver) {
  void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const reason = dlerror();
    return Unavailable("the CUDA driver cannot be loaded: " +
                       std::string(reason != nullptr ? reason : library));
  }
  if (const char* const missing = FindAll(handle, driver)) {
    dlclose(handle);
    return Unavailable("the CUDA driver " + std::string(library) + " lacks " +
                       missing + ": a driver of version 525 or later has it");
  }
  // Harmless where TensorFlow has called it before.
  return driver->Check(driver->init(0), "cuInit");
}

Status GetDriver(const Driver** driver) {
  static std::mutex mutex;
  static Driver opened;
  static bool is_open = false;
  std::lock_guard<std::mutex> lock(mutex);
  if (!is_open) {
    CT_RETURN_IF_ERROR(OpenDriver("libcuda.so.1", &opened));
    is_open = true;
  }
  *driver = &opened;
  return OkStatus();
}

}  // namespace gpu
}  // namespace conv_transpose_nd
