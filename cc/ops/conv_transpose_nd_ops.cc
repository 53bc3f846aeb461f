// The three ops and their shape functions. Steps 2 and 3 of the path of a call.
#include <string>
#include <vector>

#include "cc/core/geometry.h"
#include "cc/kernels/tf_bridge.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace conv_transpose_nd {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Dimensions of `shape`, kUnknown where open; a shape of unknown rank counts as
// `dims` open ones.
Dims KnownDims(InferenceContext* context, ShapeHandle shape, int64_t dims) {
  if (!context->RankKnown(shape)) return Dims(dims, kUnknown);
  Dims result;
  for (int d = 0; d < context->Rank(shape); ++d) {
    result.push_back(context->Value(context->Dim(shape, d)));
  }
  return result;
}

// The values of a shape argument, as far as they are known while the graph is
// built. A constant is read as it is, so that a negative value is reported and
// not taken for an unknown one.
absl::Status ShapeArgument(InferenceContext* context, int index,
                           const char* name, Dims* values, bool* known_length) {
  ShapeHandle shape = context->input(index);
  if (context->RankKnown(shape) && context->Rank(shape) != 1) {
    return absl::InvalidArgumentError(std::string(name) +
                                      " must have rank 1, got rank " +
                                      std::to_string(context->Rank(shape)));
  }
  const tensorflow::Tensor* constant = context->input_tensor(index);
  if (constant != nullptr) {
    *known_length = true;
    TF_RETURN_IF_ERROR(ReadShapeArgument(*constant, name, values));
    for (size_t i = 0; i < values->size(); ++i) {
      if ((*values)[i] >= 0) continue;
      return absl::InvalidArgumentError(
          std::string(name) + "[" + std::to_string(i) + "] must be >= 0, got " +
          std::to_string((*values)[i]));
    }
    return absl::OkStatus();
  }
  *known_length =
      context->RankKnown(shape) && context->ValueKnown(context->Dim(shape, 0));
  if (!*known_length) return absl::OkStatus();
  // A tensor without values needs no merge; MakeShapeFromShapeTensor would make
  // it a scalar.
  if (context->Value(context->Dim(shape, 0)) == 0) return absl::OkStatus();
  ShapeHandle partial;
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(index, &partial));
  *values = KnownDims(context, partial, context->Value(context->Dim(shape, 0)));
  return absl::OkStatus();
}

absl::Status SetOutput(InferenceContext* context, const Dims& dims) {
  std::vector<DimensionHandle> handles;
  for (int64_t dim : dims) {
    handles.push_back(dim == kUnknown ? context->UnknownDim()
                                      : context->MakeDim(dim));
  }
  context->set_output(0, context->MakeShape(handles));
  return absl::OkStatus();
}

absl::Status ConvTransposeShape(InferenceContext* context) {
  Attributes attributes;
  TF_RETURN_IF_ERROR(ReadAttributes(*context, &attributes));
  const int64_t dims = attributes.strides.size();
  Shapes shapes;
  shapes.input = KnownDims(context, context->input(0), dims);
  shapes.filter = KnownDims(context, context->input(1), dims);
  bool known_length = false;
  TF_RETURN_IF_ERROR(
      ShapeArgument(context, 2, "output_shape", &shapes.output, &known_length));
  int num_bias;
  TF_RETURN_IF_ERROR(context->GetAttr("num_bias", &num_bias));
  if (num_bias > 1) {
    return absl::InvalidArgumentError("num_bias must be 0 or 1, got " +
                                      std::to_string(num_bias));
  }
  shapes.has_bias = num_bias == 1;
  if (shapes.has_bias) shapes.bias = KnownDims(context, context->input(3), 1);
  ConvTransposeGeometry geometry;
  TF_RETURN_IF_ERROR(ToTensorFlow(InferShapes(
      Operation::kConvTranspose, shapes, attributes, known_length, &geometry)));
  return SetOutput(context, geometry.OutputDims());
}

absl::Status InputGradShape(InferenceContext* context) {
  Attributes attributes;
  TF_RETURN_IF_ERROR(ReadAttributes(*context, &attributes));
  const int64_t dims = attributes.strides.size();
  Shapes shapes;
  shapes.output = KnownDims(context, context->input(0), dims);
  shapes.filter = KnownDims(context, context->input(1), dims);
  ConvTransposeGeometry geometry;
  TF_RETURN_IF_ERROR(ToTensorFlow(
      InferShapes(Operation::kInputGrad, shapes, attributes, true, &geometry)));
  return SetOutput(context, geometry.InputDims());
}

