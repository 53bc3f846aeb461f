// TensorFlow's types <-> the core's. Steps 3 and 4 of the path of a call:
// TensorFlow above, plain C++ below.
#ifndef CONV_TRANSPOSE_ND_KERNELS_TF_BRIDGE_H_
#define CONV_TRANSPOSE_ND_KERNELS_TF_BRIDGE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/geometry.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.pb.h"
#include "tensorflow/core/platform/errors.h"

namespace conv_transpose_nd {

inline absl::Status ToTensorFlow(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return absl::OkStatus();
    case StatusCode::kResourceExhausted:
      return absl::ResourceExhaustedError(status.message());
    case StatusCode::kUnimplemented:
      return absl::UnimplementedError(status.message());
    case StatusCode::kUnavailable:
      return absl::UnavailableError(status.message());
    case StatusCode::kInternal:
      return absl::InternalError(status.message());
    default:
      return absl::InvalidArgumentError(status.message());
  }
}

inline Dims ToDims(const tensorflow::TensorShape& shape) {
  Dims dims;
  for (int d = 0; d < shape.dims(); ++d) dims.push_back(shape.dim_size(d));
  return dims;
}

inline DType ToDType(tensorflow::DataType dtype) {
  switch (dtype) {
    case tensorflow::DT_HALF:
      return DType::kHalf;
    case tensorflow::DT_BFLOAT16:
      return DType::kBFloat16;
    case tensorflow::DT_DOUBLE:
      return DType::kDouble;
    case tensorflow::DT_INT32:
      return DType::kInt32;
    default:
      return DType::kFloat;
  }
}

// Reads output_shape or filter_shape: a vector of int32 or int64.
inline absl::Status ReadShapeArgument(const tensorflow::Tensor& tensor,
                                      const char* name, Dims* values) {
  if (tensor.dims() != 1) {
    return absl::InvalidArgumentError(std::string(name) +
                                      " must have rank 1, got rank " +
                                      std::to_string(tensor.dims()));
  }
  values->clear();
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    values->push_back(tensor.dtype() == tensorflow::DT_INT32
                          ? tensor.vec<int32_t>()(i)
                          : tensor.vec<int64_t>()(i));
  }
  return absl::OkStatus();
}

// Context: OpKernelConstruction or InferenceContext. The op definition admits
// no other names of padding, data_format and activation.
template <typename Context>
absl::Status ReadAttributes(const Context& context, Attributes* attributes) {
  std::string padding, data_format;
  tensorflow::DataType dtype;
  TF_RETURN_IF_ERROR(context.GetAttr("T", &dtype));
  TF_RETURN_IF_ERROR(context.GetAttr("strides", &attributes->strides));
  TF_RETURN_IF_ERROR(context.GetAttr("dilations", &attributes->dilations));
  TF_RETURN_IF_ERROR(context.GetAttr("padding", &padding));
  TF_RETURN_IF_ERROR(
      context.GetAttr("explicit_paddings", &attributes->explicit_paddings));
  TF_RETURN_IF_ERROR(context.GetAttr("data_format", &data_format));
  TF_RETURN_IF_ERROR(context.GetAttr("groups", &attributes->groups));
  attributes->dtype = ToDType(dtype);
  attributes->padding = padding == "SAME"         ? Padding::kSame
                        : padding == "SAME_LOWER" ? Padding::kSameLower
                        : padding == "EXPLICIT"   ? Padding::kExplicit
                                                  : Padding::kValid;
  attributes->data_format = data_format == "CHANNELS_FIRST"
                                ? DataFormat::kChannelsFirst
                                : DataFormat::kChannelsLast;
  // Only the forward op has these two.
  std::string activation;
  if (context.GetAttr("activation", &activation).ok()) {
    ParseActivation(activation, &attributes->activation);
    TF_RETURN_IF_ERROR(
        context.GetAttr("output_padding", &attributes->output_padding));
  }
  return absl::OkStatus();
}

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_TF_BRIDGE_H_
