// The parameters of the implicit-GEMM kernels, as host and device see them.
//
// Gather (transposed convolution, input gradient), per phase and group:
//   rows    = positions of the phase, batch outermost
//   columns = channels of the result; of every folded phase where they fold
//   depth   = taps x channels of the source; in ranges where there are few rows
//             and columns, whose sums gemm_sum.cu adds in order
// Filter gradient, per tap and group:
//   rows    = out_channels, columns = in_channels, depth = input positions
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_PARAMS_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_PARAMS_H_

#include "cc/kernels/gpu/index.h"

namespace conv_transpose_nd {
namespace gpu {

// n / divisor for 0 <= n < 2^31 as one multiplication.
struct Divisor {
  uint32_t divisor;
  uint32_t multiplier;  // ceil(2^shift / divisor)
  uint32_t shift;       // 31 + ceil(log2(divisor))
  uint32_t unused;
};
CT_HOST_DEVICE Divisor MakeDivisor(uint32_t divisor) {
  uint32_t log = 0;
  while ((uint64_t{1} << log) < divisor) ++log;
  const uint64_t power = uint64_t{1} << (31 + log);
  return {divisor, static_cast<uint32_t>((power + divisor - 1) / divisor),
          31 + log, 0};
}
CT_HOST_DEVICE int32_t Divide(int32_t n, const Divisor& divisor) {
  return static_cast<int32_t>(
      (uint64_t{static_cast<uint32_t>(n)} * divisor.multiplier) >>
      divisor.shift);
}

// One tap of a phase: what it adds to a row's source element and coordinates,
// and where its filter matrix starts.
struct GemmTap {
  int64_t source;
  int64_t filter;
  int32_t offset[kMaxAxes];
};

struct GemmPhase {
  int64_t result;  // first element
  int32_t first_tile;
  int32_t rows;
  int32_t first_tap;
  int32_t taps;
  int32_t count[kMaxAxes];  // positions along each axis
};

// Columns [f * fold, (f + 1) * fold) are those of folded phase f.
struct GemmFold {
  int64_t filter;
  int64_t result;
};

// Tables of up to this many bytes travel with the parameters.
inline constexpr int kInlineTableBytes = 3072;

struct GemmParams {
  int64_t source_batch, source_channel, source_axis[kMaxAxes];  // axis: per row
  int64_t result_batch, result_channel, result_axis[kMaxAxes];  // coordinate
  int64_t filter_depth, filter_column, filter_group;
  int64_t source_group, result_group;  // elements from group to group
  // Filter gradient: source is the input, gradient is output_grad, and the
  // filter has filter_row elements from output channel to output channel.
  int64_t gradient_batch, gradient_channel, gradient_axis[kMaxAxes];
  int64_t gradient_group, filter_row;
  int64_t elements;  // of the result
  int64_t partials;  // where the workspace holds sums of a gather, in bytes
  int32_t rank;
  int32_t groups;
  int32_t activation;
  int32_t depth;  // channels of the source per group; or input positions
  int32_t rows;   // out_channels per group, of the filter gradient
  int32_t columns;
  int32_t fold;
  int32_t row_tiles;  // of the filter gradient
  int32_t column_tiles;
  int32_t splits;            // ranges of depth
  int32_t blocks_per_split;  // depth blocks of a range, of the filter gradient
  int32_t store_partials;    // sums of a range and not the result
  int32_t phases;
  int32_t source_length[kMaxAxes];
  int32_t source_step[kMaxAxes];  // source coordinates per row coordinate
  // Operands may be read, and the result written, 16 bytes at a time.
  int32_t vector_first;
  int32_t vector_second;
  int32_t vector_result;
  int32_t rows_adjacent;  // in the result: channels-first
  // Tables: GemmPhase[phases], GemmFold[folds], GemmTap[...]; at the head of
  // the workspace unless they are here.
  int32_t folds;
  int32_t tables_are_here;
  // Filter gradient.
  int32_t filter_length[kMaxAxes];
  int32_t stride[kMaxAxes];
  int32_t dilation[kMaxAxes];
  int32_t pad_before[kMaxAxes];
  int32_t output_length[kMaxAxes];
  Divisor input_length[kMaxAxes];
  alignas(8) unsigned char tables[kInlineTableBytes];
};
static_assert(sizeof(GemmParams) <= 4000, "a launch takes 4 KB of parameters");

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_PARAMS_H_
