// The CPU kernels as an XLA custom call: typed FFI (xla/ffi/api/ffi.h), which
// costs under a second to compile and whose entry point is in the framework
// library. XLA's own buffers and threads; no copy.
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/shared_loop.h"
#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/xla/call.h"
#include "cc/xla/entry_point.h"
#include "xla/ffi/api/ffi.h"

namespace conv_transpose_nd {
namespace {

namespace ffi = xla::ffi;

// The caller may itself hold the pool's last thread: it waits for none that has
// not begun.
ParallelFor Threads(ffi::ThreadPool& pool) {
  return ShareLoops(
      static_cast<int>(pool.num_threads()),
      [&pool](std::function<void()> help) { pool.Schedule(std::move(help)); });
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
