#include "tests/cc/testing/request.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace conv_transpose_nd {
namespace testing {
namespace {

// Lengths that keep a case of each rank small while every loop still turns more
// than once.
constexpr int64_t kMaxInput[] = {40, 9, 5, 4, 3, 3};
constexpr int64_t kMaxFilter[] = {9, 5, 4, 3, 3, 2};

AxisGeometry RandomAxis(Random* random, int rank, Padding padding) {
  AxisGeometry axis;
  axis.input = random->Uniform(1, kMaxInput[rank - 1]);
  axis.filter = random->Uniform(1, kMaxFilter[rank - 1]);
  axis.stride = random->Pick({1, 1, 2, 2, 3, 4, 6});
  axis.dilation = random->Pick({1, 1, 1, 2, 3, 4});
  if (padding == Padding::kExplicit) {
    axis.pad_before = random->Uniform(0, 4);
    axis.pad_after = random->Uniform(0, 4);
  }
  return axis;
}

// Channels around the widths of vectors and register tiles.
int64_t RandomChannels(Random* random) {
  return random->Pick({1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33});
}

Request BuildRequest(Random* random, int rank) {
  Request request;
  Attributes& attributes = request.attributes;
  attributes.padding = kPaddings[random->Uniform(0, 3)];
  attributes.data_format =
      random->OneIn(3) ? DataFormat::kChannelsFirst : DataFormat::kChannelsLast;
  const int64_t groups = random->Pick({1, 1, 1, 1, 2, 3, 17});
  attributes.groups = groups;
  const int64_t in = groups * (groups > 3 ? 1 : RandomChannels(random));
  const int64_t out =
      groups * (groups > 3 ? random->Uniform(1, 2) : RandomChannels(random));
  const int64_t batch = random->Pick({1, 1, 2, 3});
  Dims strides{1}, dilations{1}, input{batch}, output{batch}, pads{0, 0};
  for (int a = 0; a < rank; ++a) {
    AxisGeometry axis = RandomAxis(random, rank, attributes.padding);
    std::vector<int64_t> lengths = OutputLengths(attributes.padding, axis);
    while (lengths.empty()) {
      axis = RandomAxis(random, rank, attributes.padding);
      lengths = OutputLengths(attributes.padding, axis);
    }
    strides.push_back(axis.stride);
    dilations.push_back(axis.dilation);
    input.push_back(axis.input);
    output.push_back(lengths[random->Uniform(0, lengths.size() - 1)]);
    request.shapes.filter.push_back(axis.filter);
    pads.push_back(axis.pad_before);
    pads.push_back(axis.pad_after);
  }
  for (Dims* steps : {&strides, &dilations}) steps->push_back(1);
  input.push_back(in);
  output.push_back(out);
  request.shapes.filter.push_back(out / groups);
  request.shapes.filter.push_back(in);
  request.shapes.input = Ordered(attributes.data_format, input);
  request.shapes.output = Ordered(attributes.data_format, output);
  attributes.strides = Ordered(attributes.data_format, strides);
  attributes.dilations = Ordered(attributes.data_format, dilations);
  if (attributes.padding == Padding::kExplicit) {
    if (attributes.data_format == DataFormat::kChannelsFirst) {
      pads.insert(pads.begin(), {0, 0});
    } else {
      pads.insert(pads.end(), {0, 0});
    }
    attributes.explicit_paddings = pads;
  }
  return request;
}

// Empties the batch, the channels of one side, or a spatial axis of SAME
// padding (whose only valid output is then empty too).
void EmptyOneDimension(Random* random, Request* request) {
  const bool last =
      request->attributes.data_format == DataFormat::kChannelsLast;
  Shapes& shapes = request->shapes;
  const size_t dims = shapes.input.size();
  const size_t channel = last ? dims - 1 : 1;
  switch (random->Uniform(0, 3)) {
    case 0:
      shapes.input[0] = shapes.output[0] = 0;
      break;
    case 1:
      shapes.input[channel] = shapes.filter[dims - 1] = 0;
      break;
    case 2:
      shapes.output[channel] = shapes.filter[dims - 2] = 0;
      break;
    default:
      if (request->attributes.padding != Padding::kSame) break;
      shapes.input[last ? 1 : 2] = shapes.output[last ? 1 : 2] = 0;
  }
}

// Multiply-adds, or elements of the output where those are more: with many
// axes and large strides most of the output is zeros.
int64_t Cost(const Request& request) {
  int64_t count = NumElements(request.shapes.input);
  const Dims& filter = request.shapes.filter;
  for (size_t d = 0; d + 1 < filter.size(); ++d) count *= filter[d];
  return std::max(count, NumElements(request.shapes.output));
}

void Append(std::ostringstream* text, const char* name, const Dims& dims) {
  *text << " " << name << "=[";
  for (size_t d = 0; d < dims.size(); ++d) *text << (d ? "," : "") << dims[d];
  *text << "]";
}

}  // namespace

Shapes ShapesOf(Operation operation, const Request& request) {
  Shapes shapes = request.shapes;
  if (operation == Operation::kInputGrad) shapes.input.clear();
  if (operation != Operation::kConvTranspose) {
    shapes.has_bias = false;
    shapes.bias.clear();
  }
  return shapes;
}

Attributes AttributesOf(Operation operation, const Request& request) {
  Attributes attributes = request.attributes;
  if (operation != Operation::kConvTranspose) {
    attributes.activation = Activation::kNone;
  }
  return attributes;
}

ConvTransposeGeometry GeometryOf(Operation operation, const Request& request) {
  ConvTransposeGeometry geometry;
  const Status status =
      ResolveGeometry(operation, ShapesOf(operation, request),
                      AttributesOf(operation, request), &geometry);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\nof%s\n", status.message().c_str(),
                 Describe(request).c_str());
    std::abort();
  }
  return geometry;
}

