// Neighbouring positions of the innermost axis as channels.
#ifndef CONV_TRANSPOSE_ND_CORE_FOLD_H_
#define CONV_TRANSPOSE_ND_CORE_FOLD_H_

#include "cc/core/geometry.h"

namespace conv_transpose_nd {

// How many neighbouring output positions along the innermost axis may be taken
// for out_channels of one position: the largest n that divides stride, filter,
// pad_before and output. Where channels come last, n positions of out_channels
// lie in memory like one of n * out_channels, in the filter as in the output,
// so that only numbers change. 1: none.
int64_t FoldedPositions(const ConvTransposeGeometry& geometry);

// The same operation on the same memory, with so many positions taken for
// channels. The bias has to be repeated as often.
ConvTransposeGeometry Fold(const ConvTransposeGeometry& geometry,
                           int64_t positions);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_FOLD_H_
