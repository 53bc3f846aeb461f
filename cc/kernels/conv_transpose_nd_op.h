// The OpKernel shells: shapes in, geometry, allocation, plan, run. Step 4 of
// the path of a call. Device supplies what differs between processors: see
// CpuDevice in conv_transpose_nd_op_cpu.cc.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CONV_TRANSPOSE_ND_OP_H_
#define CONV_TRANSPOSE_ND_KERNELS_CONV_TRANSPOSE_ND_OP_H_

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/geometry.h"
#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/kernels/tf_bridge.h"
#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/mutex.h"
#include "tensorflow/core/profiler/lib/traceme.h"

namespace conv_transpose_nd {

// The last few things made, the latest first.
template <typename Entry, size_t kEntries>
class Recent {
 public:
  // Null where no entry fits; an entry that does becomes the latest.
  template <typename Fits>
  const Entry* Find(const Fits& fits) {
    const auto found = std::find_if(entries_.begin(), entries_.end(), fits);
    if (found == entries_.end()) return nullptr;
    std::rotate(entries_.begin(), found, found + 1);
    return &entries_.front();
  }

  const Entry& Add(Entry entry) {
    if (entries_.size() == kEntries) entries_.pop_back();
    entries_.insert(entries_.begin(), std::move(entry));
    return entries_.front();
  }

 private:
  std::vector<Entry> entries_;
};

// Plans of the last geometries: consecutive calls mostly repeat one, those of a
// server a few.
template <typename Plan>
class PlanCache {
 public:
  // make: absl::Status(Plan*)
  template <typename Make>
  absl::Status Get(const Dims& key, const Make& make,
                   std::shared_ptr<const Plan>* result) {
    {
      tensorflow::mutex_lock lock(mutex_);
      const Entry* found =
          plans_.Find([&](const Entry& entry) { return entry.first == key; });
      if (found != nullptr) {
        *result = found->second;
        return absl::OkStatus();
      }
    }
    auto plan = std::make_shared<Plan>();
    TF_RETURN_IF_ERROR(make(plan.get()));
    *result = plan;
    tensorflow::mutex_lock lock(mutex_);
    plans_.Add({key, std::move(plan)});
    return absl::OkStatus();
  }

 private:
  using Entry = std::pair<Dims, std::shared_ptr<const Plan>>;

  tensorflow::mutex mutex_;
  Recent<Entry, 8> plans_ TF_GUARDED_BY(mutex_);
};

// Memory that calls share: a packed filter that never changes, or a plan's
// tables on a device.
template <typename Device>
class KeptMemory {
 public:
  using Plan = typename Device::Plan;

  // filter: what is packed. It is held, so that nothing else can come to lie
  // where it does: a filter that is another one after all, for a session was
  // fed it, is packed again.
  // make: absl::Status(tensorflow::Tensor*)
  template <typename Make>
  absl::Status Get(const std::shared_ptr<const Plan>& plan,
                   const tensorflow::Tensor& filter, const Make& make,
                   tensorflow::Tensor* result) {
    tensorflow::mutex_lock lock(mutex_);
    const Entry* found = kept_.Find([&](const Entry& entry) {
      return entry.filter.data() == filter.data() &&
             (entry.plan == plan || Device::ShareKept(*entry.plan, *plan));
    });
    if (found == nullptr) {
      // Where it fails there is nothing to keep: the next call tries again.
      tensorflow::Tensor made;
      TF_RETURN_IF_ERROR(make(&made));
      found = &kept_.Add({plan, filter, std::move(made)});
    }
    *result = found->kept;
    return absl::OkStatus();
  }

 private:
  struct Entry {
    std::shared_ptr<const Plan> plan;
    tensorflow::Tensor filter, kept;
  };

