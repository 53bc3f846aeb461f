#include "cc/kernels/gpu/launch.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>

namespace conv_transpose_nd {
namespace gpu {
namespace {

// What a kernel may use without opting in, on every architecture.
constexpr uint32_t kSharedBytesByDefault = 48 << 10;
// The driver takes 4096 bytes of arguments; five pointers go with Params.
constexpr size_t kMaxParamsBytes = 4096 - 5 * sizeof(void*);
constexpr uint32_t kMaxGrid[3] = {0x7fffffff, 65535, 65535};
constexpr uint32_t kMaxThreads = 1024;

std::string Capability(int compute_capability) {
  return std::to_string(compute_capability / 10) + "." +
         std::to_string(compute_capability % 10);
}

std::string Dim(const uint32_t (&dim)[3]) {
  return "(" + std::to_string(dim[0]) + ", " + std::to_string(dim[1]) + ", " +
         std::to_string(dim[2]) + ")";
}

// What the driver would refuse without saying which of them it was.
Status CheckLaunch(const Launch& launch) {
  const std::string name = "kernel " + std::string(launch.kernel);
  uint64_t threads = 1;
  for (int d = 0; d < 3; ++d) {
    if (launch.grid[d] < 1 || launch.grid[d] > kMaxGrid[d]) {
      return Status(StatusCode::kUnimplemented,
                    name +
                        " needs a grid of at most (2147483647, 65535, "
                        "65535) blocks, got " +
                        Dim(launch.grid));
    }
    threads *= std::max(launch.block[d], 1u);
  }
  if (threads > kMaxThreads || std::count(launch.block, launch.block + 3, 0u)) {
    return Status(
        StatusCode::kInternal,
        name + " needs a block of 1 to 1024 threads, got " + Dim(launch.block));
  }
  if (launch.params.size() > kMaxParamsBytes) {
    return Status(StatusCode::kInternal,
                  name + " takes at most " + std::to_string(kMaxParamsBytes) +
                      " bytes of parameters, got " +
                      std::to_string(launch.params.size()));
  }
  return OkStatus();
}

// "7.5, 8.0, ..., or later than 8.0": what the images run on.
std::string BuiltFor(const ImageTable& images) {
  std::set<int> archs;
  int ptx = 0;
  for (const Image& image : images) {
    if (image.ptx) {
      ptx = image.arch;
    } else {
      archs.insert(image.arch);
    }
  }
  std::string list;
  for (const int arch : archs)
    list += (list.empty() ? "" : ", ") + Capability(arch);
  if (ptx > 0)
    list += " and, compiled by the driver, what follows " + Capability(ptx);
  return list.empty() ? "none" : list;
}

// CONV_TRANSPOSE_ND_WGMMA=0 leaves 9.0 to mma.sync, =always leaves nothing to
// it that wgmma can do. Read whenever a program is made, so that one process
// can compare the two.
void ReadWgmma(DeviceInfo* info) {
  const char* const value = std::getenv("CONV_TRANSPOSE_ND_WGMMA");
  if (value == nullptr) return;
  info->wgmma = info->wgmma && std::strcmp(value, "0") != 0;
  info->wgmma_always = info->wgmma && std::strcmp(value, "always") == 0;
}

}  // namespace

// Makes a context current while it lives, where none is.
class Launcher::Scope {
 public:
  explicit Scope(const Driver* driver) : driver_(driver) {}
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() {
    Context popped = nullptr;
    if (pushed_) driver_->context_pop(&popped);
  }

  Status Enter(Stream stream, Context* context) {
    CT_RETURN_IF_ERROR(
        driver_->Check(driver_->context_current(context), "cuCtxGetCurrent"));
    if (*context != nullptr) return OkStatus();
    if (stream != nullptr) {
      CT_RETURN_IF_ERROR(driver_->Check(
          driver_->stream_context(stream, context), "cuStreamGetCtx"));
    }
    if (*context == nullptr) {
      return Status(StatusCode::kInternal,
                    "no CUDA context is current on the calling thread, and "
                    "the stream has none");
    }
    CT_RETURN_IF_ERROR(
        driver_->Check(driver_->context_push(*context), "cuCtxPushCurrent"));
    pushed_ = true;
    return OkStatus();
  }

