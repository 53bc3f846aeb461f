#include "cc/xla/dynamic.h"

#include <string>

#include "cc/xla/lowering.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/shape_util.h"
#include "xla/xla_data.pb.h"

namespace conv_transpose_nd {
namespace {

using xla::XlaOp;

// A tensor with its true lengths.
struct Tensor {
  XlaOp op;  // static, zero behind the true ends
  xla::Shape shape;
  std::vector<XlaOp> lengths;  // S32, of the dimensions that are dynamic

  bool IsDynamic(int64_t dim) const { return shape.is_dynamic_dimension(dim); }
};

XlaOp Number(xla::XlaBuilder* builder, int64_t value) {
  return xla::ConstantR0<int32_t>(builder, static_cast<int32_t>(value));
}

absl::StatusOr<Tensor> MakeStatic(XlaOp op) {
  xla::XlaBuilder* const builder = op.builder();
  Tensor tensor;
  TF_ASSIGN_OR_RETURN(tensor.shape, builder->GetShape(op));
  for (size_t d = 0; d < tensor.shape.dimensions().size(); ++d) {
    tensor.lengths.push_back(tensor.IsDynamic(d)
                                 ? xla::GetDimensionSize(op, d)
                                 : Number(builder, tensor.shape.dimensions(d)));
  }
  const xla::Shape places =
      xla::ShapeUtil::MakeShape(xla::S32, tensor.shape.dimensions());
  for (size_t d = 0; d < tensor.shape.dimensions().size(); ++d) {
    if (!tensor.IsDynamic(d)) continue;
    op = xla::RemoveDynamicDimension(op, d);
    op = xla::Select(xla::Lt(xla::Iota(builder, places, d), tensor.lengths[d]),
                     op, xla::ZerosLike(op));
  }
  tensor.op = op;
  return tensor;
}

// One spatial axis whose length is open.
struct OpenAxis {
  int index = 0;
  int64_t dim = 0;         // in tensors of the data format
  XlaOp input, output;     // true lengths
  bool is_padded = false;  // pad_before depends on them
  XlaOp pad_before;
};

int64_t DilatedLength(const AxisGeometry& axis) {
  return (axis.filter - 1) * axis.dilation + 1;
}

class Lowering {
 public:
  explicit Lowering(const DynamicCall& dynamic)
      : dynamic_(dynamic),
        call_(dynamic.call),
        builder_(dynamic.operands[0].builder()),
        first_space_(
            call_.geometry.data_format == DataFormat::kChannelsFirst ? 2 : 1) {}

  absl::StatusOr<XlaOp> Lower() {
    for (XlaOp operand : dynamic_.operands) {
      TF_ASSIGN_OR_RETURN(Tensor tensor, MakeStatic(operand));
      tensors_.push_back(tensor);
    }
    TF_RETURN_IF_ERROR(RefuseOpenFilter());
    for (int a = 0; a < call_.geometry.rank; ++a) AddAxis(a);
    for (const OpenAxis& axis : axes_) {
      if (axis.is_padded) ShiftToZero(axis);
    }
    std::vector<XlaOp> operands;
    for (const Tensor& tensor : tensors_) operands.push_back(tensor.op);
    const XlaOp result = dynamic_.call_kernels && !is_shifted_
                             ? LowerToCall(call_, operands)
                             : LowerToHlo(call_, operands);
    return Cut(result);
  }

 private:
  bool Is(Operation operation) const { return call_.operation == operation; }

  // The tensor with the shape of the output, among the operands.
  int OutputOperand() const {
    return Is(Operation::kInputGrad) ? 0 : Is(Operation::kFilterGrad) ? 1 : -1;
  }

  absl::Status RefuseOpenFilter() const {
    if (Is(Operation::kFilterGrad)) return absl::OkStatus();
    for (size_t i = 1; i < tensors_.size(); ++i) {
      if (tensors_[i].shape.is_static()) continue;
      return absl::UnimplementedError(
          std::string(i == 1 ? "filter" : "bias") +
          " must have a shape that is known when XLA compiles, got " +
          tensors_[i].shape.ToString());
    }
    return absl::OkStatus();
  }

  void AddAxis(int a) {
    const int64_t dim = first_space_ + a;
    bool open = tensors_[0].IsDynamic(dim);
    if (Is(Operation::kFilterGrad)) {
      open = open || tensors_[1].IsDynamic(dim);
    }
    if (!open) return;
    OpenAxis axis;
    axis.index = a;
    axis.dim = dim;
    axis.input =
        Is(Operation::kInputGrad) ? InferredInput(a) : tensors_[0].lengths[dim];
    axis.output = Is(Operation::kConvTranspose)
                      ? ForwardOutput(a)
                      : tensors_[OutputOperand()].lengths[dim];
    axis.is_padded = IsSame();
    if (axis.is_padded) axis.pad_before = PadBefore(axis);
    axes_.push_back(axis);
  }

