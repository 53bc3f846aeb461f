#include "cc/core/geometry.h"

#include <algorithm>
#include <limits>
#include <sstream>

namespace conv_transpose_nd {
namespace {

// Attribute values are int32 in TensorFlow's own convolutions; the bound keeps
// products with a length inside int64.
constexpr int64_t kMaxAttribute = std::numeric_limits<int32_t>::max();
constexpr int64_t kSaturated = int64_t{1} << 61;

int64_t Add(int64_t a, int64_t b) { return std::min(a + b, kSaturated); }
int64_t Multiply(int64_t a, int64_t b) {
  return (a != 0 && b > kSaturated / a) ? kSaturated : a * b;
}

template <typename... Parts>
Status Invalid(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  return InvalidArgument(message.str());
}

std::string Element(const char* name, int64_t index) {
  return std::string(name) + "[" + std::to_string(index) + "]";
}

// How the arguments of each operation are named in its errors.
struct Names {
  const char* input;
  const char* filter;
  const char* output;
};
Names NamesOf(Operation operation) {
  switch (operation) {
    case Operation::kInputGrad:
      return {"input_grad", "filter", "output_grad"};
    case Operation::kFilterGrad:
      return {"input", "filter_shape", "output_grad"};
    default:
      return {"input", "filter", "output_shape"};
  }
}

const char* PaddingName(Padding padding) {
  static constexpr const char* kNames[] = {"VALID", "SAME", "SAME_LOWER",
                                           "EXPLICIT"};
  return kNames[static_cast<int>(padding)];
}

// Position of spatial axis `axis` (0-based) and of the channels among rank + 2
// dimensions.
int SpatialDim(DataFormat format, int axis) {
  return format == DataFormat::kChannelsLast ? axis + 1 : axis + 2;
}
int ChannelDim(DataFormat format, int rank) {
  return format == DataFormat::kChannelsLast ? rank + 1 : 1;
}

Status CheckRange(const std::string& name, int64_t value, int64_t low) {
  if (value < low) return Invalid(name, " must be >= ", low, ", got ", value);
  if (value > kMaxAttribute)
    return Invalid(name, " must be <= ", kMaxAttribute, ", got ", value);
  return OkStatus();
}

// strides and dilations: rank + 2 values, 1 for batch and channels, else at
// least 1.
Status CheckSteps(const char* name, const Dims& values, int rank,
                  DataFormat format) {
  if (static_cast<int>(values.size()) != rank + 2) {
    return Invalid(name, " must have ", rank + 2,
                   " values, one per dimension of input, got ", values.size());
  }
  for (int d = 0; d < rank + 2; ++d) {
    CT_RETURN_IF_ERROR(CheckRange(Element(name, d), values[d], 1));
  }
  const int channel = ChannelDim(format, rank);
  if (values[0] != 1)
    return Invalid(name, "[0] must be 1 (batch), got ", values[0]);
  if (values[channel] != 1) {
    return Invalid(Element(name, channel), " must be 1 (channels), got ",
                   values[channel]);
  }
  return OkStatus();
}

Status CheckExplicitPaddings(const Attributes& attributes, int rank) {
  const Dims& pads = attributes.explicit_paddings;
  if (attributes.padding != Padding::kExplicit) {
    if (pads.empty()) return OkStatus();
    return Invalid(
        "explicit_paddings must be empty unless padding is EXPLICIT, got ",
        pads.size(), " values with padding ", PaddingName(attributes.padding));
  }
  if (static_cast<int>(pads.size()) != 2 * (rank + 2)) {
    return Invalid("explicit_paddings must have ", 2 * (rank + 2),
                   " values, a pair per dimension of input, got ", pads.size());
  }
  const int channel = ChannelDim(attributes.data_format, rank);
  for (int i = 0; i < 2 * (rank + 2); ++i) {
    CT_RETURN_IF_ERROR(CheckRange(Element("explicit_paddings", i), pads[i], 0));
    if (pads[i] != 0 && (i / 2 == 0 || i / 2 == channel)) {
      return Invalid(Element("explicit_paddings", i), " must be 0 (",
                     i / 2 == 0 ? "batch" : "channels", "), got ", pads[i]);
    }
  }
  return OkStatus();
}

Status CheckAttributes(const Attributes& attributes, int* rank) {
  const int64_t dims = static_cast<int64_t>(attributes.strides.size());
  if (dims < 3 || dims > kMaxRank + 2) {
    return Invalid("strides must have 3 to ", kMaxRank + 2,
                   " values, one per dimension of input (1 to ", kMaxRank,
                   " spatial axes), got ", dims);
  }
  *rank = static_cast<int>(dims) - 2;
  CT_RETURN_IF_ERROR(
      CheckSteps("strides", attributes.strides, *rank, attributes.data_format));
  if (!attributes.dilations.empty()) {
    CT_RETURN_IF_ERROR(CheckSteps("dilations", attributes.dilations, *rank,
                                  attributes.data_format));
  }
  CT_RETURN_IF_ERROR(CheckExplicitPaddings(attributes, *rank));
  CT_RETURN_IF_ERROR(CheckRange("groups", attributes.groups, 1));
  const bool integer = attributes.dtype == DType::kInt32;
  if (integer && attributes.activation > Activation::kRelu6) {
    return Invalid(
        "activation must be none, relu or relu6 for int32 input, got ",
        ActivationName(attributes.activation));
  }
  return OkStatus();
}

Status CheckOutputPadding(const Attributes& attributes, int rank,
                          bool output_given) {
  const Dims& values = attributes.output_padding;
  if (values.empty()) return OkStatus();
  if (output_given) {
    return Invalid(
        "output_padding must be empty where output_shape is given, got ",
        values.size(), " values");
  }
  if (static_cast<int>(values.size()) != rank) {
    return Invalid("output_padding must have ", rank,
                   " values, one per spatial axis, got ", values.size());
  }
  for (int a = 0; a < rank; ++a) {
    const int64_t stride =
        attributes.strides[SpatialDim(attributes.data_format, a)];
    const std::string name = Element("output_padding", a);
    CT_RETURN_IF_ERROR(CheckRange(name, values[a], 0));
    if (values[a] >= stride) {
      return Invalid(name, " must be < stride ", stride, ", got ", values[a]);
    }
  }
  return OkStatus();
}

bool IsKnown(const Dims& dims) {
  return std::find(dims.begin(), dims.end(), kUnknown) == dims.end();
}

// Dimensions of a tensor or of a shape argument: the right count, none
// negative, and a number of elements that int64 arithmetic can address.
Status CheckDims(const char* name, const Dims& dims, int rank,
                 bool allow_unknown) {
  if (static_cast<int>(dims.size()) != rank + 2) {
    const bool shape_argument =
        std::string(name).find("_shape") != std::string::npos;
    return Invalid(name, " must have ", shape_argument ? "" : "rank ", rank + 2,
                   shape_argument ? " values" : "", " (strides has ", rank + 2,
                   " values), got ", shape_argument ? "" : "rank ",
                   dims.size());
  }
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] < 0 && !(allow_unknown && dims[d] == kUnknown)) {
      return Invalid(Element(name, d), " must be >= 0, got ", dims[d]);
    }
    // Also where another dimension is 0: arithmetic on one length must not
    // overflow either.
    if (dims[d] > kMaxElements) {
      return Invalid(Element(name, d), " must be <= 2^56, got ", dims[d]);
    }
  }
  if (IsKnown(dims) && NumElements(dims) < 0) {
    return Invalid(name, " must have at most 2^56 elements, got more");
  }
  return OkStatus();
}