  tensorflow::mutex mutex_;
  // Two: a filter may be large.
  Recent<Entry, 2> kept_ TF_GUARDED_BY(mutex_);
};

// The step that the call belongs to was given up: its session closed or timed
// out, or another op of it failed.
inline bool IsCancelled(tensorflow::OpKernelContext* context) {
  tensorflow::CancellationManager* manager = context->cancellation_manager();
  return manager != nullptr && manager->IsCancelled();
}

// What the three ops share: attributes, plan, and the run on validated
// geometry.
template <typename Device>
class ConvTransposeNDKernel : public tensorflow::OpKernel {
 public:
  explicit ConvTransposeNDKernel(tensorflow::OpKernelConstruction* context)
      : OpKernel(context),
        out_of_memory_(absl::ResourceExhaustedError(
            "no memory for the plan of " + std::string(name()))) {
    OP_REQUIRES_OK(context, ReadAttributes(*context, &attributes_));
    // The filter gradient has no filter, and no such attribute.
    context->GetAttr("filter_is_constant", &filter_is_constant_).IgnoreError();
  }

  // Nothing above catches an exception: one that left here would end the
  // process. The only one that the core throws is that of operator new.
  void Compute(tensorflow::OpKernelContext* context) final {
    try {
      Call(context);
    } catch (const std::bad_alloc&) {
      context->SetStatus(out_of_memory_);
    }
  }

 protected:
  virtual void Call(tensorflow::OpKernelContext* context) = 0;

  // Resolves, allocates output 0 with the dimensions that `result_dims` names,
  // and runs.
  void RunOn(tensorflow::OpKernelContext* context, Operation operation,
             const Shapes& shapes,
             Dims (ConvTransposeGeometry::*result_dims)() const,
             Operands operands) {
    ConvTransposeGeometry geometry;
    OP_REQUIRES_OK(context, ToTensorFlow(ResolveGeometry(
                                operation, shapes, attributes_, &geometry)));
    tensorflow::TensorShape result_shape;
    OP_REQUIRES_OK(context, tensorflow::TensorShape::BuildTensorShape(
                                (geometry.*result_dims)(), &result_shape));
    tensorflow::Tensor* result = nullptr;
    OP_REQUIRES_OK(context,
                   Device::AllocateResult(context, result_shape, &result));
    if (result->NumElements() == 0) return;
    operands.result = result->data();
    Device::Prepare(result->data(), result->TotalBytes());
    const auto plan = PlanOf(context, operation, geometry, operands);
    if (plan == nullptr) return;
    const tsl::profiler::TraceMe trace(
        [&] { return Device::TraceText(type_string(), name(), *plan); },
        tsl::profiler::TraceMeLevel::kInfo);
    tensorflow::Tensor kept;
    if (Device::KeptBytes(*plan, filter_is_constant_) > 0) {
      OP_REQUIRES_OK(context, kept_.Get(
                                  plan, Device::KeptFilter(context),
                                  [&](tensorflow::Tensor* made) {
                                    return Keep(context, *plan, operands, made);
                                  },
                                  &kept));
      operands.packed_filter = kept.data();
    }
    tensorflow::Tensor workspace;
    OP_REQUIRES_OK(
        context,
        AllocateBytes(context,
                      Device::WorkspaceBytes(context, *plan,
                                             operands.packed_filter != nullptr),
                      &workspace));
    OP_REQUIRES_OK(context,
                   Device::Run(context, *plan, operands, workspace.data()));
    OP_REQUIRES(context, !IsCancelled(context),
                absl::CancelledError(std::string(name()) + " was cancelled"));
  }

 private:
  using Plan = typename Device::Plan;

  static absl::Status AllocateBytes(tensorflow::OpKernelContext* context,
                                    int64_t bytes, tensorflow::Tensor* tensor) {
    TF_RETURN_IF_ERROR(Device::AllocateTemporary(context, bytes, tensor));
    Device::Prepare(tensor->data(), bytes);
    return absl::OkStatus();
  }

