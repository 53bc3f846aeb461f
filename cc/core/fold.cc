#include "cc/core/fold.h"

#include <cstdlib>
#include <numeric>

namespace conv_transpose_nd {

int64_t FoldedPositions(const ConvTransposeGeometry& geometry) {
  const AxisGeometry& inner = geometry.axis[geometry.rank - 1];
  if (geometry.data_format != DataFormat::kChannelsLast ||
      geometry.groups != 1 || inner.dilation != 1) {
    return 1;
  }
  return std::gcd(std::gcd(inner.stride, inner.filter),
                  std::gcd(inner.pad_before, inner.output));
}

ConvTransposeGeometry Fold(const ConvTransposeGeometry& geometry,
                           int64_t positions) {
  ConvTransposeGeometry folded = geometry;
  AxisGeometry& inner = folded.axis[geometry.rank - 1];
  inner.filter /= positions;
  inner.output /= positions;
  inner.stride /= positions;
  inner.pad_before /= positions;
  inner.pad_after = (inner.input - 1) * inner.stride + inner.filter -
                    inner.pad_before - inner.output;
  folded.out_channels *= positions;
  return folded;
}

}  // namespace conv_transpose_nd