// `a` and `b` agree, or one of them is unknown; `known` receives the known one.
bool Merge(int64_t a, int64_t b, int64_t* known) {
  *known = a == kUnknown ? b : a;
  return a == kUnknown || b == kUnknown || a == b;
}

struct AxisRequest {
  AxisGeometry axis;  // input, filter, output lengths (or kUnknown), stride,
                      // dilation, pads
  Padding padding;
  bool infer_output;
  bool has_output_padding;
  int64_t output_padding;
};

// k_d: length that the dilated filter spans. An empty filter counts as one
// position without taps.
int64_t DilatedLength(const AxisGeometry& axis) {
  return axis.filter == 0 ? 1
                          : Add(Multiply(axis.filter - 1, axis.dilation), 1);
}

// The output lengths that a convolution maps back to the input length.
void AcceptedOutputs(const AxisRequest& request, int64_t* low, int64_t* high) {
  const AxisGeometry& axis = request.axis;
  const bool same = request.padding == Padding::kSame ||
                    request.padding == Padding::kSameLower;
  if (same) {
    *low = axis.input == 0 ? 0 : Add(Multiply(axis.input - 1, axis.stride), 1);
    *high = Multiply(axis.input, axis.stride);
    return;
  }
  const int64_t pads = axis.pad_before + axis.pad_after;
  const int64_t span = DilatedLength(axis);
  *low = axis.input == 0
             ? 0
             : Add(Multiply(axis.input - 1, axis.stride), span) - pads;
  *high = axis.input == 0 ? span - 1 - pads : *low + axis.stride - 1;
  *low = std::max<int64_t>(*low, 0);
}

