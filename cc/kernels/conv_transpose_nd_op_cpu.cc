// CPU registration, and the adapter between TensorFlow's thread pool and
// ParallelFor.
#include <functional>
#include <string>
#include <utility>

#include "cc/core/shared_loop.h"
#include "cc/kernels/conv_transpose_nd_op.h"
#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/kernels/cpu/huge_pages.h"
#include "cc/kernels/kept_allocator.h"
#include "cc/kernels/trace.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/lib/core/threadpool.h"

namespace conv_transpose_nd {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::thread::ThreadPool;

struct CpuDevice {
  using Plan = conv_transpose_nd::Plan;

  static ThreadPool* Pool(OpKernelContext* context) {
    return context->device()->tensorflow_cpu_worker_threads()->workers;
  }

  static int64_t Variant(const Operands&) { return 0; }

  static absl::Status MakePlan(OpKernelContext*, Operation operation,
                               const ConvTransposeGeometry& geometry,
                               DType dtype, int64_t, bool filter_is_constant,
                               Plan* plan) {
    *plan = PlanFor(operation, geometry, dtype, filter_is_constant);
    return absl::OkStatus();
  }

  static std::string TraceText(absl::string_view type, absl::string_view name,
                               const Plan& plan) {
    return conv_transpose_nd::TraceText(type, name, plan);
  }

  // TensorFlow's own loops leave all but one block to the pool and wait for it
  // to wake.
  static ParallelFor Threads(OpKernelContext* context) {
    ThreadPool* pool = Pool(context);
    return ShareLoops(pool->NumThreads(), [pool](std::function<void()> help) {
      pool->Schedule(std::move(help));
    });
  }

  static absl::Status AllocateResult(OpKernelContext* context,
                                     const tensorflow::TensorShape& shape,
                                     tensorflow::Tensor** result) {
    return AllocateKeptResult(context, shape, result);
  }

  static absl::Status AllocateTemporary(OpKernelContext* context, int64_t bytes,
                                        tensorflow::Tensor* tensor) {
    return AllocateKeptBytes(context, bytes, tensor);
  }

  // Memory that the call is about to write.
  static void Prepare(void* memory, int64_t bytes) {
    AdviseHugePages(memory, bytes);
  }

  // The packed filter, where it never changes.
  static int64_t KeptBytes(const Plan& plan, bool filter_is_constant) {
    return filter_is_constant ? plan.packed_bytes : 0;
  }

  static bool ShareKept(const Plan& a, const Plan& b) {
    return SharePackedFilter(a, b);
  }

  // The second input of both operations that have a filter.
  static tensorflow::Tensor KeptFilter(OpKernelContext* context) {
    return context->input(1);
  }

  static absl::Status Keep(OpKernelContext* context, const Plan& plan,
                           const void* filter, void* packed) {
    PackFilter(plan, filter, packed, Threads(context));
    return absl::OkStatus();
  }

  static int64_t WorkspaceBytes(OpKernelContext* context, const Plan& plan,
                                bool filter_is_packed) {
    return plan.WorkspaceBytes(Threads(context).max_workers, filter_is_packed);
  }

  static absl::Status Run(OpKernelContext* context, const Plan& plan,
                          const Operands& operands, void* workspace) {
    ParallelFor parallel_for = Threads(context);
    if (IsShort(plan)) parallel_for.max_workers = 1;
    if (IsLong(plan)) {
      parallel_for.cancelled = [context] { return IsCancelled(context); };
    }
    conv_transpose_nd::Run(plan, operands, workspace, parallel_for);
    return absl::OkStatus();
  }

  static double Amount(const Plan& plan) {
    const int64_t elements = NumElements(plan.geometry.InputDims()) +
                             NumElements(plan.geometry.OutputDims());
    return plan.multiply_adds + static_cast<double>(elements);
  }

  // A millisecond or more: what is shorter runs to its end.
  static bool IsLong(const Plan& plan) {
    constexpr double kLong = 1 << 24;
    return Amount(plan) > kLong;
  }

  // Up to a tenth of a millisecond: until a thread of the pool has woken, the
  // caller has done it. A layer of 70 us took 0.12 ms with TensorFlow's part on
  // one thread, 0.14 to 0.18 on two; one of 0.25 ms took 0.32 and 0.24.
  static bool IsShort(const Plan& plan) {
    return Amount(plan) < static_cast<double>(plan.target.vector_bytes << 17);
  }
};

#define REGISTER_GRADIENTS(type)                                  \
  REGISTER_KERNEL_BUILDER(Name("ConvTransposeNDInputGrad")        \
                              .Device(tensorflow::DEVICE_CPU)     \
                              .TypeConstraint<type>("T"),         \
                          ConvTransposeNDInputGradOp<CpuDevice>); \
  REGISTER_KERNEL_BUILDER(Name("ConvTransposeNDFilterGrad")       \
                              .Device(tensorflow::DEVICE_CPU)     \
                              .TypeConstraint<type>("T"),         \
                          ConvTransposeNDFilterGradOp<CpuDevice>)
#define REGISTER_FORWARD(type)                                \
  REGISTER_KERNEL_BUILDER(Name("ConvTransposeND")             \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<type>("T"),     \
                          ConvTransposeNDOp<CpuDevice>)

REGISTER_FORWARD(Eigen::half);
REGISTER_FORWARD(Eigen::bfloat16);
REGISTER_FORWARD(float);
REGISTER_FORWARD(double);
REGISTER_FORWARD(int32_t);
REGISTER_GRADIENTS(Eigen::half);
REGISTER_GRADIENTS(Eigen::bfloat16);
REGISTER_GRADIENTS(float);
REGISTER_GRADIENTS(double);

}  // namespace
}  // namespace conv_transpose_nd
