// Geometry -> plan: which kernel family runs, in which blocks, with how much
// memory, and why. Step 4 of the path of a call. Making a plan cannot fail, and
// depends on the geometry and the target only, never on the number of threads:
// that keeps results the same for any number of them.
#ifndef CONV_TRANSPOSE_ND_CORE_PLAN_H_
#define CONV_TRANSPOSE_ND_CORE_PLAN_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cc/core/dtype.h"
#include "cc/core/geometry.h"
#include "cc/core/phase.h"

namespace conv_transpose_nd {

// What a plan needs to know of an instruction set.
struct TargetInfo {
  const char* name = "baseline";
  int vector_bytes = 16;
  int registers = 16;
  // Multiply-adds of bfloat16 per lane of 32 bits of one instruction: 2 where
  // it multiplies and adds pairs, 1 where bfloat16 is widened to float32.
  int bfloat16_products = 1;
};

enum class KernelFamily {
  kNone,          // the result is empty
  kFill,          // no product at all: the result is activation(bias), or zero
  kChannelLanes,  // lanes run along the channels of the result; packed filter
  kPixelLanes,    // lanes run along positions of the innermost axis
  kPixelTiles,    // lanes run along positions of all axes; filter as it comes
  kTapLanes,      // lanes run along taps x channels; sums of a block of lines
  kWinograd,      // fewer multiplications: phases in a transformed domain
  kChannelwise,   // depthwise: lanes along channels, every one by itself
  kCopiedRows,    // input gradient: what the taps read, copied line by line
  kPositions,     // filter gradient: sums run over positions
};
const char* KernelFamilyName(KernelFamily family);

// A transposed convolution or its input gradient as one walk over the result
// (see phase.h):
//   result[n, position, g, column] = sum_tap sum_depth source[n, ., g, depth] *
//   filter(tap, ...)
struct Gather {
  int64_t depth = 0;    // channels of the source, per group
  int64_t columns = 0;  // channels of the result, per group
  std::array<AxisPhases, kMaxRank> axis;
  std::array<int64_t, kMaxRank>
      filter_step{};        // filter positions per step along each axis
  int64_t filter_taps = 1;  // product of the filter lengths
  ElementStrides source;
  ElementStrides result;
  // Element (tap, depth, column) of group g of the filter:
  // tap * tap_stride + depth * depth_stride + column * column_stride + g *
  // group_stride.
  int64_t tap_stride = 0;
  int64_t depth_stride = 0;
  int64_t column_stride = 0;
  int64_t group_stride = 0;
};

// Blocks of the channel-lanes family.
struct ChannelLanesBlocks {
  // Of what the kernel keeps per tile whose rows are found first.
  static constexpr int64_t kFoundTileBytes = 48;

  int rows = 8;               // result positions of a register tile
  bool phases_first = false;  // phases vary fastest among the work units
  int vectors = 2;            // vectors of columns of a register tile
  int64_t panels = 0;         // groups of `vectors` vectors, per group
  // Phases of the innermost axis that read the same source rows (a filter no
  // longer than its stride): they count as columns, so that a tile writes
  // whole runs of the result. 1: none.
  int64_t folded = 1;
  // Taps of the innermost axis that read adjacent source elements and lie in
  // the filter in the same order (an input gradient's): where a tile finds them
  // all inside they count as depth. 1: none.
  int64_t merged = 1;
  int64_t panel_block = 0;  // panels of all folded phases, of a work unit
  int64_t row_block = 0;    // rows of a work unit
  int64_t tap_block = 0;  // taps summed between two visits of the accumulators
  int64_t depth_block = 0;  // depth, likewise
  // Rows that are found together, before those of a unit are multiplied; 0: a
  // tile's rows are found when its turn comes. Scratch that it takes.
  int64_t found_rows = 0;
  int64_t found_bytes = 0;
  // Depth is multiplied in pairs of bfloat16 channels.
  bool pairs = false;
  // They are sorted by the taps that they find inside the source: nothing from
  // beyond the border is multiplied.
  bool rows_by_tap = false;
  // Rows of a filter that such a unit reads at a time where it lies; 0: it is
  // packed.
  int64_t filter_rows = 0;
  bool convert_source =
      false;  // source rows are widened or gathered into scratch
};

// A tap seen from the source: filter position filter_index contributes to this
// phase of the axis.
struct PhaseTap {
  int64_t phase;
  int64_t filter_index;
};

// Everything that reads the source position j * source_step + source_offset of
// an outer axis, over all phases.
struct SourceLine {
  int64_t source_offset;
  std::vector<PhaseTap> taps;
};

// The same on the innermost axis: element j + shift of window row `slot`.
struct WindowShift {
  int64_t slot;
  int64_t shift;
  std::vector<PhaseTap> taps;
};

// Blocks of the pixel-lanes family. A window row holds the source positions of
// one residue modulo source_step, so that lanes are adjacent whatever the step.
struct PixelLanesBlocks {
  // Of what the kernel keeps per window, per phase that reads one, and per tap.
  static constexpr int64_t kWindowBytes = 48, kVisitBytes = 24, kTapBytes = 16;