std::string Describe(const AxisRequest& request) {
  const AxisGeometry& axis = request.axis;
  std::ostringstream text;
  text << "input length " << axis.input;
  if (axis.filter != kUnknown) text << ", filter length " << axis.filter;
  text << ", stride " << axis.stride;
  if (axis.dilation != 1) text << ", dilation " << axis.dilation;
  text << ", padding " << PaddingName(request.padding);
  if (request.padding == Padding::kExplicit) {
    text << " (" << axis.pad_before << ", " << axis.pad_after << ")";
  }
  return text.str();
}

// The output length where the caller leaves it open; the formula is in
// geometry.h.
Status InferOutputLength(const AxisRequest& request, int index,
                         int64_t* output) {
  const AxisGeometry& axis = request.axis;
  const bool same = request.padding == Padding::kSame ||
                    request.padding == Padding::kSameLower;
  if (same && !request.has_output_padding) {
    *output = Multiply(axis.input, axis.stride);
    return OkStatus();
  }
  const int64_t span = DilatedLength(axis);
  const int64_t pads = same ? 2 * (span / 2) : axis.pad_before + axis.pad_after;
  *output = axis.input == 0 ? span - axis.stride
                            : Add(Multiply(axis.input - 1, axis.stride), span);
  *output += request.output_padding - pads;
  if (axis.input == 0) *output = std::max<int64_t>(*output, 0);
  if (*output < 0) {
    return Invalid("explicit_paddings of spatial axis ", index,
                   " must sum to at most ", *output + pads, " for ",
                   Describe(request), ", got ", pads);
  }
  return OkStatus();
}

// SAME splits what the convolution needs beyond the output; SAME puts the odd
// one after, SAME_LOWER before.
void ResolveSamePads(Padding padding, AxisGeometry* axis) {
  const int64_t covered =
      axis->input == 0
          ? 0
          : Add(Multiply(axis->input - 1, axis->stride), DilatedLength(*axis));
  const int64_t total = std::max<int64_t>(covered - axis->output, 0);
  const int64_t smaller = total / 2;
  axis->pad_before = padding == Padding::kSame ? smaller : total - smaller;
  axis->pad_after = total - axis->pad_before;
}

// The length that a convolution maps the output to.
int64_t InferInputLength(const AxisRequest& request) {
  const AxisGeometry& axis = request.axis;
  if (axis.output == kUnknown) return kUnknown;
  const bool same = request.padding == Padding::kSame ||
                    request.padding == Padding::kSameLower;
  if (same) return (axis.output + axis.stride - 1) / axis.stride;
  if (axis.filter == kUnknown) return kUnknown;
  const int64_t padded = Add(axis.output, axis.pad_before + axis.pad_after);
  const int64_t span = DilatedLength(axis);
  return padded < span ? 0 : (padded - span) / axis.stride + 1;
}

