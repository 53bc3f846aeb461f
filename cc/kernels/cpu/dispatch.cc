// Picks the instruction set at run time. Step 5 of the path of a call.
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/kernels/cpu/target.h"

namespace conv_transpose_nd {
namespace {

#if defined(__x86_64__)
// F16C is not asked for: it is older than AVX2, and Clang 14 does not know the
// question.
bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
bool HasAvx512Bf16() {
  return HasAvx512() && __builtin_cpu_supports("avx512bf16");
}
#else
bool HasAvx2() { return false; }
bool HasAvx512() { return false; }
bool HasAvx512Bf16() { return false; }
#endif

// Supported targets, best first.
const std::vector<const TargetKernels*>& Supported() {
  static const std::vector<const TargetKernels*> supported = [] {
    std::vector<const TargetKernels*> list;
    if (HasAvx512Bf16()) list.push_back(avx512_bf16::Kernels());
    if (HasAvx512()) list.push_back(avx512::Kernels());
    if (HasAvx2()) list.push_back(avx2::Kernels());
    list.push_back(baseline::Kernels());
    return list;
  }();
  return supported;
}

const TargetKernels* Find(const char* name) {
  for (const TargetKernels* kernels : Supported()) {
    if (std::strcmp(kernels->info.name, name) == 0) return kernels;
  }
  return nullptr;
}

std::atomic<const TargetKernels*>& Chosen() {
  static std::atomic<const TargetKernels*> chosen = [] {
    const char* name = std::getenv("CONV_TRANSPOSE_ND_TARGET");
    if (name == nullptr || *name == '\0') return Supported().front();
    const TargetKernels* kernels = Find(name);
    if (kernels != nullptr) return kernels;
    std::fprintf(stderr, "CONV_TRANSPOSE_ND_TARGET must be one of");
    for (const TargetKernels* known : Supported())
      std::fprintf(stderr, " %s", known->info.name);
    std::fprintf(stderr, ", got %s; using %s\n", name,
                 Supported().front()->info.name);
    return Supported().front();
  }();
  return chosen;
}

std::atomic<KernelFamily> forced_family{KernelFamily::kNone};

bool LogPlans() {
  static const bool log = [] {
    const char* value = std::getenv("CONV_TRANSPOSE_ND_LOG");
    return value != nullptr && std::strcmp(value, "plan") == 0;
  }();
  return log;
}

// Plans by call, the latest ones: making one takes as long as a tiny call.
class PlanCache {
 public:
  std::shared_ptr<const Plan> Get(Operation operation,
                                  const ConvTransposeGeometry& geometry,
                                  DType dtype) {
    const Key key{operation, dtype, forced_family.load(), &ChosenTarget(),
                  geometry};
    const size_t slot = key.Hash() % kPlans;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (plans_[slot] != nullptr && keys_[slot] == key) return plans_[slot];
    }
    auto plan =
        std::make_shared<const Plan>(PlanFor(operation, geometry, dtype));
    std::lock_guard<std::mutex> lock(mutex_);
    keys_[slot] = key;
    plans_[slot] = plan;
    return plan;
  }

 private:
  struct Key {
    Operation operation{};
    DType dtype{};
    KernelFamily family{};
    const TargetInfo* target = nullptr;
    ConvTransposeGeometry geometry;

    bool operator==(const Key& other) const {
      return operation == other.operation && dtype == other.dtype &&
             family == other.family && target == other.target &&
             geometry == other.geometry;
    }
    size_t Hash() const {
      uint64_t hash =
          static_cast<uint64_t>(operation) * 8 + static_cast<uint64_t>(dtype);
      const auto mix = [&](int64_t value) {
        hash = (hash ^ static_cast<uint64_t>(value)) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
      };
      mix(geometry.batch);
      mix(geometry.in_channels);
      mix(geometry.out_channels);
      for (int a = 0; a < geometry.rank; ++a) {
        mix(geometry.axis[a].input);
        mix(geometry.axis[a].filter);
        mix(geometry.axis[a].output);
      }
      return hash;
    }
  };

  static constexpr size_t kPlans = 256;
  std::mutex mutex_;
  std::array<Key, kPlans> keys_;
  std::array<std::shared_ptr<const Plan>, kPlans> plans_;
};

PlanCache& Plans() {
  static PlanCache* const plans = new PlanCache;
  return *plans;
}

}  // namespace

Plan PlanFor(Operation operation, const ConvTransposeGeometry& geometry,
             DType dtype, bool filter_is_packed) {
  Plan plan = MakePlan(operation, geometry, dtype, ChosenTarget(),
                       forced_family.load(), filter_is_packed);
  if (LogPlans())
    std::fprintf(stderr, "conv_transpose_nd: %s\n", plan.ToString().c_str());
  return plan;
}

std::shared_ptr<const Plan> SharedPlanFor(Operation operation,
                                          const ConvTransposeGeometry& geometry,
                                          DType dtype) {
  return Plans().Get(operation, geometry, dtype);
}

void ForceFamily(KernelFamily family) { forced_family.store(family); }

void PackFilter(const Plan& plan, const void* filter, void* packed,
                const ParallelFor& parallel_for) {
  if (plan.packed_bytes == 0) return;
  const TargetKernels* kernels = Find(plan.target.name);
  kernels->pack[static_cast<int>(plan.dtype)](plan, filter, packed,
                                              parallel_for);
}

void Run(const Plan& plan, const Operands& operands, void* workspace,
         const ParallelFor& parallel_for) {
  if (plan.family == KernelFamily::kNone) return;
  const TargetKernels* kernels = Find(plan.target.name);
  kernels->run[static_cast<int>(plan.dtype)](plan, operands, workspace,
                                             parallel_for);
}

std::vector<std::string> SupportedTargets() {
  std::vector<std::string> names;
  for (const TargetKernels* kernels : Supported())
    names.push_back(kernels->info.name);
  return names;
}

const TargetInfo& ChosenTarget() { return Chosen().load()->info; }

const TargetInfo* FindTarget(const std::string& name) {
  const TargetKernels* kernels = Find(name.c_str());
  return kernels == nullptr ? nullptr : &kernels->info;
}

bool ChooseTarget(const std::string& name) {
  const TargetKernels* kernels = Find(name.c_str());
  if (kernels != nullptr) Chosen().store(kernels);
  return kernels != nullptr;
}

}  // namespace conv_transpose_nd