  int64_t positions = 0;  // of the innermost axis, per phase, of a work unit
  int64_t window = 0;     // elements of a window row
  int64_t lowest = 0;     // source position / source_step of window element 0
  std::vector<int64_t> residues;  // source position mod source_step, by slot
  std::vector<WindowShift> shifts;
  std::array<std::vector<SourceLine>, kMaxRank> lines;  // by outer axis
  int64_t outer_phases = 1;  // product over the outer axes
  int64_t inner_phases = 1;
  int64_t columns = 0;  // columns of a work unit
  int64_t depth_block = 0;
  // Windows that are kept, of all source lines that a line of the result reads;
  // its sums then stay in registers over all taps. 0: the sums of all phases
  // are visited for each shift of a window.
  int64_t windows = 0;
  int64_t unit_lines = 1;  // that follow each other, in a work unit
  // Filter rows [tap][column][depth]: in place, or copied where depth is not
  // adjacent or needs widening.
  bool copy_filter = false;
  int64_t filter_tap_stride = 0;
  int64_t filter_column_stride = 0;
  int64_t filter_group_stride = 0;
};

// Blocks of the pixel-tiles family.
struct PixelTilesBlocks {
  int vectors = 1;          // vectors of result positions of a register tile
  int64_t columns = 0;      // columns of a work unit
  int64_t depth_block = 0;  // depth held transposed at a time
};

// A tap that adds a source position's product `shift` whole strides further.
struct ShiftedTap {
  int64_t filter_index;
  int64_t shift;
};

// Blocks of the tap-lanes family.
struct TapLanesBlocks {
  // Of what the kernel keeps per source line in flight.
  static constexpr int64_t kSegmentBytes = (4 + 3 * kMaxRank) * 8;
  // And per outer tap.
  static constexpr int64_t kVisitBytes = 16;

  int rows = 8;
  int vectors = 2;
  int64_t columns = 0;  // channels of a work unit
  int64_t column_blocks = 1;
  int64_t run_taps = 1;   // taps of the innermost axis whose sums are adjacent
  int64_t passes = 1;     // runs of source positions so far apart are disjoint
  int64_t panels = 0;     // groups of `vectors` vectors, per block of columns
  int64_t row_block = 0;  // source positions multiplied together
  int64_t row_step = 0;   // and transposed: in whole vectors
  int64_t panel_block = 0;                 // panels, likewise
  std::array<int64_t, kMaxRank> block{};   // result positions of a work unit
  std::array<int64_t, kMaxRank> blocks{};  // work units along each axis
  int64_t lines = 1;                       // result lines of a work unit
  int64_t line = 0;  // sums of a line, with what reaches beyond the unit
  // Sums of a line as [position mod stride][channel][position / stride], with
  // `phase` of the last; else as [position][channel].
  bool transposed = false;
  int64_t phase = 0;
  // Then, by the position mod stride that they lead to, the taps of the
  // innermost axis.
  std::vector<std::vector<ShiftedTap>> residues;
  int64_t outer_taps = 0;           // and the taps of all other axes
  int64_t transposed_elements = 0;  // scratch to transpose into
  bool convert_source = false;
};

// Taps of one phase of one axis that read source positions `lowest`, lowest +
// step * source_step, ...: F(outputs, taps) transforms them together.
struct WinogradClass {
  int64_t lowest = 0;
  std::array<int64_t, 3> filter_index{};  // in source order; -1: no such tap
};

// One phase of one axis in the transformed domain: F(outputs, taps) computes
// `outputs` results, `step` positions apart, from outputs + taps - 1 products
// per class. The products of all classes add up before the one transform back.
// Taps beyond three, and those of different source residues (an input gradient
// with strides), make classes of their own.
struct WinogradAxis {
  int outputs = 1;
  int taps = 1;
  int64_t step = 1;   // distance of neighbours: the dilation, without strides
  int64_t tiles = 0;  // tiles of `outputs` results that cover the phase
  std::vector<WinogradClass> classes;