Status ResolveAxis(const Names& names, int index, int dim, AxisRequest request,
                   AxisGeometry* result) {
  AxisGeometry& axis = request.axis;
  const bool filter_known = axis.filter != kUnknown;
  if (filter_known && DilatedLength(axis) > kMaxElements) {
    return Invalid("dilations of spatial axis ", index,
                   " must keep the dilated filter length (k - 1) * dilation + "
                   "1 at most 2^56, got "
                   "filter length ",
                   axis.filter, ", dilation ", axis.dilation);
  }
  const bool same = request.padding == Padding::kSame ||
                    request.padding == Padding::kSameLower;
  const bool ready = axis.input != kUnknown && (filter_known || same);
  if (request.infer_output && ready &&
      (filter_known || !request.has_output_padding)) {
    CT_RETURN_IF_ERROR(InferOutputLength(request, index, &axis.output));
    if (axis.output > kMaxElements) {
      return Invalid(Element("strides", dim),
                     " must keep the output length at most 2^56, got ",
                     Describe(request));
    }
  }
  if (ready && axis.output != kUnknown) {
    int64_t low, high;
    AcceptedOutputs(request, &low, &high);
    if (axis.output < low || axis.output > high) {
      const std::string name =
          !request.infer_output ? Element(names.output, dim)
          : request.has_output_padding
              ? Element("output_padding", index) + " = " +
                    std::to_string(request.output_padding) + ": output length"
              : "inferred output length of spatial axis " +
                    std::to_string(index);
      if (high < low) {
        return Invalid(name, " has no valid value for ", Describe(request),
                       ", got ", axis.output);
      }
      std::ostringstream range;
      if (low == high) {
        range << low;
      } else {
        range << "in [" << low << ", " << high << "]";
      }
      return Invalid(name, " must be ", range.str(), " for ", Describe(request),
                     ", got ", axis.output);
    }
    if (same && filter_known) ResolveSamePads(request.padding, &axis);
  }
  *result = axis;
  return OkStatus();
}

Status ResolveChannels(const Names& names, const Shapes& shapes,
                       const Attributes& attributes,
                       ConvTransposeGeometry* geometry) {
  const int rank = geometry->rank;
  const int channel = ChannelDim(attributes.data_format, rank);
  const int64_t groups = attributes.groups;
  const int64_t filter_out = shapes.filter[rank];
  const int64_t filter_in = shapes.filter[rank + 1];
  const int64_t input = shapes.input.empty() ? kUnknown : shapes.input[channel];
  if (!Merge(input, filter_in, &geometry->in_channels)) {
    return Invalid(names.filter, "[", rank + 1, "] (in_channels) must equal ",
                   Element(names.input, channel), " = ", input, ", got ",
                   filter_in);
  }
  if (geometry->in_channels != kUnknown &&
      geometry->in_channels % groups != 0) {
    return Invalid("groups must divide in_channels ", geometry->in_channels,
                   ", got ", groups);
  }
  int64_t out =
      filter_out == kUnknown ? kUnknown : Multiply(filter_out, groups);
  // Also where another dimension is 0, as in CheckDims.
  if (out > kMaxElements) {
    return Invalid("groups must keep out_channels (",
                   Element(names.filter, rank), " * groups) at most 2^56, got ",
                   groups, " for ", Element(names.filter, rank), " = ",
                   filter_out);
  }
  const int64_t given =
      shapes.output.empty() ? kUnknown : shapes.output[channel];
  if (!Merge(out, given, &geometry->out_channels)) {
    return Invalid(Element(names.output, channel), " must equal out_channels ",
                   out, " (", Element(names.filter, rank), " * groups), got ",
                   given);
  }
  if (geometry->out_channels != kUnknown &&
      geometry->out_channels % groups != 0) {
    return Invalid("groups must divide out_channels ", geometry->out_channels,
                   ", got ", groups);
  }
  if (!shapes.has_bias) return OkStatus();
  if (shapes.bias.size() != 1)
    return Invalid("bias must have rank 1, got rank ", shapes.bias.size());
  if (shapes.bias[0] < kUnknown || shapes.bias[0] > kMaxElements) {
    return Invalid("bias[0] must be in [0, 2^56], got ", shapes.bias[0]);
  }
  if (!Merge(geometry->out_channels, shapes.bias[0], &out)) {
    return Invalid("bias must have out_channels ", geometry->out_channels,
                   " values, got ", shapes.bias[0]);
  }
  geometry->out_channels = out;
  if (out != kUnknown && out % groups != 0) {
    return Invalid("groups must divide out_channels ", out, ", got ", groups);
  }
  return OkStatus();
}

