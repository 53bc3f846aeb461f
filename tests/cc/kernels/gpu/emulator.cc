#include "tests/cc/kernels/gpu/emulator.h"

#include <gtest/gtest.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/cc/kernels/gpu/emulator_wgmma.h"
#include "tests/cc/testing/buffer.h"

// longjmp between stacks costs nanoseconds, swapcontext two system calls; but
// the address sanitizer follows only the latter.
#if defined(__SANITIZE_ADDRESS__)
#define CT_SWAP_CONTEXT 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CT_SWAP_CONTEXT 1
#endif
#endif
#ifndef CT_SWAP_CONTEXT
#define CT_SWAP_CONTEXT 0
#endif

namespace emulator {

Dim3 thread_index, block_index, block_size, grid_size;

namespace {

constexpr int kWarp = 32;
constexpr int kWarpgroup = 128;
// On sm_90 the system has the first KB; 128 is all that a kernel asks for.
constexpr uint32_t kSharedBase = 1024 + 128;
constexpr size_t kStackBytes = 128 << 10;

struct Copy {
  void* shared;
  const void* global;
  int bytes;
  bool zero;
};

struct Fiber {
  ucontext_t context;
  jmp_buf resume;
  std::unique_ptr<char[]> stack;
  bool started = false;
  bool done = false;
  bool unfenced = false;                  // waited for copies since FenceCopies
  std::vector<std::vector<Copy>> groups;  // committed, oldest first
  std::vector<Copy> open;
};

// Waiters leave when the generation they came in has passed.
struct Barrier {
  int arrived = 0;
  int64_t generation = 0;
};

struct Kernel {
  int threads;
  int64_t params_bytes;
  Entry entry;
};

std::map<std::string, Kernel>& Kernels() {
  static auto* kernels = new std::map<std::string, Kernel>;
  return *kernels;
}

struct Arguments {
  const void *params, *first, *second, *bias;
  void *result, *workspace;
};

// The block that runs.
struct Block {
  Entry entry;
  Arguments arguments;
  Options options;
  unsigned char* shared = nullptr;
  int threads = 0;
  int current = 0;
  Barrier barrier;
  bool any = false, any_result = false;
  struct WarpState {
    Barrier barrier;
    void* argument[kWarp];
  };
  std::vector<WarpState> warps;
  struct WarpgroupState {
    Barrier barrier;
    void* argument[kWarpgroup];
  };
  std::vector<WarpgroupState> warpgroups;
  int64_t shared_bytes = 0;
  int64_t progress = 0;  // barriers passed and threads done
};
Block block;
std::vector<std::unique_ptr<Fiber>> fibers;
[[maybe_unused]] ucontext_t scheduler_context;
jmp_buf scheduler;

void Yield() {
  Fiber& fiber = *fibers[block.current];
#if CT_SWAP_CONTEXT
  swapcontext(&fiber.context, &scheduler_context);
#else
  if (_setjmp(fiber.resume) == 0) _longjmp(scheduler, 1);
#endif
}

void Main() {
  const Arguments& a = block.arguments;
  block.entry(a.params, a.first, a.second, a.bias, a.result, a.workspace);
  Fiber& fiber = *fibers[block.current];
  fiber.done = true;
  ++block.progress;
  Yield();
  Die("a finished thread was resumed");
}

void Resume(int thread) {
  block.current = thread;
  thread_index = {static_cast<unsigned>(thread), 0, 0};
  Fiber& fiber = *fibers[thread];
#if CT_SWAP_CONTEXT
  swapcontext(&scheduler_context, &fiber.context);
#else
  if (_setjmp(scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.resume, 1);
  fiber.started = true;
  setcontext(&fiber.context);
#endif
}

void Prepare(Fiber* fiber) {
  if (fiber->stack == nullptr) fiber->stack.reset(new char[kStackBytes]);
  fiber->started = fiber->done = fiber->unfenced = false;
  fiber->groups.clear();
  fiber->open.clear();
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack.get();
  fiber->context.uc_stack.ss_size = kStackBytes;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, Main, 0);
}

// True for the last of `count` arrivals; the others wait for it.
template <typename Last>
void Arrive(Barrier* barrier, int count, const Last& last) {
  const int64_t generation = barrier->generation;
  if (++barrier->arrived == count) {
    last();
    barrier->arrived = 0;
    ++barrier->generation;
    ++block.progress;
    return;
  }
  while (barrier->generation == generation) Yield();
}

// Resumes `group`, so many threads, until all of them wait for others: some run
// ahead as far as barriers let them. True if a thread is not done.
bool RunGroup(int group, int threads) {
  bool running = true;
  int64_t before = -1;
  while (running && block.progress != before) {
    running = false;
    before = block.progress;
    for (int i = 0; i < threads; ++i) {
      const int place = group * threads + i;
      const int t =
          block.options.last_to_first ? block.threads - 1 - place : place;
      if (fibers[t]->done) continue;
      running = true;
      Resume(t);
    }
  }
  return running;
}

void RunBlock() {
  while (static_cast<int>(fibers.size()) < block.threads) {
    fibers.push_back(std::make_unique<Fiber>());
  }
  for (int t = 0; t < block.threads; ++t) Prepare(fibers[t].get());
  block.barrier = {};
  block.warps.assign((block.threads + kWarp - 1) / kWarp, {});
  block.warpgroups.assign((block.threads + kWarpgroup - 1) / kWarpgroup, {});
  // Warps in one order, warpgroups in the other.
  const int threads =
      std::min(block.options.last_to_first ? kWarpgroup : kWarp, block.threads);
  bool running = true;
  while (running) {
    running = false;
    const int64_t before = block.progress;
    for (int group = 0; group < block.threads / threads; ++group) {
      running = RunGroup(group, threads) || running;
    }
    if (running && block.progress == before) {
      Die("threads of a block wait for different things");
    }
  }
  ExpectNoWgmma();
}

void RunLaunch(const conv_transpose_nd::gpu::Launch& launch,
               Arguments arguments, const Options& options) {
  const auto found = Kernels().find(launch.kernel);
  ASSERT_TRUE(found != Kernels().end()) << "no kernel " << launch.kernel;
  const Kernel& kernel = found->second;
  ASSERT_EQ(static_cast<int64_t>(launch.params.size()), kernel.params_bytes)
      << launch.kernel;
  ASSERT_LE(launch.params.size(), 4000u);
  ASSERT_LE(launch.block[0], static_cast<unsigned>(kernel.threads));
  ASSERT_TRUE(launch.block[0] <= kWarpgroup ||
              launch.block[0] % kWarpgroup == 0);
  ASSERT_EQ(launch.block[1] * launch.block[2], 1u);
  ASSERT_LE(launch.grid[0], 0x7fffffffu);
  ASSERT_LE(launch.grid[1], 65535u);
  ASSERT_LE(launch.grid[2], 65535u);
  ASSERT_GT(launch.grid[0] * launch.grid[1] * launch.grid[2], 0u);
  std::vector<int64_t> params((launch.params.size() + 7) / 8);
  std::memcpy(params.data(), launch.params.data(), launch.params.size());
  arguments.params = params.data();
  const conv_transpose_nd::testing::Buffer shared(launch.shared_bytes);
  block.entry = kernel.entry;
  block.arguments = arguments;
  block.options = options;
  block.shared = shared.data();
  block.shared_bytes = launch.shared_bytes;
  block.threads = static_cast<int>(launch.block[0]);
  block_size = {launch.block[0], 1, 1};
  grid_size = {launch.grid[0], launch.grid[1], launch.grid[2]};
  const int64_t blocks = int64_t{grid_size.x} * grid_size.y * grid_size.z;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t b = options.last_to_first ? blocks - 1 - i : i;
    block_index = {static_cast<unsigned>(b % grid_size.x),
                   static_cast<unsigned>(b / grid_size.x % grid_size.y),
                   static_cast<unsigned>(b / grid_size.x / grid_size.y)};
    if (launch.shared_bytes > 0) {
      std::memset(shared.data(), 0xff, launch.shared_bytes);
    }
    RunBlock();
  }
  EXPECT_TRUE(shared.Intact())
      << launch.kernel << " wrote beside its shared memory";
}

void Land(const Copy& copy) {
  if (copy.zero) {
    std::memset(copy.shared, 0, copy.bytes);
  } else {
    std::memcpy(copy.shared, copy.global, copy.bytes);
  }
}

}  // namespace