  int components() const { return outputs + taps - 1; }
  // First position of a tile.
  int64_t Position(int64_t tile) const {
    return tile % step + tile / step * outputs * step;
  }
};

// Blocks of the winograd family.
struct WinogradBlocks {
  int rows = 12;
  int vectors = 2;
  int64_t panels = 0;         // as for channel_lanes
  int64_t panel_columns = 0;  // vectors of them
  int64_t panel_block = 0;    // panels of a work unit
  int64_t tile_block = 0;     // tiles of a work unit
  bool phases_first = false;  // as for channel_lanes
  int64_t depth = 0;          // of one class, in whole vectors
  int64_t depth_block = 0;    // depth of all classes held transformed at a time
  int64_t max_components = 1;
  int64_t max_tiles = 0;  // tiles of the largest phase
  std::array<std::vector<WinogradAxis>, kMaxRank> axis;  // by phase
  std::vector<int64_t> filter_offset;  // of the packed filter, by phase
};

// Blocks of the filter gradient in the transformed domain: sums of a component
// run over tiles. A work unit has one class of one phase.
struct WinogradGradBlocks {
  int64_t row_block = 0;     // out_channels of a work unit
  int64_t column_block = 0;  // in_channels
  int64_t row_blocks = 1;
  int64_t column_blocks = 1;
  int64_t classes = 1;  // of the phase that has most
  int64_t chunk = 0;    // tiles between two visits of the sums
  int64_t splits = 1;   // partial sums over ranges of tiles, added in order
};

// One phase: its axes, moved to the last places of three, and the products of
// their classes.
struct WinogradPhase {
  WinogradPhase() = default;
  WinogradPhase(const WinogradBlocks& blocks, int rank, int64_t index)
      : filter_offset(
            blocks.filter_offset.empty() ? 0 : blocks.filter_offset[index]) {
    static const WinogradAxis single = [] {
      WinogradAxis axis;
      axis.tiles = 1;
      axis.classes.push_back({0, {0, -1, -1}});
      return axis;
    }();
    for (int a = 2; a >= 0; --a) {
      const int own = a - (3 - rank);
      axis[a] = &single;
      if (own >= 0) {
        const int64_t count = blocks.axis[own].size();
        axis[a] = &blocks.axis[own][index % count];
        index /= count;
      }
      components *= axis[a]->components();
      tiles *= axis[a]->tiles;
      classes *= static_cast<int64_t>(axis[a]->classes.size());
    }
    columns = classes * blocks.depth * blocks.panel_columns;
    plane = axis[1]->components() * axis[2]->components();
  }

  // The class of axis a that a class of the product stands for.
  const WinogradClass& ClassOf(int64_t index, int a) const {
    for (int b = 2; b > a; --b) {
      index /= static_cast<int64_t>(axis[b]->classes.size());
    }
    return axis[a]->classes[index % axis[a]->classes.size()];
  }

  // Where the packed filter of a component begins: [panel][component][class]
  // [depth][columns].
  int64_t Panel(int64_t component, int64_t panel) const {
    return filter_offset + (panel * components + component) * columns;
  }

