// Results and workspaces on CPU in memory that is used again: TensorFlow
// returns it to the system, and the next call touches fresh pages.
#ifndef CONV_TRANSPOSE_ND_KERNELS_KEPT_ALLOCATOR_H_
#define CONV_TRANSPOSE_ND_KERNELS_KEPT_ALLOCATOR_H_

#include <string>

#include "cc/kernels/cpu/kept_memory.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace conv_transpose_nd {

class KeptAllocator final : public tensorflow::Allocator {
 public:
  // Never destroyed: a tensor may outlive all else.
  static KeptAllocator* Get() {
    static auto* allocator = new KeptAllocator;
    return allocator;
  }

  std::string Name() override { return "conv_transpose_nd"; }

  // Blocks lie on boundaries of 64 bytes, as TensorFlow wants them.
  void* AllocateRaw(size_t alignment, size_t bytes) override {
    return alignment > 64 ? nullptr
                          : AllocateBlock(static_cast<int64_t>(bytes));
  }

  void DeallocateRaw(void* block) override { ReleaseBlock(block); }

  // Smaller ones are kept by the allocator of C itself; what is larger than any
  // memory is TensorFlow's to refuse.
  static bool Takes(double bytes) {
    constexpr double kLeast = 1 << 18, kMost = int64_t{1} << 50;
    return bytes >= kLeast && bytes <= kMost;
  }

  static absl::Status Allocate(tensorflow::DataType type,
                               const tensorflow::TensorShape& shape,
                               tensorflow::Tensor* tensor) {
    *tensor = tensorflow::Tensor(Get(), type, shape);
    if (tensor->IsInitialized()) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        "OOM when allocating tensor with shape" + shape.DebugString() +
        " and type " + tensorflow::DataTypeString(type));
  }
};

// Output 0 of the call.
inline absl::Status AllocateKeptResult(tensorflow::OpKernelContext* context,
                                       const tensorflow::TensorShape& shape,
                                       tensorflow::Tensor** result) {
  const tensorflow::DataType type = context->expected_output_dtype(0);
  // Any other is memory that a device asks for.
  const bool plain = context->output_alloc_attr(0).value == 0;
  const double bytes = static_cast<double>(shape.num_elements()) *
                       tensorflow::DataTypeSize(type);
  if (!plain || !KeptAllocator::Takes(bytes)) {
    return context->allocate_output(0, shape, result);
  }
  tensorflow::Tensor tensor;
  TF_RETURN_IF_ERROR(KeptAllocator::Allocate(type, shape, &tensor));
  context->set_output(0, std::move(tensor));
  *result = context->mutable_output(0);
  return absl::OkStatus();
}

inline absl::Status AllocateKeptBytes(tensorflow::OpKernelContext* context,
                                      int64_t bytes,
                                      tensorflow::Tensor* tensor) {
  const tensorflow::TensorShape shape({bytes});
  if (!KeptAllocator::Takes(static_cast<double>(bytes))) {
    return context->allocate_temp(tensorflow::DT_UINT8, shape, tensor);
  }
  return KeptAllocator::Allocate(tensorflow::DT_UINT8, shape, tensor);
}

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_KEPT_ALLOCATOR_H_