void Die(const char* message) {
  std::fprintf(stderr, "emulator: %s\n", message);
  std::abort();
}

unsigned char* SharedMemory() { return block.shared; }

void BlockBarrier() {
  Arrive(&block.barrier, block.threads, [] {});
}

bool BlockOr(bool value) {
  block.any = block.any || value;
  Arrive(&block.barrier, block.threads, [] {
    block.any_result = block.any;
    block.any = false;
  });
  const bool result = block.any_result;
  // Nobody starts the next one before all have read this one.
  BlockBarrier();
  return result;
}

void Warp(void* argument, void (*work)(void* const* arguments)) {
  Block::WarpState& warp = block.warps[block.current / kWarp];
  warp.argument[block.current % kWarp] = argument;
  Arrive(&warp.barrier, kWarp, [&] { work(warp.argument); });
}

void Warpgroup(void* argument, void (*work)(void* const* arguments)) {
  Block::WarpgroupState& group = block.warpgroups[CurrentWarpgroup()];
  group.argument[block.current % kWarpgroup] = argument;
  Arrive(&group.barrier, kWarpgroup, [&] { work(group.argument); });
}

int CurrentWarpgroup() { return block.current / kWarpgroup; }

bool EarlyCopies() { return block.options.early_copies; }

void FenceCopies() { fibers[block.current]->unfenced = false; }