  const WinogradAxis* axis[3];
  int64_t filter_offset = 0;
  int64_t components = 1, tiles = 1, classes = 1;  // tiles of one image
  int64_t columns = 0;  // elements of one component of a panel
  int plane = 1;        // components of the inner two axes
};

// Blocks of the channelwise family. A piece of a result line has all phases of
// the innermost axis, so that whole runs of the result are written at a time.
struct ChannelwiseBlocks {
  int64_t outer_taps = 1;  // combinations of taps of all axes but the innermost
  int64_t lines = 1;       // result lines that have a tap
  int64_t unit_lines = 1;  // of which a work unit takes one piece each
  int64_t piece = 1;       // positions of each phase of a piece
  int64_t line_pieces = 1;  // pieces of a line
};

// Register tiles of 12, 8, 6, 4, 2 and 1 rows are compiled; the next smaller
// one.
inline int SmallerTile(int rows) {
  return rows == 12 ? 8 : rows == 6 ? 4 : rows / 2;
}
// The first of the tiles of at most `rows` rows that `left` rows are split
// into. What is up to a third more than a tile is split evenly: small tiles
// wait for the latency of their sums.
inline int NextTile(int64_t left, int rows) {
  if (left > rows && 3 * left <= 4 * rows) return SmallerTile(rows);
  while (SmallerTile(rows) >= left) rows = SmallerTile(rows);
  return rows;
}

// At most so many positions are summed between two visits of the accumulators
// of the filter gradient: a panel of 192 x 32 floats and a tile's rows stay in
// level-1 cache.
inline constexpr int64_t kPositionBlock = 192;

// Blocks of the filter gradient. Its rows are taps x out_channels, its columns
// in_channels; sums run over the positions of the input.
struct PositionsBlocks {
  int rows = 8;           // of a register tile
  int vectors = 2;        // vectors of columns of a register tile
  int64_t row_block = 0;  // rows that are copied side by side
  int64_t left_step = 0;  // elements of the copy of one register tile's rows
  // Rows run over all taps, one after the other, in Plan::copied_lines; where a
  // tap leaves the output zeros are multiplied. Else a block of rows has one
  // tap, and takes exactly the positions that it maps into the output.
  bool all_taps = false;
  // Then register tiles may be the other way round: their rows are in_channels,
  // which fill no vectors, their columns neighbouring rows of a line. Sums are
  // kept like this, and transposed in the end.
  bool input_rows = false;
  // Rows, of all taps, that multiply the same positions: those of all taps, of
  // one combination of outer taps, or of one tap. The first multiply zeros
  // beyond every border, the second beyond the innermost axis' borders.
  int64_t alike_rows = 0;
  double rows_taken = 0;    // of all positions, and what fills tiles up
  int64_t result_step = 0;  // of sums with input_rows
  int64_t row_share = 0;    // of row_block, for one work unit
  // Blocks of rows, of all groups: of all taps, those of one combination of
  // outer taps.
  int64_t tiles = 0;
  int64_t tile_group = 1;  // of which one work unit has so many
  int64_t chunk = 0;       // positions of two visits of the accumulators
  // Two positions that are neighbours on a line are multiplied together; zeros
  // where a tap takes one of them only.
  bool pairs = false;
  int64_t slots = 0;   // words that a chunk takes: positions, or pairs of them
  int64_t splits = 1;  // partial sums over ranges of positions, added in order
  bool copy_right = true;    // columns are copied panel by panel, else in place
  int64_t column_block = 0;  // columns copied at a time, or of a work unit
  bool channelwise = false;  // depthwise: lanes along channels, no tile
};

// Copies of output_grad: for each combination of taps of the outer axes, the
// lines that a chunk of positions reads lie one after the other, `gap`
// positions apart, so that positions are a constant step apart all over the
// copy; or what each position reads lies by itself, and then perhaps in parts.
struct CopiedLines {
  int64_t chunk = 0;      // positions
  int64_t parts = 1;      // of the taps of the innermost axis, each like a
                          // combination of outer taps of its own
  int64_t line_taps = 1;  // combinations of outer taps copied at a time
  int64_t line_step = 0;  // elements from one of them to the next
  int64_t reach = 0;      // elements from a position's first tap to its last
  int64_t step = 0;       // elements from a position to the next
  bool spread = false;    // positions do not overlap: step >= reach, no gap
  int64_t gap = 0;
  int64_t pieces = 0;  // at most: lines that a chunk lies on
  int64_t slots = 0;   // at most: its positions and the gaps between them
};

// Blocks of the copied-rows family.
struct CopiedRowsBlocks {
  int rows = 8;              // positions of a register tile
  int vectors = 2;           // vectors of columns of a register tile
  int64_t column_block = 0;  // columns of a work unit
  int64_t row_block = 0;     // rows of the filter multiplied at a time
  bool copy_right = true;    // columns are copied panel by panel, else in place
};

// Positions of a chunk of CopiedLines that follow each other on one line.
struct LinePiece {
  int64_t slot, count;
  int64_t inner;   // index of the first along the innermost axis
  int64_t source;  // offset of the line that the first outer tap reads
  std::array<int64_t, kMaxRank> outer;  // and its indices
  // Elements that they read of a line: beyond the border, from `first` on, and
  // beyond.
  int64_t before, first, copied, after;
};

// Of them, those that some rows multiply: `count` positions, the first at
// element `first` of the copy and at `columns` of its columns.
struct LineSpan {
  int64_t first, columns, count;
};
// All that such rows multiply.
struct LineSpans {
  const LineSpan* spans;
  int64_t count, positions;
};

// Positions of a chunk that follow each other on one line.
struct PositionPiece {
  int64_t slot, count;  // of the chunk
  int64_t inner;        // index of the first along the innermost axis
  int64_t x, dy;        // offset of the first, for dy that of shift 0
  std::array<int64_t, kMaxRank> outer;
};

// Rows of one tap: their elements in output_grad.
struct TapRun {
  int64_t dy;  // offset of the first from that of shift 0
  std::array<int64_t, kMaxRank> low, high;  // input positions that fit the tap
};

struct Plan {
  Operation operation = Operation::kConvTranspose;
  DType dtype = DType::kFloat;
  TargetInfo target;
  // Of the call, as it was asked for.
  ConvTransposeGeometry call;
  // As the kernels compute it: of the call, or with this many neighbouring
  // positions taken for channels (fold.h).
  ConvTransposeGeometry geometry;
  int64_t folded = 1;
  // Packing the filter costs a call nothing: it is done once for many.
  bool filter_is_packed = false;
  KernelFamily family = KernelFamily::kNone;
  Gather gather;
  ChannelLanesBlocks channel_lanes;
  PixelLanesBlocks pixel_lanes;
  PixelTilesBlocks pixel_tiles;
  TapLanesBlocks tap_lanes;
  WinogradBlocks winograd;
  WinogradGradBlocks winograd_grad;
  ChannelwiseBlocks channelwise;
  // What runs where a transformed sum is not finite: an infinity or NaN in an
  // operand would spread to its neighbours.
  std::shared_ptr<const Plan> exact;
  PositionsBlocks positions;
  CopiedRowsBlocks copied_rows;
  CopiedLines copied_lines;
  // Rows run along the batch before the innermost axis: where lines are short,
  // the rows of a tile then lose the same taps to the border, and none is
  // multiplied by zeros.
  bool batch_inner = false;
  int64_t phases = 1;  // product over the axes
  // Some result positions have no tap: they are filled before the kernel runs.
  bool fill_first = false;
  int64_t units = 0;          // independent pieces of work
  int64_t shared_bytes = 0;   // bias, partial sums, packed filter
  int64_t packed_bytes = 0;   // of which packed filter; 0: read as it comes
  int64_t scratch_bytes = 0;  // per worker
  std::string reason;