Status ResolveBatch(const Names& names, const Shapes& shapes,
                    ConvTransposeGeometry* geometry) {
  const int64_t input = shapes.input.empty() ? kUnknown : shapes.input[0];
  const int64_t output = shapes.output.empty() ? kUnknown : shapes.output[0];
  if (!Merge(input, output, &geometry->batch)) {
    return Invalid(names.output, "[0] must equal the batch of ", names.input,
                   " ", input, ", got ", output);
  }
  return OkStatus();
}

Status ResolveAxes(Operation operation, const Shapes& shapes,
                   const Attributes& attributes, bool infer_output,
                   ConvTransposeGeometry* geometry) {
  const Names names = NamesOf(operation);
  for (int a = 0; a < geometry->rank; ++a) {
    const int dim = SpatialDim(attributes.data_format, a);
    AxisRequest request;
    AxisGeometry& axis = request.axis;
    axis.stride = attributes.strides[dim];
    axis.dilation =
        attributes.dilations.empty() ? 1 : attributes.dilations[dim];
    axis.filter = shapes.filter[a];
    axis.output = shapes.output.empty() ? kUnknown : shapes.output[dim];
    if (attributes.padding == Padding::kExplicit) {
      axis.pad_before = attributes.explicit_paddings[2 * dim];
      axis.pad_after = attributes.explicit_paddings[2 * dim + 1];
    }
    request.padding = attributes.padding;
    request.infer_output = infer_output;
    request.has_output_padding = !attributes.output_padding.empty();
    request.output_padding =
        request.has_output_padding ? attributes.output_padding[a] : 0;
    axis.input =
        shapes.input.empty() ? InferInputLength(request) : shapes.input[dim];
    CT_RETURN_IF_ERROR(ResolveAxis(names, a, dim, request, &geometry->axis[a]));
  }
  return OkStatus();
}

Status Resolve(Operation operation, const Shapes& shapes,
               const Attributes& attributes, bool known_output_length,
               bool allow_unknown, ConvTransposeGeometry* geometry) {
  *geometry = ConvTransposeGeometry();
  CT_RETURN_IF_ERROR(CheckAttributes(attributes, &geometry->rank));
  const int rank = geometry->rank;
  const bool infer_output = operation == Operation::kConvTranspose &&
                            known_output_length && shapes.output.empty();
  const bool output_given =
      operation != Operation::kConvTranspose || !shapes.output.empty();
  CT_RETURN_IF_ERROR(CheckOutputPadding(attributes, rank, output_given));

  const Names names = NamesOf(operation);
  if (operation != Operation::kInputGrad) {
    CT_RETURN_IF_ERROR(
        CheckDims(names.input, shapes.input, rank, allow_unknown));
  }
  CT_RETURN_IF_ERROR(
      CheckDims(names.filter, shapes.filter, rank, allow_unknown));
  if (output_given)
    CT_RETURN_IF_ERROR(
        CheckDims(names.output, shapes.output, rank, allow_unknown));

  geometry->groups = attributes.groups;
  geometry->data_format = attributes.data_format;
  geometry->activation = attributes.activation;
  geometry->has_bias = shapes.has_bias;
  CT_RETURN_IF_ERROR(ResolveChannels(names, shapes, attributes, geometry));
  CT_RETURN_IF_ERROR(ResolveBatch(names, shapes, geometry));
  CT_RETURN_IF_ERROR(
      ResolveAxes(operation, shapes, attributes, infer_output, geometry));
  for (const Dims& dims : {geometry->OutputDims(), geometry->InputDims()}) {
    if (IsKnown(dims) && NumElements(dims) < 0) {
      return Invalid(names.output,
                     " must have at most 2^56 elements, got more");
    }
  }
  return OkStatus();
}

