// The three ops for XLA's compiler: jit_compile=True. On CPU they become a call
// of our own kernels, elsewhere XLA's convolution.
//
// The headers of XLA's kernels cost 25 s and 1.7 GB to compile: only this file
// includes them.
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cc/core/geometry.h"
#include "cc/kernels/tf_bridge.h"
#include "cc/xla/dynamic.h"
#include "cc/xla/entry_point.h"
#include "cc/xla/lowering.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"

namespace conv_transpose_nd {
namespace {

using tensorflow::OpKernelConstruction;
using tensorflow::XlaOpKernelContext;
using tensorflow::XlaOpRegistry;

constexpr char kVariable[] = "CONV_TRANSPOSE_ND_XLA";

// Whether to call our own kernels, from CONV_TRANSPOSE_ND_XLA: call (the
// default where the device is the CPU) or hlo.
absl::Status ReadChoice(const std::string& device, bool* call_kernels) {
  const char* const variable = std::getenv(kVariable);
  const std::string choice =
      variable == nullptr || *variable == '\0' ? "call" : variable;
  if (choice != "call" && choice != "hlo") {
    return absl::InvalidArgumentError(std::string(kVariable) +
                                      " must be call or hlo, got " + choice);
  }
  *call_kernels = choice == "call" && HasCustomCalls() &&
                  device == tensorflow::DEVICE_CPU_XLA_JIT;
  return absl::OkStatus();
}

// Reads output_shape, whose values may be bounds where those of input are.
absl::Status ReadOutputShape(XlaOpKernelContext* context, Dims* values) {
  const int index = 2;
  auto constant = context->ConstantInputTensor(index);
  if (constant.ok())
    return ReadShapeArgument(*constant, "output_shape", values);
  TF_ASSIGN_OR_RETURN(const xla::Shape input, context->InputXlaShape(0));
  std::vector<bool> is_bound;
  TF_RETURN_IF_ERROR(
      context->ResolveInputDynamismIntoPredVector(index, &is_bound));
  for (size_t i = 0; i < is_bound.size(); ++i) {
    if (!is_bound[i] ||
        (i < input.dimensions().size() && input.is_dynamic_dimension(i))) {
      continue;
    }
    return absl::InvalidArgumentError(
        "output_shape[" + std::to_string(i) +
        "] must be a compile-time constant, for input has a length that is");
  }
  TF_ASSIGN_OR_RETURN(const tensorflow::Tensor bounds,
                      context->ConstantInputTensor(
                          index, xla::ValueInferenceMode::kUpperBound));
  return ReadShapeArgument(bounds, "output_shape", values);
}

// What the three ops share. A subclass says which input is what.
class ConvTransposeNDXlaKernel : public tensorflow::XlaOpKernel {
 public:
  ConvTransposeNDXlaKernel(OpKernelConstruction* context, Operation operation)
      : XlaOpKernel(context), operation_(operation) {
    OP_REQUIRES_OK(context, ReadAttributes(*context, &attributes_));
    OP_REQUIRES_OK(context, ReadChoice(context->device_type().type_string(),
                                       &call_kernels_));
  }

 protected:
  static absl::Status Dimensions(XlaOpKernelContext* context, int input,
                                 Dims* dims) {
    TF_ASSIGN_OR_RETURN(const xla::Shape shape, context->InputXlaShape(input));
    dims->assign(shape.dimensions().begin(), shape.dimensions().end());
    return absl::OkStatus();
  }

  // inputs: those that Call wants, in its order. output_shape: the input that
  // holds it, or -1.
  absl::Status Lower(XlaOpKernelContext* context, const Shapes& shapes,
                     const std::vector<int>& inputs, int output_shape = -1) {
    Call call{operation_, attributes_.dtype, {}};
    TF_RETURN_IF_ERROR(ToTensorFlow(
        ResolveGeometry(operation_, shapes, attributes_, &call.geometry)));
    std::vector<xla::XlaOp> operands;
    bool is_static = true;
    for (int input : inputs) {
      TF_ASSIGN_OR_RETURN(const xla::Shape shape,
                          context->InputXlaShape(input));
      is_static = is_static && shape.is_static();
      operands.push_back(context->Input(input));
    }
    if (is_static) {
      context->SetOutput(0, call_kernels_ ? LowerToCall(call, operands)
                                          : LowerToHlo(call, operands));
      return absl::OkStatus();
    }
    DynamicCall dynamic{call, attributes_.padding, operands};
    xla::XlaOp shape;
    if (output_shape >= 0) {
      shape = context->Input(output_shape);
      dynamic.output_shape = &shape;
    }
    dynamic.call_kernels = call_kernels_;
    TF_ASSIGN_OR_RETURN(const xla::XlaOp result, LowerDynamic(dynamic));
    context->SetOutput(0, result);
    return absl::OkStatus();
  }

 private:
  const Operation operation_;
  Attributes attributes_;
  bool call_kernels_ = false;
};

class ConvTransposeNDXlaOp : public ConvTransposeNDXlaKernel {
 public:
  explicit ConvTransposeNDXlaOp(OpKernelConstruction* context)
      : ConvTransposeNDXlaKernel(context, Operation::kConvTranspose) {}

