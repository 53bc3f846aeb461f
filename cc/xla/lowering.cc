#include "cc/xla/lowering.h"

#include <string>
#include <utility>

#include "cc/core/activation.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/shape_util.h"
#include "xla/xla_data.pb.h"

namespace conv_transpose_nd {
namespace {

using xla::PrimitiveType;
using xla::ScalarLike;
using xla::XlaOp;

PrimitiveType AccumulatorType(DType dtype) {
  switch (dtype) {
    case DType::kInt32:
      return xla::S32;
    case DType::kDouble:
      return xla::F64;
    default:
      return xla::F32;
  }
}

PrimitiveType TypeOf(DType dtype) {
  switch (dtype) {
    case DType::kHalf:
      return xla::F16;
    case DType::kBFloat16:
      return xla::BF16;
    default:
      return AccumulatorType(dtype);
  }
}

// The window of a convolution, one value per spatial axis.
struct Window {
  Dims stride, base_dilation, window_dilation;
  std::vector<std::pair<int64_t, int64_t>> padding;

  void Add(int64_t stride_, int64_t base_dilation_, int64_t window_dilation_,
           int64_t low, int64_t high) {
    stride.push_back(stride_);
    base_dilation.push_back(base_dilation_);
    window_dilation.push_back(window_dilation_);
    padding.emplace_back(low, high);
  }
};

// Places of batch, channels and space in a tensor of `geometry`'s data format.
struct Places {
  explicit Places(const ConvTransposeGeometry& geometry)
      : first_space(geometry.data_format == DataFormat::kChannelsFirst ? 2 : 1),
        channel(geometry.data_format == DataFormat::kChannelsFirst
                    ? 1
                    : geometry.rank + 1) {}
  int64_t first_space;
  int64_t channel;
};

// Dimension numbers of a convolution of a data tensor to a data tensor.
// filter_input, filter_output: the filter's dimensions of their channels.
xla::ConvolutionDimensionNumbers DataAndFilter(
    const ConvTransposeGeometry& geometry, int64_t filter_input,
    int64_t filter_output) {
  const Places places(geometry);
  xla::ConvolutionDimensionNumbers numbers;
  numbers.set_input_batch_dimension(0);
  numbers.set_input_feature_dimension(places.channel);
  numbers.set_output_batch_dimension(0);
  numbers.set_output_feature_dimension(places.channel);
  numbers.set_kernel_input_feature_dimension(filter_input);
  numbers.set_kernel_output_feature_dimension(filter_output);
  for (int64_t a = 0; a < geometry.rank; ++a) {
    numbers.add_input_spatial_dimensions(places.first_space + a);
    numbers.add_output_spatial_dimensions(places.first_space + a);
    numbers.add_kernel_spatial_dimensions(a);
  }
  return numbers;
}

// Length of an axis with dilation - 1 zeros between its elements.
int64_t Spread(int64_t length, int64_t dilation) {
  return (length - 1) * dilation + 1;
}

XlaOp Convolve(XlaOp data, XlaOp filter, const Window& window,
               const xla::ConvolutionDimensionNumbers& numbers,
               int64_t feature_groups, int64_t batch_groups = 1) {
  return xla::ConvGeneralDilated(data, filter, window.stride, window.padding,
                                 window.base_dilation, window.window_dilation,
                                 numbers, feature_groups, batch_groups);
}

// [spatial..., out / groups, in] -> [spatial..., out, in / groups], taps in the
// opposite order: XLA's convolution correlates.
XlaOp FilterOfOutputs(const ConvTransposeGeometry& geometry, XlaOp filter) {
  Dims space;
  for (int64_t a = 0; a < geometry.rank; ++a) space.push_back(a);
  filter = xla::Rev(filter, space);
  if (geometry.groups == 1) return filter;
  Dims split = geometry.FilterDims();
  split.back() = geometry.groups;
  split.push_back(geometry.group_in_channels());
  Dims order = space;
  for (int64_t d : {geometry.rank + 1, geometry.rank, geometry.rank + 2}) {
    order.push_back(d);
  }
  Dims joined = geometry.FilterDims();
  joined[geometry.rank] = geometry.out_channels;
  joined.back() = geometry.group_in_channels();
  return xla::Reshape(xla::Transpose(xla::Reshape(filter, split), order),
                      joined);
}

XlaOp Forward(const ConvTransposeGeometry& geometry, XlaOp input,
              XlaOp filter) {
  Window window;
  for (int a = 0; a < geometry.rank; ++a) {
    const AxisGeometry& axis = geometry.axis[a];
    const int64_t reach = (axis.filter - 1) * axis.dilation;
    const int64_t low = reach - axis.pad_before;
    const int64_t high =
        axis.output + reach - Spread(axis.input, axis.stride) - low;
    window.Add(1, axis.stride, axis.dilation, low, high);
  }
  return Convolve(input, FilterOfOutputs(geometry, filter), window,
                  DataAndFilter(geometry, geometry.rank + 1, geometry.rank),
                  geometry.groups);
}

XlaOp InputGrad(const ConvTransposeGeometry& geometry, XlaOp output_grad,
                XlaOp filter) {
  Window window;
  for (int a = 0; a < geometry.rank; ++a) {
    const AxisGeometry& axis = geometry.axis[a];
    const int64_t high = Spread(axis.input, axis.stride) +
                         (axis.filter - 1) * axis.dilation - axis.output -
                         axis.pad_before;
    window.Add(axis.stride, 1, axis.dilation, axis.pad_before, high);
  }
  return Convolve(output_grad, filter, window,
                  DataAndFilter(geometry, geometry.rank, geometry.rank + 1),
                  geometry.groups);
}

// The input slides over output_grad: examples are summed, output channels take
// the place of a batch.
XlaOp FilterGrad(const ConvTransposeGeometry& geometry, XlaOp input,
                 XlaOp output_grad) {
  const Places places(geometry);
  xla::ConvolutionDimensionNumbers numbers;
  numbers.set_input_batch_dimension(places.channel);
  numbers.set_input_feature_dimension(0);
  numbers.set_kernel_input_feature_dimension(0);
  numbers.set_kernel_output_feature_dimension(places.channel);
  numbers.set_output_batch_dimension(geometry.rank);
  numbers.set_output_feature_dimension(geometry.rank + 1);
  Window window;
  for (int64_t a = 0; a < geometry.rank; ++a) {
    numbers.add_input_spatial_dimensions(places.first_space + a);
    numbers.add_kernel_spatial_dimensions(places.first_space + a);
    numbers.add_output_spatial_dimensions(a);
    const AxisGeometry& axis = geometry.axis[a];
    const int64_t high = Spread(axis.filter, axis.dilation) +
                         (axis.input - 1) * axis.stride - axis.output -
                         axis.pad_before;
    window.Add(axis.dilation, 1, axis.stride, axis.pad_before, high);
  }
  return Convolve(output_grad, input, window, numbers, 1, geometry.groups);
}

// The formulas of cc/core/activation.h.
XlaOp Activated(Activation activation, XlaOp z) {
  const auto number = [&](double value) { return ScalarLike(z, value); };
  const auto where_negative = [&](XlaOp negative) {
    return xla::Select(xla::Lt(z, xla::ZerosLike(z)), negative, z);
  };
  switch (activation) {
    case Activation::kRelu:
      return where_negative(xla::ZerosLike(z));
    case Activation::kRelu6: {
      const XlaOp six = xla::Add(xla::ZerosLike(z), ScalarLike(z, 6));
      return xla::Select(xla::Gt(z, six), six,
                         where_negative(xla::ZerosLike(z)));
    }
    case Activation::kLeakyRelu:
      return where_negative(z * number(kLeakyReluSlope));
    case Activation::kElu:
      return where_negative(xla::Expm1(z));
    case Activation::kGelu:
      return number(0.5) * z *
             (number(1) + xla::Erf(z * number(0.70710678118654752440)));
    case Activation::kGeluTanh:
      return number(0.5) * z *
             (number(1) + xla::Tanh(number(0.79788456080286535588) *
                                    (z + number(0.044715) * z * z * z)));
    case Activation::kSigmoid:
      return xla::Logistic(z);
    case Activation::kTanh:
      return xla::Tanh(z);
    case Activation::kSilu:
      return z * xla::Logistic(z);
    case Activation::kNone:
      break;
  }
  return z;
}

// The sums of products alone. XLA's convolution wants at least one product.
XlaOp Sums(const Call& call, XlaOp first, XlaOp second, bool no_products) {
  if (no_products) {
    return xla::Zeros(first.builder(),
                      ResultShape(call, AccumulatorType(call.dtype)));
  }
  switch (call.operation) {
    case Operation::kInputGrad:
      return InputGrad(call.geometry, first, second);
    case Operation::kFilterGrad:
      return FilterGrad(call.geometry, first, second);
    default:
      return Forward(call.geometry, first, second);
  }
}

}  // namespace

xla::Shape ResultShape(const Call& call, PrimitiveType type) {
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(
      type, ResultDims(call.operation, call.geometry));
}

XlaOp LowerToHlo(const Call& call, const std::vector<XlaOp>& operands) {
  xla::XlaBuilder* const builder = operands[0].builder();
  return builder->ReportErrorOrReturn([&]() -> absl::StatusOr<XlaOp> {
    const PrimitiveType accumulator = AccumulatorType(call.dtype);
    std::vector<XlaOp> wide;
    bool empty = false;
    for (XlaOp operand : operands) {
      TF_ASSIGN_OR_RETURN(const xla::Shape shape, builder->GetShape(operand));
      empty = empty || xla::ShapeUtil::IsZeroElementArray(shape);
      wide.push_back(xla::ConvertElementType(operand, accumulator));
    }
    XlaOp result = Sums(call, wide[0], wide[1], empty);
    if (call.operation == Operation::kConvTranspose) {
      if (call.geometry.has_bias) {
        result = xla::Add(result, wide[2], {Places(call.geometry).channel});
      }
      result = Activated(call.geometry.activation, result);
    }
    return xla::ConvertElementType(result, TypeOf(call.dtype));
  });
}

XlaOp LowerToCall(const Call& call, const std::vector<XlaOp>& operands) {
  xla::XlaBuilder* const builder = operands[0].builder();
  return builder->ReportErrorOrReturn([&]() -> absl::StatusOr<XlaOp> {
    std::vector<xla::Shape> shapes;
    for (XlaOp operand : operands) {
      TF_ASSIGN_OR_RETURN(const xla::Shape shape, builder->GetShape(operand));
      shapes.push_back(xla::ShapeUtil::MakeShapeWithDescendingLayout(
          shape.element_type(), shape.dimensions()));
    }
    std::string integers;
    for (int64_t value : Encode(call)) {
      integers += (integers.empty() ? "" : ", ") + std::to_string(value);
    }
    return xla::CustomCallWithLayout(
        builder, kCallTarget, operands, ResultShape(call, TypeOf(call.dtype)),
        shapes, "{call = array<i64: " + integers + ">}",
        /*has_side_effect=*/false, /*output_operand_aliasing=*/{},
        /*literal=*/nullptr, xla::CustomCallSchedule::SCHEDULE_NONE,
        xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
  });
}

}  // namespace conv_transpose_nd