Request SimpleRequest(const Dims& input, const Dims& filter, const Dims& output,
                      int64_t stride) {
  Request request;
  request.shapes.input = input;
  request.shapes.filter = filter;
  request.shapes.output = output;
  request.attributes.strides.assign(filter.size(), stride);
  request.attributes.strides.front() = request.attributes.strides.back() = 1;
  return request;
}

int64_t ConvolutionLength(Padding padding, const AxisGeometry& axis,
                          int64_t output) {
  if (padding == Padding::kSame || padding == Padding::kSameLower) {
    return (output + axis.stride - 1) / axis.stride;
  }
  const int64_t span =
      axis.filter == 0 ? 1 : (axis.filter - 1) * axis.dilation + 1;
  const int64_t room = output + axis.pad_before + axis.pad_after - span;
  return room < 0 ? 0 : room / axis.stride + 1;
}

std::vector<int64_t> OutputLengths(Padding padding, const AxisGeometry& axis) {
  std::vector<int64_t> lengths;
  const int64_t bound =
      (axis.input + 1) * axis.stride + (axis.filter + 1) * axis.dilation + 1;
  for (int64_t o = 0; o <= bound; ++o) {
    if (ConvolutionLength(padding, axis, o) == axis.input) lengths.push_back(o);
  }
  return lengths;
}

Request RandomRequest(Random* random, int rank, int64_t budget) {
  Request request = BuildRequest(random, rank);
  while (Cost(request) > budget) request = BuildRequest(random, rank);
  if (random->OneIn(16)) EmptyOneDimension(random, &request);
  return request;
}

void WidenChannels(Request* request, int64_t factor) {
  Shapes& shapes = request->shapes;
  const bool last =
      request->attributes.data_format == DataFormat::kChannelsLast;
  for (Dims* dims : {&shapes.input, &shapes.output}) {
    (*dims)[last ? dims->size() - 1 : 1] *= factor;
  }
  shapes.filter.end()[-1] *= factor;
  shapes.filter.end()[-2] *= factor;
  for (int64_t& length : shapes.bias) length *= factor;
}

Dims Ordered(DataFormat data_format, const Dims& channels_last) {
  Dims dims = channels_last;
  if (data_format == DataFormat::kChannelsFirst) {
    std::rotate(dims.begin() + 1, dims.end() - 1, dims.end());
  }
  return dims;
}

std::string Describe(const Request& request) {
  std::ostringstream text;
  const Attributes& attributes = request.attributes;
  Append(&text, "input", request.shapes.input);
  Append(&text, "filter", request.shapes.filter);
  Append(&text, "output", request.shapes.output);
  if (request.shapes.has_bias) Append(&text, "bias", request.shapes.bias);
  Append(&text, "strides", attributes.strides);
  Append(&text, "dilations", attributes.dilations);
  Append(&text, "explicit_paddings", attributes.explicit_paddings);
  Append(&text, "output_padding", attributes.output_padding);
  text << " padding=" << static_cast<int>(attributes.padding)
       << " data_format=" << static_cast<int>(attributes.data_format)
       << " groups=" << attributes.groups
       << " activation=" << static_cast<int>(attributes.activation);
  return text.str();
}

}  // namespace testing
}  // namespace conv_transpose_nd
