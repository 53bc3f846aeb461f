// GPU registration, and the adapter between TensorFlow's stream and the
// launcher. For the host compiler: no header of CUDA.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "cc/kernels/conv_transpose_nd_op.h"
#include "cc/kernels/gpu/launch.h"
#include "cc/kernels/trace.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/platform/tensor_float_32_utils.h"
#include "xla/stream_executor/stream.h"

namespace conv_transpose_nd {
namespace {

using tensorflow::OpKernelContext;

struct GpuPlan {
  gpu::Launcher* launcher = nullptr;
  ConvTransposeGeometry geometry;
  gpu::Program program;
};

bool LogPlans() {
  static const bool log = [] {
    const char* value = std::getenv("CONV_TRANSPOSE_ND_LOG");
    return value != nullptr && std::strcmp(value, "plan") == 0;
  }();
  return log;
}

struct GpuDevice {
  using Plan = GpuPlan;

  // Bits of what a plan depends on beside the geometry.
  static constexpr int64_t kAligned = 1;
  static constexpr int64_t kAllowTf32 = 2;

  // Slices of a tensor may begin anywhere.
  static bool Aligned(const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  }

  // TF32 is TensorFlow's own switch, which may change between calls:
  // tf.config.experimental.enable_tensor_float_32_execution.
  static int64_t Variant(const Operands& operands) {
    const bool aligned = Aligned(operands.input) && Aligned(operands.filter) &&
                         Aligned(operands.output_grad) &&
                         Aligned(operands.bias) && Aligned(operands.result);
    return (aligned ? kAligned : 0) |
           (tensorflow::tensor_float_32_execution_enabled() ? kAllowTf32 : 0);
  }

  static absl::Status StreamOf(OpKernelContext* context, gpu::Stream* stream) {
    tensorflow::DeviceContext* const device = context->op_device_context();
    if (device == nullptr || device->stream() == nullptr) {
      return absl::InternalError(
          absl::StrCat(context->op_kernel().name(), " has no GPU stream"));
    }
    *stream = device->stream()->platform_specific_handle().stream;
    return absl::OkStatus();
  }

  static absl::Status MakePlan(OpKernelContext* context, Operation operation,
                               const ConvTransposeGeometry& geometry,
                               DType dtype, int64_t variant,
                               bool /*filter_is_constant*/, Plan* plan) {
    gpu::Stream stream = nullptr;
    TF_RETURN_IF_ERROR(StreamOf(context, &stream));
    TF_RETURN_IF_ERROR(ToTensorFlow(gpu::GetLauncher(&plan->launcher)));
    gpu::DeviceInfo device;
    TF_RETURN_IF_ERROR(ToTensorFlow(plan->launcher->Describe(stream, &device)));
    plan->geometry = geometry;
    plan->program = gpu::MakeProgram(operation, geometry, dtype, device,
                                     variant & kAllowTf32, variant & kAligned);
    if (LogPlans()) {
      std::fprintf(stderr, "conv_transpose_nd: %s\n",
                   plan->program.reason.c_str());
    }
    return absl::OkStatus();
  }

  static std::string TraceText(absl::string_view type, absl::string_view name,
                               const Plan& plan) {
    const auto& launches = plan.program.launches;
    return tsl::profiler::TraceMeEncode(
        absl::StrCat(type, " gpu"),
        {{"node", name},
         {"kernel", launches.empty() ? "" : launches.back().kernel},
         {"reason", absl::StrCat("\"", plan.program.reason, "\"")},
         {"input", ShapeText(plan.geometry.InputDims())},
         {"filter", ShapeText(plan.geometry.FilterDims())},
         {"output", ShapeText(plan.geometry.OutputDims())}});
  }

  static absl::Status AllocateResult(OpKernelContext* context,
                                     const tensorflow::TensorShape& shape,
                                     tensorflow::Tensor** result) {
    return context->allocate_output(0, shape, result);
  }

  static absl::Status AllocateTemporary(OpKernelContext* context, int64_t bytes,
                                        tensorflow::Tensor* tensor) {
    return context->allocate_temp(tensorflow::DT_UINT8,
                                  tensorflow::TensorShape({bytes}), tensor);
  }

  static void Prepare(void*, int64_t) {}

  // The tables: one copy to the device serves all calls.
  static int64_t KeptBytes(const Plan& plan, bool) {
    return static_cast<int64_t>(plan.program.constants.size());
  }

  // Then they are the workspace of all calls. Else each has one of its own.
  static bool WorkspaceIsTables(const Plan& plan) {
    return KeptBytes(plan, false) == plan.program.workspace_bytes;
  }

  // Tables are those of one plan, whatever the filter.
  static bool ShareKept(const Plan&, const Plan&) { return false; }
  static tensorflow::Tensor KeptFilter(OpKernelContext*) { return {}; }

  static absl::Status Keep(OpKernelContext* context, const Plan& plan,
                           const void*, void* tables) {
    gpu::Stream stream = nullptr;
    TF_RETURN_IF_ERROR(StreamOf(context, &stream));
    return ToTensorFlow(plan.launcher->Upload(plan.program, tables, stream));
  }

  static int64_t WorkspaceBytes(OpKernelContext*, const Plan& plan,
                                bool tables_are_kept) {
    return tables_are_kept && WorkspaceIsTables(plan)
               ? 0
               : plan.program.workspace_bytes;
  }

  static absl::Status Run(OpKernelContext* context, const Plan& plan,
                          const Operands& operands, void* workspace) {
    gpu::Stream stream = nullptr;
    TF_RETURN_IF_ERROR(StreamOf(context, &stream));
    if (operands.packed_filter != nullptr && WorkspaceIsTables(plan)) {
      workspace = const_cast<void*>(operands.packed_filter);
    } else if (operands.packed_filter != nullptr) {
      TF_RETURN_IF_ERROR(ToTensorFlow(plan.launcher->CopyTables(
          plan.program, operands.packed_filter, workspace, stream)));
    }
    // Of the three tensors, an operation has two: see program.h.
    gpu::LaunchOperands pointers;
    pointers.first =
        operands.input != nullptr ? operands.input : operands.output_grad;
    pointers.second =
        operands.filter != nullptr ? operands.filter : operands.output_grad;
    pointers.bias = operands.bias;
    pointers.result = operands.result;
    return ToTensorFlow(
        plan.launcher->Run(plan.program, pointers, workspace, stream));
  }
};

#define REGISTER(type)                                            \
  REGISTER_KERNEL_BUILDER(Name("ConvTransposeND")                 \
                              .Device(tensorflow::DEVICE_GPU)     \
                              .HostMemory("output_shape")         \
                              .TypeConstraint<type>("T"),         \
                          ConvTransposeNDOp<GpuDevice>);          \
  REGISTER_KERNEL_BUILDER(Name("ConvTransposeNDInputGrad")        \
                              .Device(tensorflow::DEVICE_GPU)     \
                              .TypeConstraint<type>("T"),         \
                          ConvTransposeNDInputGradOp<GpuDevice>); \
  REGISTER_KERNEL_BUILDER(Name("ConvTransposeNDFilterGrad")       \
                              .Device(tensorflow::DEVICE_GPU)     \
                              .HostMemory("filter_shape")         \
                              .TypeConstraint<type>("T"),         \
                          ConvTransposeNDFilterGradOp<GpuDevice>)

REGISTER(Eigen::half);
REGISTER(Eigen::bfloat16);
REGISTER(float);
REGISTER(double);

}  // namespace
}  // namespace conv_transpose_nd