bool CopiesAreFenced() {
  for (int t = 0; t < block.threads; ++t) {
    if (fibers[t]->unfenced) return false;
  }
  return true;
}

uint32_t SharedAddress(const void* shared) {
  return kSharedBase +
         static_cast<uint32_t>(static_cast<const unsigned char*>(shared) -
                               block.shared);
}

const unsigned char* AtSharedAddress(uint32_t address, int bytes) {
  const int64_t offset = int64_t{address} - kSharedBase;
  if (offset < 0 || offset + bytes > block.shared_bytes) {
    Die("an address beside the block's shared memory");
  }
  return block.shared + offset;
}

void CopyAsync(void* shared, const void* global, int bytes, bool zero) {
  const auto address = reinterpret_cast<uintptr_t>(shared);
  if (address % bytes != 0 ||
      (!zero && reinterpret_cast<uintptr_t>(global) % bytes != 0)) {
    Die("misaligned asynchronous copy");
  }
  const Copy copy{shared, global, bytes, zero};
  if (block.options.early_copies) {
    Land(copy);
  } else {
    fibers[block.current]->open.push_back(copy);
  }
}

void CommitCopies() {
  Fiber& fiber = *fibers[block.current];
  fiber.groups.push_back(std::move(fiber.open));
  fiber.open.clear();
}

void WaitCopies(int pending_groups) {
  std::vector<std::vector<Copy>>& groups = fibers[block.current]->groups;
  while (static_cast<int>(groups.size()) > pending_groups) {
    if (!groups.front().empty()) fibers[block.current]->unfenced = true;
    for (const Copy& copy : groups.front()) Land(copy);
    groups.erase(groups.begin());
  }
}

Registration::Registration(const char* name, int threads, int64_t params_bytes,
                           Entry entry) {
  Kernels()[name] = {threads, params_bytes, entry};
}

int64_t ParamsBytes(const char* kernel) {
  const auto found = Kernels().find(kernel);
  return found != Kernels().end() ? found->second.params_bytes : -1;
}

void Run(const conv_transpose_nd::gpu::Program& program, const void* first,
         const void* second, const void* bias, void* result, void* workspace,
         const Options& options) {
  if (!program.constants.empty()) {
    std::memcpy(workspace, program.constants.data(), program.constants.size());
  }
  for (const conv_transpose_nd::gpu::Launch& launch : program.launches) {
    RunLaunch(launch, {nullptr, first, second, bias, result, workspace},
              options);
  }
}

}  // namespace emulator