  // 64-byte aligned memory that Run needs with this many workers;
  // filter_is_packed: where it gets a packed filter, too.
  int64_t WorkspaceBytes(int workers, bool filter_is_packed = false) const {
    return shared_bytes - (filter_is_packed ? packed_bytes : 0) +
           workers * scratch_bytes;
  }
  // Multiply-adds of the operation, counting only taps that land inside.
  double multiply_adds = 0;
  // Estimated, of one core; only plans of one operation compare.
  double cycles = 0;
  std::string ToString() const;
};

// Elements of scratch that one component of the filter gradient takes, and from
// one register tile's operands and sums to the next one's.
struct WinogradGradSteps {
  explicit WinogradGradSteps(const Plan& plan);

  int64_t left_tile = 0, left = 0;     // output_grad: tiles of a chunk x rows
  int64_t right_panel = 0, right = 0;  // input: tiles of a chunk x columns
  int64_t sums_row = 0, sums = 0;
};

// Filters of more elements fit no address space, and byte counts of their
// packed form, up to 128 per element, need not fit in int64.
inline constexpr int64_t kMaxPlannedFilter = int64_t{1} << 47;

// geometry: with a filter of at most kMaxPlannedFilter elements, as one that
// exists has. wanted: the family to use where it can run this call; kNone lets
// the estimated cost decide. For tests, which force each family in turn.
// filter_is_packed: by PackFilter, before the calls that the plan is for.
Plan MakePlan(Operation operation, const ConvTransposeGeometry& geometry,
              DType dtype, const TargetInfo& target,
              KernelFamily wanted = KernelFamily::kNone,
              bool filter_is_packed = false);

// Whether what is packed for one plan serves the other: calls that differ in
// their positions alone mostly share it.
bool SharePackedFilter(const Plan& a, const Plan& b);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_PLAN_H_