  void Compile(XlaOpKernelContext* context) override {
    OP_REQUIRES(
        context, context->num_inputs() <= 4,
        absl::InvalidArgumentError("num_bias must be 0 or 1, got " +
                                   std::to_string(context->num_inputs() - 3)));
    Shapes shapes;
    OP_REQUIRES_OK(context, Dimensions(context, 0, &shapes.input));
    OP_REQUIRES_OK(context, Dimensions(context, 1, &shapes.filter));
    OP_REQUIRES_OK(context, ReadOutputShape(context, &shapes.output));
    std::vector<int> inputs = {0, 1};
    shapes.has_bias = context->num_inputs() == 4;
    if (shapes.has_bias) {
      OP_REQUIRES_OK(context, Dimensions(context, 3, &shapes.bias));
      inputs.push_back(3);
    }
    const int output_shape = shapes.output.empty() ? -1 : 2;
    OP_REQUIRES_OK(context, Lower(context, shapes, inputs, output_shape));
  }
};

class ConvTransposeNDInputGradXlaOp : public ConvTransposeNDXlaKernel {
 public:
  explicit ConvTransposeNDInputGradXlaOp(OpKernelConstruction* context)
      : ConvTransposeNDXlaKernel(context, Operation::kInputGrad) {}

  void Compile(XlaOpKernelContext* context) override {
    Shapes shapes;
    OP_REQUIRES_OK(context, Dimensions(context, 0, &shapes.output));
    OP_REQUIRES_OK(context, Dimensions(context, 1, &shapes.filter));
    OP_REQUIRES_OK(context, Lower(context, shapes, {0, 1}));
  }
};

class ConvTransposeNDFilterGradXlaOp : public ConvTransposeNDXlaKernel {
 public:
  explicit ConvTransposeNDFilterGradXlaOp(OpKernelConstruction* context)
      : ConvTransposeNDXlaKernel(context, Operation::kFilterGrad) {}

  void Compile(XlaOpKernelContext* context) override {
    Shapes shapes;
    OP_REQUIRES_OK(context, Dimensions(context, 0, &shapes.input));
    const auto filter_shape = context->ConstantInputTensor(1);
    OP_REQUIRES_OK(context, filter_shape.status());
    OP_REQUIRES_OK(context, ReadShapeArgument(*filter_shape, "filter_shape",
                                              &shapes.filter));
    OP_REQUIRES_OK(context, Dimensions(context, 2, &shapes.output));
    OP_REQUIRES_OK(context, Lower(context, shapes, {0, 2}));
  }
};

REGISTER_XLA_OP(
    Name("ConvTransposeND").CompileTimeConstantInput("output_shape"),
    ConvTransposeNDXlaOp);
REGISTER_XLA_OP(Name("ConvTransposeNDInputGrad"),
                ConvTransposeNDInputGradXlaOp);
REGISTER_XLA_OP(
    Name("ConvTransposeNDFilterGrad").CompileTimeConstantInput("filter_shape"),
    ConvTransposeNDFilterGradXlaOp);

// Devices for which `op` has a kernel.
std::set<std::string> DevicesOf(const char* op) {
  std::set<std::string> devices;
  const tensorflow::KernelList list = tensorflow::GetRegisteredKernelsForOp(op);
  for (const tensorflow::KernelDef& kernel : list.kernel()) {
    devices.insert(kernel.device_type());
  }
  return devices;
}

template <typename Kernel>
tensorflow::OpKernel* Create(OpKernelConstruction* context) {
  return new Kernel(context);
}

// XLA turns its registry into kernels once, before the first compilation in a
// process: what is loaded later is registered here. An op that XLA has always
// known tells whether that has happened, and for which devices.
template <typename Kernel>
void RegisterLate(const char* op) {
  const std::set<std::string> present = DevicesOf(op);
  const std::set<std::string> known = DevicesOf("Relu");
  for (const std::string& device : XlaOpRegistry::BackendNames()) {
    if (known.count(device) == 0 || present.count(device) > 0) continue;
    tensorflow::KernelDefBuilder builder(op);
    builder.Device(device.c_str());
    const tensorflow::KernelDef* kernel = builder.Build();
    static auto* const registrars = new std::vector<
        std::unique_ptr<tensorflow::kernel_factory::OpKernelRegistrar>>;
    registrars->push_back(
        std::make_unique<tensorflow::kernel_factory::OpKernelRegistrar>(
            kernel, "ConvTransposeNDXlaOp", Create<Kernel>));
  }
}

const bool late = [] {
  RegisterLate<ConvTransposeNDXlaOp>("ConvTransposeND");
  RegisterLate<ConvTransposeNDInputGradXlaOp>("ConvTransposeNDInputGrad");
  RegisterLate<ConvTransposeNDFilterGradXlaOp>("ConvTransposeNDFilterGrad");
  return true;
}();

}  // namespace
}  // namespace conv_transpose_nd