  // Null, and a failed context, where there is none.
  std::shared_ptr<const Plan> PlanOf(tensorflow::OpKernelContext* context,
                                     Operation operation,
                                     const ConvTransposeGeometry& geometry,
                                     const Operands& operands) {
    const int64_t variant = Device::Variant(operands);
    Dims key = {variant};
    for (const Dims& dims :
         {geometry.InputDims(), geometry.FilterDims(), geometry.OutputDims()}) {
      key.insert(key.end(), dims.begin(), dims.end());
    }
    std::shared_ptr<const Plan> plan;
    context->SetStatus(plans_.Get(
        key,
        [&](Plan* made) {
          return Device::MakePlan(context, operation, geometry,
                                  attributes_.dtype, variant,
                                  filter_is_constant_, made);
        },
        &plan));
    return plan;
  }

  absl::Status Keep(tensorflow::OpKernelContext* context, const Plan& plan,
                    const Operands& operands, tensorflow::Tensor* made) {
    TF_RETURN_IF_ERROR(AllocateBytes(
        context, Device::KeptBytes(plan, filter_is_constant_), made));
    return Device::Keep(context, plan, operands.filter, made->data());
  }

  Attributes attributes_;
  // Made beforehand: there may be no memory for its words then.
  const absl::Status out_of_memory_;
  bool filter_is_constant_ = false;
  PlanCache<Plan> plans_;
  KeptMemory<Device> kept_;
};

template <typename Device>
class ConvTransposeNDOp : public ConvTransposeNDKernel<Device> {
 public:
  using ConvTransposeNDKernel<Device>::ConvTransposeNDKernel;

  void Call(tensorflow::OpKernelContext* context) override {
    Shapes shapes{ToDims(context->input(0).shape()),
                  ToDims(context->input(1).shape()),
                  {},
                  false,
                  {}};
    OP_REQUIRES_OK(context, ReadShapeArgument(context->input(2), "output_shape",
                                              &shapes.output));
    Operands operands;
    operands.input = context->input(0).data();
    operands.filter = context->input(1).data();
    OP_REQUIRES(
        context, context->num_inputs() <= 4,
        absl::InvalidArgumentError("num_bias must be 0 or 1, got " +
                                   std::to_string(context->num_inputs() - 3)));
    if (context->num_inputs() == 4) {
      shapes.has_bias = true;
      shapes.bias = ToDims(context->input(3).shape());
      operands.bias = context->input(3).data();
    }
    this->RunOn(context, Operation::kConvTranspose, shapes,
                &ConvTransposeGeometry::OutputDims, operands);
  }
};

template <typename Device>
class ConvTransposeNDInputGradOp : public ConvTransposeNDKernel<Device> {
 public:
  using ConvTransposeNDKernel<Device>::ConvTransposeNDKernel;

  void Call(tensorflow::OpKernelContext* context) override {
    Shapes shapes;
    shapes.output = ToDims(context->input(0).shape());
    shapes.filter = ToDims(context->input(1).shape());
    Operands operands;
    operands.output_grad = context->input(0).data();
    operands.filter = context->input(1).data();
    this->RunOn(context, Operation::kInputGrad, shapes,
                &ConvTransposeGeometry::InputDims, operands);
  }
};

template <typename Device>
class ConvTransposeNDFilterGradOp : public ConvTransposeNDKernel<Device> {
 public:
  using ConvTransposeNDKernel<Device>::ConvTransposeNDKernel;

  void Call(tensorflow::OpKernelContext* context) override {
    Shapes shapes;
    shapes.input = ToDims(context->input(0).shape());
    shapes.output = ToDims(context->input(2).shape());
    OP_REQUIRES_OK(context, ReadShapeArgument(context->input(1), "filter_shape",
                                              &shapes.filter));
    Operands operands;
    operands.input = context->input(0).data();
    operands.output_grad = context->input(2).data();
    this->RunOn(context, Operation::kFilterGrad, shapes,
                &ConvTransposeGeometry::FilterDims, operands);
  }
};

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_CONV_TRANSPOSE_ND_OP_H_