Dims TensorDims(const ConvTransposeGeometry& geometry, int64_t channels,
                int64_t AxisGeometry::* length) {
  Dims dims{geometry.batch};
  for (int a = 0; a < geometry.rank; ++a)
    dims.push_back(geometry.axis[a].*length);
  dims.insert(geometry.data_format == DataFormat::kChannelsLast
                  ? dims.end()
                  : dims.begin() + 1,
              channels);
  return dims;
}

ElementStrides StridesOf(const ConvTransposeGeometry& geometry,
                         int64_t channels, int64_t AxisGeometry::* length) {
  const bool last = geometry.data_format == DataFormat::kChannelsLast;
  ElementStrides strides;
  int64_t elements = last ? channels : 1;
  for (int a = geometry.rank - 1; a >= 0; --a) {
    strides.axis[a] = elements;
    elements *= geometry.axis[a].*length;
  }
  strides.channel = last ? 1 : elements;
  strides.batch = last ? elements : elements * channels;
  return strides;
}

}  // namespace

Dims ConvTransposeGeometry::InputDims() const {
  return TensorDims(*this, in_channels, &AxisGeometry::input);
}

Dims ConvTransposeGeometry::OutputDims() const {
  return TensorDims(*this, out_channels, &AxisGeometry::output);
}

Dims ConvTransposeGeometry::FilterDims() const {
  Dims dims;
  for (int a = 0; a < rank; ++a) dims.push_back(axis[a].filter);
  dims.push_back(out_channels == kUnknown ? kUnknown : group_out_channels());
  dims.push_back(in_channels);
  return dims;
}

Dims ResultDims(Operation operation, const ConvTransposeGeometry& geometry) {
  switch (operation) {
    case Operation::kInputGrad:
      return geometry.InputDims();
    case Operation::kFilterGrad:
      return geometry.FilterDims();
    default:
      return geometry.OutputDims();
  }
}

int64_t ResultElements(Operation operation,
                       const ConvTransposeGeometry& geometry) {
  return NumElements(ResultDims(operation, geometry));
}

Status ResolveGeometry(Operation operation, const Shapes& shapes,
                       const Attributes& attributes,
                       ConvTransposeGeometry* geometry) {
  return Resolve(operation, shapes, attributes, /*known_output_length=*/true,
                 /*allow_unknown=*/false, geometry);
}

Status InferShapes(Operation operation, const Shapes& shapes,
                   const Attributes& attributes, bool known_output_length,
                   ConvTransposeGeometry* geometry) {
  return Resolve(operation, shapes, attributes, known_output_length,
                 /*allow_unknown=*/true, geometry);
}

ElementStrides InputStrides(const ConvTransposeGeometry& geometry) {
  return StridesOf(geometry, geometry.in_channels, &AxisGeometry::input);
}

ElementStrides OutputStrides(const ConvTransposeGeometry& geometry) {
  return StridesOf(geometry, geometry.out_channels, &AxisGeometry::output);
}

int64_t NumElements(const Dims& dims) {
  // A zero anywhere makes the tensor empty, whatever the other lengths multiply
  // to.
  if (std::find(dims.begin(), dims.end(), 0) != dims.end()) return 0;
  int64_t elements = 1;
  for (int64_t dim : dims) {
    if (dim == kUnknown) continue;
    elements = Multiply(elements, dim);
  }
  return elements > kMaxElements ? -1 : elements;
}

}  // namespace conv_transpose_nd
