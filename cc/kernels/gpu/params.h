// The parameter structs of the kernels, as host and device see them: fixed-size
// integers only, so that every compiler lays them out alike.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_PARAMS_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_PARAMS_H_

#include "cc/kernels/gpu/index.h"

namespace conv_transpose_nd {
namespace gpu {

// Strides in elements of a tensor [batch, spatial..., channels].
template <typename I>
struct TensorStrides {
  I batch;
  I channel;
  I axis[kMaxAxes];
};

// direct.cu, transposed convolution and input gradient: a thread per element of
// the result, in the order of its memory. Axes from `rank` on have length 1.
template <typename I>
struct DirectParams {
  int64_t elements;  // of the result
  int32_t rank;
  int32_t forward;        // result = output; else result = input_grad
  int32_t channels_last;  // the result's data format
  int32_t activation;     // value of enum Activation
  I depth;                // channels of the source, per group
  I columns;              // channels of the result, per group
  I channels;             // of the result
  TensorStrides<I> source;
  // Element (tap, depth, column) of group g of the filter:
  // sum tap[a] * filter_axis[a] + depth * depth_stride + column * column_stride
  // + g * depth_or_column of the input channels (group_stride).
  I filter_axis[kMaxAxes];
  I depth_stride;
  I column_stride;
  I group_stride;
  Axis<I> axis[kMaxAxes];
};

// direct.cu, filter gradient: a thread per element of the result and per range
// of `rows_per_split` rows, a row being the positions of one index along axis 0
// of one batch entry.
template <typename I>
struct DirectFilterGradParams {
  int64_t elements;  // of the result
  int32_t rank;
  int32_t splits;  // 1: the result is stored; else sums go to the workspace
  I rows;
  I rows_per_split;
  I in_channels;
  I group_in;
  I group_out;
  TensorStrides<I> input;
  TensorStrides<I> output;
  Axis<I> axis[kMaxAxes];
};

// channels.cu. gather.elements: positions, of all batch entries.
struct ChannelsParams {
  DirectParams<int32_t> gather;
  int32_t positions;    // of a batch entry
  int32_t taps;         // of the filter
  int32_t tap_stride;   // elements from one filter position to the next
  int32_t depth_block;  // channels whose filter is in shared memory at a time
  int32_t vector;       // the source may be read 16 bytes at a time
  int32_t unused;
};

// direct.cu: result[e] = sum_s workspace[partial_offset + s * elements + e].
struct ReduceParams {
  int64_t elements;
  int64_t offset;  // of the sums in the workspace, in bytes
  int32_t splits;
  int32_t unused;
};

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_PARAMS_H_