absl::Status FilterGradShape(InferenceContext* context) {
  Attributes attributes;
  TF_RETURN_IF_ERROR(ReadAttributes(*context, &attributes));
  const int64_t dims = attributes.strides.size();
  Shapes shapes;
  shapes.input = KnownDims(context, context->input(0), dims);
  shapes.output = KnownDims(context, context->input(2), dims);
  bool known_length = false;
  TF_RETURN_IF_ERROR(
      ShapeArgument(context, 1, "filter_shape", &shapes.filter, &known_length));
  if (!known_length) shapes.filter = Dims(dims, kUnknown);
  ConvTransposeGeometry geometry;
  TF_RETURN_IF_ERROR(ToTensorFlow(InferShapes(Operation::kFilterGrad, shapes,
                                              attributes, true, &geometry)));
  return SetOutput(context, geometry.FilterDims());
}

}  // namespace

REGISTER_OP("ConvTransposeND")
    .Input("input: T")
    .Input("filter: T")
    .Input("output_shape: Tshape")
    .Input("bias: num_bias * T")
    .Output("output: T")
    .Attr("T: {half, bfloat16, float, double, int32}")
    .Attr("Tshape: {int32, int64} = DT_INT32")
    .Attr("num_bias: int >= 0 = 0")
    .Attr("strides: list(int)")
    .Attr("dilations: list(int) = []")
    .Attr("padding: {'SAME', 'VALID', 'SAME_LOWER', 'EXPLICIT'}")
    .Attr("explicit_paddings: list(int) = []")
    .Attr("output_padding: list(int) = []")
    .Attr("data_format: {'CHANNELS_LAST', 'CHANNELS_FIRST'} = 'CHANNELS_LAST'")
    .Attr("groups: int = 1")
    .Attr(
        "activation: {'none', 'relu', 'relu6', 'leaky_relu', 'elu', 'gelu', "
        "'gelu_tanh', "
        "'sigmoid', 'tanh', 'silu'} = 'none'")
    .Attr("filter_is_constant: bool = false")
    .SetShapeFn(ConvTransposeShape)
    .Doc(R"doc(
Transposed convolution over 1 to 6 spatial axes.

output[n, o, co] = activation(bias[co] + sum over i, k, ci of input[n, i, ci] * filter[k, co, ci]),
over all i, k with o + pad_before = i * stride + k * dilation per spatial axis.

input: [batch, spatial..., in_channels], or channels second with CHANNELS_FIRST.
filter: [spatial..., out_channels / groups, in_channels].
output_shape: the full shape of output, or empty: it is then inferred from output_padding.
bias: nothing, or one tensor [out_channels].
strides: one value per dimension of input; 1 for batch and channels.
dilations: likewise; empty means 1 everywhere.
explicit_paddings: a pair (before, after) per dimension of input; only with padding EXPLICIT.
output_padding: one value per spatial axis, added to the inferred length; only without output_shape.
groups: channels are split into this many independent parts.
filter_is_constant: the filter never changes, so that what is derived from it may be kept.
)doc");

REGISTER_OP("ConvTransposeNDInputGrad")
    .Input("output_grad: T")
    .Input("filter: T")
    .Output("input_grad: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("strides: list(int)")
    .Attr("dilations: list(int) = []")
    .Attr("padding: {'SAME', 'VALID', 'SAME_LOWER', 'EXPLICIT'}")
    .Attr("explicit_paddings: list(int) = []")
    .Attr("data_format: {'CHANNELS_LAST', 'CHANNELS_FIRST'} = 'CHANNELS_LAST'")
    .Attr("groups: int = 1")
    .Attr("filter_is_constant: bool = false")
    .SetShapeFn(InputGradShape)
    .Doc(R"doc(
Gradient of ConvTransposeND with respect to input: a strided convolution.

input_grad[n, i, ci] = sum over k, co of output_grad[n, o, co] * filter[k, co, ci],
o = i * stride + k * dilation - pad_before. The input length follows from the output length.
)doc");

REGISTER_OP("ConvTransposeNDFilterGrad")
    .Input("input: T")
    .Input("filter_shape: Tshape")
    .Input("output_grad: T")
    .Output("filter_grad: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tshape: {int32, int64} = DT_INT32")
    .Attr("strides: list(int)")
    .Attr("dilations: list(int) = []")
    .Attr("padding: {'SAME', 'VALID', 'SAME_LOWER', 'EXPLICIT'}")
    .Attr("explicit_paddings: list(int) = []")
    .Attr("data_format: {'CHANNELS_LAST', 'CHANNELS_FIRST'} = 'CHANNELS_LAST'")
    .Attr("groups: int = 1")
    .SetShapeFn(FilterGradShape)
    .Doc(R"doc(
Gradient of ConvTransposeND with respect to filter.

filter_grad[k, co, ci] = sum over n, i of input[n, i, ci] * output_grad[n, o, co],
o = i * stride + k * dilation - pad_before.
)doc");

}  // namespace conv_transpose_nd
