// The CPU kernels as an XLA custom call: typed FFI (xla/ffi/api/ffi.h), which
// costs under a second to compile and whose entry point is in the framework
// library. XLA's own buffers and threads; no copy.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/xla/call.h"
#include "cc/xla/entry_point.h"
#include "xla/ffi/api/ffi.h"

namespace conv_transpose_nd {
namespace {

namespace ffi = xla::ffi;

// One parallel loop. The calling thread works, too, and waits for blocks that
// were begun, never for a task that was only queued: it may itself hold the
// pool's last thread.
class Loop {
 public:
  Loop(int64_t total, int64_t block, const Work& work)
      : total_(total), block_(block), work_(work) {}

  // Runs blocks as long as there are any. Returns at once, and does not touch
  // `work`, where none is left.
  void Help() {
    const int worker = next_worker_++;
    for (;;) {
      const int64_t begin = next_.fetch_add(block_);
      if (begin >= total_) return;
      const int64_t end = std::min(begin + block_, total_);
      work_(begin, end, worker);
      std::lock_guard<std::mutex> lock(mutex_);
      done_ += end - begin;
      if (done_ == total_) all_done_.notify_all();
    }
  }

  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [this] { return done_ == total_; });
  }

 private:
  const int64_t total_;
  const int64_t block_;
  const Work& work_;
  std::atomic<int64_t> next_{0};
  std::atomic<int> next_worker_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
  int64_t done_ = 0;
};

ParallelFor Threads(ffi::ThreadPool& pool) {
  const int64_t threads = pool.num_threads();
  ParallelFor parallel_for;
  // One thread gains nothing from a trip through the queue.
  parallel_for.max_workers = threads > 1 ? static_cast<int>(threads) + 1 : 1;
  parallel_for.run = [&pool, threads](int64_t total, int64_t block,
                                      const Work& work) {
    const auto loop = std::make_shared<Loop>(total, block, work);
    const int64_t blocks = (total + block - 1) / block;
    try {
      for (int64_t t = 0; t < std::min(threads, blocks - 1); ++t) {
        pool.Schedule([loop] { loop->Help(); });
      }
    } catch (const std::bad_alloc&) {
      // Those that were scheduled are enough, and so is none.
    }
    loop->Help();
    loop->Wait();
  };
  return parallel_for;
}

// The tensors of a call in the order of its operands, with their dimensions.
struct Slot {
  const void* Operands::* pointer;
  Dims dims;
};

std::vector<Slot> Slots(const Call& call) {
  const ConvTransposeGeometry& geometry = call.geometry;
  const Slot input{&Operands::input, geometry.InputDims()};
  const Slot filter{&Operands::filter, geometry.FilterDims()};
  const Slot output_grad{&Operands::output_grad, geometry.OutputDims()};
  switch (call.operation) {
    case Operation::kInputGrad:
      return {output_grad, filter};
    case Operation::kFilterGrad:
      return {input, output_grad};
    default:
      if (!geometry.has_bias) return {input, filter};
      return {input, filter, {&Operands::bias, {geometry.out_channels}}};
  }
}

ffi::Error ReadOperands(const Call& call, ffi::RemainingArgs arguments,
                        Operands* operands) {
  const std::vector<Slot> slots = Slots(call);
  if (arguments.size() != slots.size()) {
    return ffi::Error::InvalidArgument(
        "conv_transpose_nd takes " + std::to_string(slots.size()) +
        " operands, got " + std::to_string(arguments.size()));
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    const auto buffer = arguments.get<ffi::AnyBuffer>(i);
    if (!buffer.has_value()) return buffer.error();
    const int64_t bytes = NumElements(slots[i].dims) * SizeOf(call.dtype);
    if (static_cast<int64_t>(buffer->size_bytes()) != bytes) {
      return ffi::Error::InvalidArgument(
          "operand " + std::to_string(i) + " of conv_transpose_nd must hold " +
          std::to_string(bytes) + " bytes, got " +
          std::to_string(buffer->size_bytes()));
    }
    operands->*slots[i].pointer = buffer->untyped_data();
  }
  return ffi::Error::Success();
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

ffi::Error Execute(ffi::RemainingArgs arguments,
                   ffi::Result<ffi::AnyBuffer> result,
                   ffi::Span<const int64_t> encoded, ffi::ThreadPool& pool) {
  Call call;
  if (!Decode(encoded.begin(), encoded.size(), &call)) {
    return ffi::Error::InvalidArgument(
        "conv_transpose_nd got an attribute of another build");
  }
  Operands operands;
  if (ffi::Error error = ReadOperands(call, arguments, &operands);
      error.failure()) {
    return error;
  }
  const int64_t bytes =
      ResultElements(call.operation, call.geometry) * SizeOf(call.dtype);
  if (static_cast<int64_t>(result->size_bytes()) != bytes) {
    return ffi::Error::InvalidArgument(
        "the result of conv_transpose_nd must hold " + std::to_string(bytes) +
        " bytes, got " + std::to_string(result->size_bytes()));
  }
  if (bytes == 0) return ffi::Error::Success();
  operands.result = result->untyped_data();
  const auto plan = SharedPlanFor(call.operation, call.geometry, call.dtype);
  const ParallelFor threads = Threads(pool);
  // XLA on the CPU hands out no scratch memory at run time, and how much it
  // takes depends on the number of threads.
  const int64_t alignment = 64;
  const int64_t wanted = plan->WorkspaceBytes(threads.max_workers);
  const std::unique_ptr<void, Free> workspace(std::aligned_alloc(
      alignment, (wanted + alignment) / alignment * alignment));
  if (workspace == nullptr) {
    return ffi::Error(
        ffi::ErrorCode::kResourceExhausted,
        "no memory for a workspace of " + std::to_string(wanted) + " bytes");
  }
  Run(*plan, operands, workspace.get(), threads);
  return ffi::Error::Success();
}

// Nothing above catches an exception: one that left here would end the process.
ffi::Error Handle(ffi::RemainingArgs arguments,
                  ffi::Result<ffi::AnyBuffer> result,
                  ffi::Span<const int64_t> encoded, ffi::ThreadPool pool) {
  try {
    return Execute(arguments, result, encoded, pool);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      "no memory for the plan of conv_transpose_nd");
  }
}

XLA_FFI_DEFINE_HANDLER(kHandler, Handle,
                       ffi::Ffi::Bind()
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>()
                           .Attr<ffi::Span<const int64_t>>("call")
                           .Ctx<ffi::ThreadPool>());

[[maybe_unused]] const bool kRegistered =
    HasCustomCalls() &&
    ffi::Ffi::RegisterStaticHandler(XLA_FFI_GetApi(), kCallTarget, "Host",
                                    kHandler) == nullptr;

}  // namespace
}  // namespace conv_transpose_nd