  bool IsSame() const {
    return dynamic_.padding == Padding::kSame ||
           dynamic_.padding == Padding::kSameLower;
  }

  XlaOp Constant(int64_t value) const { return Number(builder_, value); }

  XlaOp AtLeastZero(XlaOp value) const { return xla::Max(value, Constant(0)); }

  XlaOp ForwardOutput(int a) const {
    const AxisGeometry& axis = call_.geometry.axis[a];
    const int64_t dim = first_space_ + a;
    if (dynamic_.output_shape != nullptr) {
      const XlaOp element =
          xla::SliceInDim(*dynamic_.output_shape, dim, dim + 1, 1, 0);
      return xla::ConvertElementType(xla::Reshape(element, {}), xla::S32);
    }
    // All inferred lengths are input * stride and something that is fixed.
    const int64_t rest = axis.output - axis.input * axis.stride;
    return AtLeastZero(tensors_[0].lengths[dim] * Constant(axis.stride) +
                       Constant(rest));
  }

  XlaOp InferredInput(int a) const {
    const AxisGeometry& axis = call_.geometry.axis[a];
    const int64_t more = IsSame() ? axis.stride - 1
                                  : axis.pad_before + axis.pad_after -
                                        DilatedLength(axis) + axis.stride;
    return xla::Div(
        AtLeastZero(tensors_[0].lengths[first_space_ + a] + Constant(more)),
        Constant(axis.stride));
  }

  // SAME: half of what the taps reach beyond the output.
  XlaOp PadBefore(const OpenAxis& open) const {
    const AxisGeometry& axis = call_.geometry.axis[open.index];
    const XlaOp covered = (open.input - Constant(1)) * Constant(axis.stride) +
                          Constant(DilatedLength(axis));
    const XlaOp total = AtLeastZero(covered - open.output);
    const XlaOp smaller = xla::Div(total, Constant(2));
    return dynamic_.padding == Padding::kSame ? smaller : total - smaller;
  }

  // Makes pad_before 0 by moving the tensor that has the output's shape: here
  // where it is an operand, in Cut where it is the result. pad_before is below
  // the dilated filter length, for outputs that a convolution maps back.
  void ShiftToZero(const OpenAxis& open) {
    AxisGeometry& axis = call_.geometry.axis[open.index];
    const int64_t reach = DilatedLength(axis) - 1;
    const int operand = OutputOperand();
    if (operand >= 0) {
      XlaOp& op = tensors_[operand].op;
      const XlaOp zero =
          xla::Zero(builder_, tensors_[operand].shape.element_type());
      op = xla::PadInDim(op, zero, open.dim, reach, reach);
      op = SliceFrom(op, open.dim, Constant(reach) - open.pad_before,
                     axis.output + reach);
    }
    axis.pad_before = axis.pad_after = 0;
    axis.output += reach;
    is_shifted_ = true;
  }

  XlaOp SliceFrom(XlaOp op, int64_t dim, XlaOp begin, int64_t length) const {
    const xla::Shape shape = builder_->GetShape(op).value();
    std::vector<XlaOp> begins(shape.dimensions().size(), Constant(0));
    Dims lengths(shape.dimensions().begin(), shape.dimensions().end());
    begins[dim] = begin;
    lengths[dim] = length;
    return xla::DynamicSlice(op, begins, lengths);
  }

  // Gives the result its true lengths.
  XlaOp Cut(XlaOp result) const {
    if (Is(Operation::kFilterGrad)) return result;
    const bool forward = Is(Operation::kConvTranspose);
    for (const OpenAxis& axis : axes_) {
      if (forward && axis.is_padded) {
        const int64_t bound = dynamic_.call.geometry.axis[axis.index].output;
        result = SliceFrom(result, axis.dim, axis.pad_before, bound);
      }
      result = xla::SetDimensionSize(result, forward ? axis.output : axis.input,
                                     axis.dim);
    }
    if (tensors_[0].IsDynamic(0)) {
      result = xla::SetDimensionSize(result, tensors_[0].lengths[0], 0);
    }
    return result;
  }

  const DynamicCall& dynamic_;
  Call call_;
  xla::XlaBuilder* const builder_;
  const int64_t first_space_;
  std::vector<Tensor> tensors_;
  std::vector<OpenAxis> axes_;
  bool is_shifted_ = false;
};

}  // namespace

absl::StatusOr<xla::XlaOp> LowerDynamic(const DynamicCall& dynamic) {
  return Lowering(dynamic).Lower();
}

}  // namespace conv_transpose_nd