 private:
  const Driver* const driver_;
  bool pushed_ = false;
};

struct Launcher::Entry {
  Function function = nullptr;
  std::atomic<uint32_t> shared_bytes{kSharedBytesByDefault};
};

// Of one context.
struct Launcher::State {
  DeviceInfo info;
  std::shared_mutex mutex;
  std::map<const Image*, Module> modules;
  // By module and kernel; the names are those of the images.
  std::map<std::pair<std::string_view, std::string_view>, Entry> functions;
};

Launcher::Launcher(const Driver* driver, const ImageTable& images)
    : driver_(driver), images_(images) {}

Launcher::~Launcher() = default;

Status Launcher::DescribeDevice(DeviceInfo* info) const {
  int device = 0, major = 0, minor = 0, multiprocessors = 0, shared_bytes = 0;
  CT_RETURN_IF_ERROR(
      driver_->Check(driver_->context_device(&device), "cuCtxGetDevice"));
  for (const auto& [value, attribute] :
       {std::pair<int*, int>{&major, kComputeCapabilityMajor},
        {&minor, kComputeCapabilityMinor},
        {&multiprocessors, kMultiprocessors},
        {&shared_bytes, kSharedBytesPerBlockOptIn}}) {
    CT_RETURN_IF_ERROR(
        driver_->Check(driver_->device_attribute(value, attribute, device),
                       "cuDeviceGetAttribute"));
  }
  const int capability = 10 * major + minor;
  int arch = capability;
  bool any = false;
  for (const Image& image : images_) {
    const Image* const best = FindImage(images_, image.module, capability);
    if (best == nullptr) continue;
    arch = std::min(arch, best->arch);
    any = true;
  }
  if (!any) {
    return Status(StatusCode::kUnimplemented,
                  "no device code for a GPU of compute capability " +
                      Capability(capability) + "; built for " +
                      BuiltFor(images_));
  }
  info->compute_capability = arch;
  info->multiprocessors = multiprocessors;
  info->shared_bytes_per_block = shared_bytes;
  // Of other architectures, the image has no kernels.
  const Image* const image = FindImage(images_, "gemm_wgmma", capability);
  info->wgmma = image != nullptr && image->kernels[0] != nullptr;
  return OkStatus();
}

Status Launcher::StateOf(Context context, State** state) {
  unsigned long long id = 0;
  CT_RETURN_IF_ERROR(
      driver_->Check(driver_->context_id(context, &id), "cuCtxGetId"));
  {
    std::shared_lock<std::shared_mutex> lock(mutex_);
    const auto found = states_.find(id);
    if (found != states_.end()) {
      *state = found->second.get();
      return OkStatus();
    }
  }
  auto fresh = std::make_unique<State>();
  CT_RETURN_IF_ERROR(DescribeDevice(&fresh->info));
  std::unique_lock<std::shared_mutex> lock(mutex_);
  *state = states_.emplace(id, std::move(fresh)).first->second.get();
  return OkStatus();
}

// state->mutex is held.
Status Launcher::Load(State* state, const Launch& launch, Entry** entry) {
  const std::string name = "kernel " + std::string(launch.kernel);
  const Image* const image =
      FindImage(images_, launch.module, state->info.compute_capability);
  const char* const kernel =
      image != nullptr ? FindKernel(*image, launch.kernel) : nullptr;
  if (kernel == nullptr) {
    return Status(StatusCode::kUnimplemented,
                  name + " of " + launch.module + ".cu is not compiled for " +
                      Capability(state->info.compute_capability) +
                      "; built for " + BuiltFor(images_));
  }
  Module& module = state->modules[image];
  if (module == nullptr) {
    Module loaded = nullptr;
    CT_RETURN_IF_ERROR(
        driver_->Check(driver_->module_load(&loaded, image->bytes),
                       name + ": loading " + image->name));
    module = loaded;
  }
  Function function = nullptr;
  CT_RETURN_IF_ERROR(
      driver_->Check(driver_->module_function(&function, module, kernel),
                     name + ": cuModuleGetFunction in " + image->name));
  Entry& made = state->functions[{image->module, kernel}];
  made.function = function;
  *entry = &made;
  return OkStatus();
}

Status Launcher::Find(State* state, const Launch& launch, Entry** entry) {
  const std::pair<std::string_view, std::string_view> key(launch.module,
                                                          launch.kernel);
  *entry = nullptr;
  {
    std::shared_lock<std::shared_mutex> lock(state->mutex);
    const auto found = state->functions.find(key);
    if (found != state->functions.end()) *entry = &found->second;
  }
  if (*entry != nullptr && launch.shared_bytes <= (*entry)->shared_bytes) {
    return OkStatus();
  }
  std::unique_lock<std::shared_mutex> lock(state->mutex);
  if (*entry == nullptr) {
    const auto found = state->functions.find(key);
    if (found != state->functions.end()) {
      *entry = &found->second;
    } else {
      CT_RETURN_IF_ERROR(Load(state, launch, entry));
    }
  }
  if (launch.shared_bytes > (*entry)->shared_bytes) {
    CT_RETURN_IF_ERROR(driver_->Check(
        driver_->function_attribute((*entry)->function, kMaxDynamicSharedBytes,
                                    static_cast<int>(launch.shared_bytes)),
        "kernel " + std::string(launch.kernel) + ": " +
            std::to_string(launch.shared_bytes) + " bytes of shared memory"));
    (*entry)->shared_bytes = launch.shared_bytes;
  }
  return OkStatus();
}

Status Launcher::RunOne(State* state, const Launch& launch,
                        const LaunchOperands& operands, void* workspace,
                        Stream stream) {
  CT_RETURN_IF_ERROR(CheckLaunch(launch));
  Entry* entry = nullptr;
  CT_RETURN_IF_ERROR(Find(state, launch, &entry));
  LaunchOperands pointers = operands;
  void* params[] = {const_cast<char*>(launch.params.data()),
                    &pointers.first,
                    &pointers.second,
                    &pointers.bias,
                    &pointers.result,
                    &workspace};
  const Result result = driver_->launch(
      entry->function, launch.grid[0], launch.grid[1], launch.grid[2],
      launch.block[0], launch.block[1], launch.block[2], launch.shared_bytes,
      stream, params, nullptr);
  if (result == kSuccess) return OkStatus();
  return driver_->Check(
      result, "kernel " + std::string(launch.kernel) + " with a grid of " +
                  Dim(launch.grid) + ", blocks of " + Dim(launch.block) +
                  " and " + std::to_string(launch.shared_bytes) +
                  " bytes of shared memory");
}

Status Launcher::Describe(Stream stream, DeviceInfo* info) {
  Scope scope(driver_);
  Context context = nullptr;
  CT_RETURN_IF_ERROR(scope.Enter(stream, &context));
  State* state = nullptr;
  CT_RETURN_IF_ERROR(StateOf(context, &state));
  *info = state->info;
  ReadWgmma(info);
  return OkStatus();
}

Status Launcher::Upload(const Program& program, void* workspace,
                        Stream stream) {
  if (program.constants.empty()) return OkStatus();
  Scope scope(driver_);
  Context context = nullptr;
  CT_RETURN_IF_ERROR(scope.Enter(stream, &context));
  // From pageable memory the driver takes its own copy before it returns.
  return driver_->Check(
      driver_->copy_to_device(reinterpret_cast<DevicePointer>(workspace),
                              program.constants.data(),
                              program.constants.size(), stream),
      "copying " + std::to_string(program.constants.size()) +
          " bytes of tables to the device");
}

Status Launcher::CopyTables(const Program& program, const void* tables,
                            void* workspace, Stream stream) {
  Scope scope(driver_);
  Context context = nullptr;
  CT_RETURN_IF_ERROR(scope.Enter(stream, &context));
  return driver_->Check(
      driver_->copy_on_device(reinterpret_cast<DevicePointer>(workspace),
                              reinterpret_cast<DevicePointer>(tables),
                              program.constants.size(), stream),
      "copying " + std::to_string(program.constants.size()) +
          " bytes of tables on the device");
}

Status Launcher::Run(const Program& program, const LaunchOperands& operands,
                     void* workspace, Stream stream) {
  if (program.launches.empty()) return OkStatus();
  Scope scope(driver_);
  Context context = nullptr;
  CT_RETURN_IF_ERROR(scope.Enter(stream, &context));
  State* state = nullptr;
  CT_RETURN_IF_ERROR(StateOf(context, &state));
  for (const Launch& launch : program.launches) {
    CT_RETURN_IF_ERROR(RunOne(state, launch, operands, workspace, stream));
  }
  return OkStatus();
}

}  // namespace gpu
}  // namespace conv_transpose_nd
