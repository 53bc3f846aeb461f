#include "tests/fuzz/rules.h"

#include <algorithm>
#include <limits>

namespace conv_transpose_nd {
namespace fuzz {
namespace {

__extension__ using Wide = __int128;

constexpr int64_t kMaxStep = std::numeric_limits<int32_t>::max();

bool Within(Wide value, Wide low, Wide high) {
  return low <= value && value <= high;
}

bool IsSame(Padding padding) {
  return padding == Padding::kSame || padding == Padding::kSameLower;
}

// Dimension d of a tensor is [batch, spatial..., channels] number At(d).
struct Layout {
  int rank;
  bool last;

  int Channel() const { return last ? rank + 1 : 1; }
  int Axis(int a) const { return last ? a + 1 : a + 2; }
  bool IsSpatial(int d) const { return d != 0 && d != Channel(); }
};

bool ValidSteps(const Dims& steps, const Layout& layout) {
  if (static_cast<int>(steps.size()) != layout.rank + 2) return false;
  for (int d = 0; d < layout.rank + 2; ++d) {
    if (!Within(steps[d], 1, layout.IsSpatial(d) ? kMaxStep : 1)) return false;
  }
  return true;
}

bool ValidPaddings(const Attributes& attributes, const Layout& layout) {
  const Dims& pads = attributes.explicit_paddings;
  if (attributes.padding != Padding::kExplicit) return pads.empty();
  if (static_cast<int>(pads.size()) != 2 * layout.rank + 4) return false;
  for (int i = 0; i < 2 * layout.rank + 4; ++i) {
    if (!Within(pads[i], 0, layout.IsSpatial(i / 2) ? kMaxStep : 0)) {
      return false;
    }
  }
  return true;
}

bool ValidAttributes(const Attributes& attributes, const Layout& layout) {
  return Within(layout.rank, 1, kMaxRank) &&
         ValidSteps(attributes.strides, layout) &&
         (attributes.dilations.empty() ||
          ValidSteps(attributes.dilations, layout)) &&
         ValidPaddings(attributes, layout) &&
         Within(attributes.groups, 1, kMaxStep) &&
         (attributes.dtype != DType::kInt32 ||
          attributes.activation <= Activation::kRelu6);
}

bool ValidDims(const Dims& dims, const Layout& layout) {
  if (static_cast<int>(dims.size()) != layout.rank + 2) return false;
  Wide product = 1;
  for (int64_t dim : dims) {
    if (!Within(dim, 0, kMaxElements)) return false;
    if (dim == 0) product = 0;
  }
  for (int64_t dim : dims) {
    if (product > kMaxElements) return false;
    product *= dim;
  }
  return product <= kMaxElements;
}

struct Axis {
  Wide filter, stride, dilation, pads;
  bool same;

  Wide Span() const { return filter == 0 ? 1 : (filter - 1) * dilation + 1; }
  // What a convolution maps `output` to.
  Wide Convolve(Wide output) const {
    if (same) return output / stride + (output % stride != 0);
    const Wide room = output + pads - Span();
    return room < 0 ? 0 : room / stride + 1;
  }
  // The length that is inferred. output_padding: -1 if not given.
  Wide Infer(Wide input, Wide output_padding) const {
    if (same && output_padding < 0) return input * stride;
    const Wide taken = same ? Span() / 2 * 2 : pads;
    const Wide length = (input - 1) * stride + Span() - taken +
                        std::max<Wide>(output_padding, 0);
    return input == 0 ? std::max<Wide>(length, 0) : length;
  }
};

Axis AxisOf(const Shapes& shapes, const Attributes& attributes,
            const Layout& layout, int a) {
  const int d = layout.Axis(a);
  Wide pads = 0;
  if (attributes.padding == Padding::kExplicit) {
    pads = Wide(attributes.explicit_paddings[2 * d]) +
           attributes.explicit_paddings[2 * d + 1];
  }
  return {shapes.filter[a], attributes.strides[d],
          attributes.dilations.empty() ? 1 : attributes.dilations[d], pads,
          IsSame(attributes.padding)};
}

// Fills the tensor that the operation infers; false where a length fits none.
bool Complete(Operation operation, const Attributes& attributes,
              const Layout& layout, Shapes* shapes) {
  const Dims& extra = attributes.output_padding;
  const bool infer_output =
      operation == Operation::kConvTranspose && shapes->output.empty();
  if (operation == Operation::kConvTranspose && !extra.empty()) {
    if (!infer_output || static_cast<int>(extra.size()) != layout.rank) {
      return false;
    }
  }
  if (infer_output) {
    shapes->output.assign(layout.rank + 2, shapes->input[0]);
    const Wide out = Wide(shapes->filter[layout.rank]) * attributes.groups;
    if (out > kMaxElements) return false;
    shapes->output[layout.Channel()] = static_cast<int64_t>(out);
  }
  if (operation == Operation::kInputGrad) {
    shapes->input.assign(layout.rank + 2, shapes->output[0]);
    shapes->input[layout.Channel()] = shapes->filter[layout.rank + 1];
  }
  for (int a = 0; a < layout.rank; ++a) {
    const Axis axis = AxisOf(*shapes, attributes, layout, a);
    if (axis.Span() > kMaxElements) return false;
    int64_t& input = shapes->input[layout.Axis(a)];
    int64_t& output = shapes->output[layout.Axis(a)];
    if (infer_output) {
      const Wide more = extra.empty() ? -1 : Wide(extra[a]);
      if (!extra.empty() && !Within(more, 0, axis.stride - 1)) return false;
      const Wide length = axis.Infer(input, more);
      if (!Within(length, 0, kMaxElements)) return false;
      output = static_cast<int64_t>(length);
    }
    if (operation == Operation::kInputGrad) {
      input = static_cast<int64_t>(axis.Convolve(output));
    }
    if (axis.Convolve(output) != input) return false;
  }
  return true;
}

}  // namespace

bool Valid(Operation operation, const Shapes& shapes,
           const Attributes& attributes, Shapes* resolved) {
  const Layout layout{static_cast<int>(attributes.strides.size()) - 2,
                      attributes.data_format == DataFormat::kChannelsLast};
  if (!ValidAttributes(attributes, layout)) return false;
  const bool needs_input = operation != Operation::kInputGrad;
  const bool needs_output =
      operation != Operation::kConvTranspose || !shapes.output.empty();
  if (!ValidDims(shapes.filter, layout) ||
      (needs_input && !ValidDims(shapes.input, layout)) ||
      (needs_output && !ValidDims(shapes.output, layout))) {
    return false;
  }
  *resolved = shapes;
  if (!Complete(operation, attributes, layout, resolved)) return false;
  const int64_t in = resolved->input[layout.Channel()];
  const Wide out = Wide(shapes.filter[layout.rank]) * attributes.groups;
  return ValidDims(resolved->input, layout) &&
         ValidDims(resolved->output, layout) &&
         resolved->input[0] == resolved->output[0] &&
         in == shapes.filter[layout.rank + 1] && in % attributes.groups == 0 &&
         out == resolved->output[layout.Channel()] &&
         (!shapes.has_bias || (shapes.bias.size() == 1 &&
                               shapes.bias[0] == static_cast<int64_t>(out)));
}

}  // namespace fuzz
}  // namespace conv_transpose_nd
