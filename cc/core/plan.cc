#include "cc/core/plan.h"

#include <algorithm>
#include <cstdlib>
#include <iomanip>
#include <sstream>
#include <utility>

#include "cc/core/fold.h"
#include "cc/core/plan_blocks.h"
#include "cc/core/plan_costs.h"

namespace conv_transpose_nd {
namespace {

Gather MakeGather(Operation operation, const ConvTransposeGeometry& geometry) {
  Gather gather;
  const bool forward = operation == Operation::kConvTranspose;
  const int64_t group_in = geometry.group_in_channels();
  const int64_t group_out = geometry.group_out_channels();
  gather.depth = forward ? group_in : group_out;
  gather.columns = forward ? group_out : group_in;
  gather.source = forward ? InputStrides(geometry) : OutputStrides(geometry);
  gather.result = forward ? OutputStrides(geometry) : InputStrides(geometry);
  for (int a = geometry.rank - 1; a >= 0; --a) {
    gather.axis[a] = forward ? OutputPhases(geometry.axis[a])
                             : InputPhases(geometry.axis[a]);
    gather.filter_step[a] = gather.filter_taps;
    gather.filter_taps *= geometry.axis[a].filter;
  }
  gather.tap_stride = group_out * geometry.in_channels;
  gather.depth_stride = forward ? 1 : geometry.in_channels;
  gather.column_stride = forward ? geometry.in_channels : 1;
  gather.group_stride = group_in;
  return gather;
}

double CountMultiplyAdds(const ConvTransposeGeometry& geometry) {
  double count = static_cast<double>(geometry.batch) * geometry.in_channels *
                 geometry.group_out_channels();
  for (int a = 0; a < geometry.rank; ++a)
    count *= TapsInside(InputPhases(geometry.axis[a]));
  return count;
}

bool HasProducts(const Plan& plan) {
  const ConvTransposeGeometry& geometry = plan.geometry;
  return NumElements(geometry.InputDims()) > 0 &&
         NumElements(geometry.FilterDims()) > 0 &&
         NumElements(geometry.OutputDims()) > 0;
}

constexpr int64_t kWinogradDepth = 16;

bool IsChannelwise(const Plan& plan) {
  const Gather& gather = plan.gather;
  return gather.depth == 1 && gather.columns == 1 && plan.geometry.groups > 1 &&
         gather.source.channel == 1 && gather.result.channel == 1;
}

// CONV_TRANSPOSE_ND_ALGORITHM=direct: no transformed domain.
bool DirectOnly() {
  static const bool direct = [] {
    const char* value = std::getenv("CONV_TRANSPOSE_ND_ALGORITHM");
    return value != nullptr && std::string(value) == "direct";
  }();
  return direct;
}

// The plan of a family for the call, and what it is chosen by: its estimated
// cycles, unless it is wanted.
struct Candidate {
  Plan plan;
  double rank;
};

class Candidates {
 public:
  Candidates(const Plan& call, KernelFamily wanted)
      : call_(call), wanted_(wanted) {}

  // `fill` returns false where the family cannot run the call.
  void Try(KernelFamily family, bool (*fill)(Plan*),
           double (*cycles)(const Plan&)) {
    Plan plan = call_;
    plan.family = family;
    if (!fill(&plan)) return;
    plan.cycles = cycles(plan);
    const double rank = family == wanted_ ? -1 : plan.cycles;
    reason_ << (all_.empty() ? "estimated cycles: " : ", ")
            << KernelFamilyName(family)
            << (plan.channel_lanes.pairs ? " in bfloat16 pairs " : " ")
            << std::setprecision(3) << rank;
    all_.push_back({std::move(plan), rank});
  }

  // The first of the cheapest, with all estimates for its reason.
  Plan Best() {
    const auto best = std::min_element(
        all_.begin(), all_.end(),
        [](const Candidate& a, const Candidate& b) { return a.rank < b.rank; });
    best->plan.reason = reason_.str();
    return std::move(best->plan);
  }

 private:
  const Plan& call_;
  const KernelFamily wanted_;
  std::vector<Candidate> all_;
  std::ostringstream reason_;
};

// A plan for the calls that `plan` finds it cannot compute exactly. That run
// starts over in the same workspace.
void AddExact(Plan exact, Plan* plan) {
  plan->scratch_bytes = std::max(plan->scratch_bytes, exact.scratch_bytes);
  plan->shared_bytes =
      std::max(plan->shared_bytes, exact.shared_bytes + plan->packed_bytes);
  plan->exact = std::make_shared<const Plan>(std::move(exact));
}

void ChooseGatherFamily(KernelFamily wanted, Plan* plan) {
  if (IsChannelwise(*plan) &&
      (wanted == KernelFamily::kNone || wanted == KernelFamily::kChannelwise)) {
    plan->reason = "one channel per group: lanes along channels";
    plan->family = KernelFamily::kChannelwise;
    PlanChannelwise(plan);
    return;
  }
  Candidates candidates(*plan, wanted);
  candidates.Try(KernelFamily::kChannelLanes, PlanChannelLanes,
                 ChannelLanesCost);
  candidates.Try(KernelFamily::kPixelLanes, PlanPixelLanes, PixelLanesCost);
  candidates.Try(KernelFamily::kPixelTiles, PlanPixelTiles, PixelTilesCost);
  candidates.Try(KernelFamily::kTapLanes, PlanTapLanes, TapLanesCost);
  // The user asked for sums in the order of the definition, or they are so
  // short that their neighbours' rounding would outweigh their own.
  if (wanted == KernelFamily::kWinograd ||
      !(DirectOnly() || plan->gather.depth < kWinogradDepth)) {
    candidates.Try(KernelFamily::kWinograd, PlanWinograd, WinogradCost);
  }
  candidates.Try(KernelFamily::kCopiedRows, PlanCopiedRows, CopiedRowsCost);
  Plan best = candidates.Best();
  if (best.family == KernelFamily::kWinograd ||
      best.family == KernelFamily::kCopiedRows) {
    plan->family = KernelFamily::kChannelLanes;
    // In the kernels that `best` is of: they widen.
    plan->target.bfloat16_products = 1;
    PlanChannelLanes(plan);
    AddExact(std::move(*plan), &best);
  }
  *plan = std::move(best);
}

void FillPositions(Plan* plan) {
  plan->family = KernelFamily::kPositions;
  Plan exact = *plan;
  PlanPositions(plan, false);
  const PositionsBlocks& blocks = plan->positions;
  plan->reason = blocks.all_taps ? "filter gradient, rows over all taps"
                                 : "filter gradient, rows over one tap";
  if (blocks.pairs) plan->reason += ", positions in bfloat16 pairs";
  // No zeros are multiplied.
  const bool is_exact = blocks.all_taps
                            ? blocks.alike_rows == plan->geometry.out_channels
                            : !blocks.pairs;
  if (is_exact) return;
  PlanPositions(&exact, true);
  exact.reason = "filter gradient, again without zeros";
  AddExact(std::move(exact), plan);
}

void ChooseFilterGradFamily(KernelFamily wanted, Plan* plan) {
  Plan direct = *plan;
  direct.phases = 1;
  FillPositions(&direct);
  direct.cycles = PositionsCost(direct);
  Plan transformed = *plan;
  transformed.family = KernelFamily::kWinograd;
  const bool forced = wanted == KernelFamily::kWinograd;
  const bool few = direct.positions.channelwise ||
                   wanted == KernelFamily::kPositions || DirectOnly();
  if ((few && !forced) || !PlanWinogradGrad(&transformed)) {
    *plan = std::move(direct);
    return;
  }
  // As of a sum over few channels: neighbours' rounding would outweigh its own.
  const bool short_sums = transformed.winograd.max_tiles < kWinogradDepth;
  transformed.cycles = WinogradGradCost(transformed);
  std::ostringstream reason;
  reason << direct.reason << "; estimated cycles: positions "
         << std::setprecision(3) << direct.cycles << ", winograd "
         << transformed.cycles;
  direct.reason = reason.str();
  if (!forced && (short_sums || transformed.cycles >= direct.cycles)) {
    *plan = std::move(direct);
    return;
  }
  transformed.reason = reason.str();
  Plan exact = *plan;
  exact.phases = 1;
  exact.family = KernelFamily::kPositions;
  PlanPositions(&exact, true);
  exact.reason = "filter gradient, again in sums of the definition";
  AddExact(std::move(exact), &transformed);
  *plan = std::move(transformed);
}

// The same taps in the same forms, in every phase of every axis.
bool SameForms(const WinogradBlocks& a, const WinogradBlocks& b) {
  const auto same_class = [](const WinogradClass& x, const WinogradClass& y) {
    return x.filter_index == y.filter_index;
  };
  const auto same_axis = [&](const WinogradAxis& x, const WinogradAxis& y) {
    return x.outputs == y.outputs && x.taps == y.taps &&
           std::equal(x.classes.begin(), x.classes.end(), y.classes.begin(),
                      y.classes.end(), same_class);
  };
  const auto same_phases = [&](const std::vector<WinogradAxis>& x,
                               const std::vector<WinogradAxis>& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), same_axis);
  };
  return a.vectors == b.vectors &&
         std::equal(a.axis.begin(), a.axis.end(), b.axis.begin(), same_phases);
}

// Chooses the family for plan.geometry.
Plan Choose(Plan plan, KernelFamily wanted) {
  const ConvTransposeGeometry& geometry = plan.geometry;
  const bool filter_grad = plan.operation == Operation::kFilterGrad;
  // A filter gradient's transforms are those of the result that it is of.
  plan.gather = MakeGather(
      filter_grad ? Operation::kConvTranspose : plan.operation, geometry);
  for (int a = 0; a < geometry.rank; ++a) {
    plan.phases *= static_cast<int64_t>(plan.gather.axis[a].phases.size());
    plan.fill_first |= !filter_grad && plan.gather.axis[a].CoveredPositions() <
                                           plan.gather.axis[a].result_length;
  }
  if (filter_grad) {
    ChooseFilterGradFamily(wanted, &plan);
  } else {
    ChooseGatherFamily(wanted, &plan);
  }
  return plan;
}

}  // namespace

const char* KernelFamilyName(KernelFamily family) {
  static constexpr const char* kNames[] = {
      "none",      "fill",     "channel_lanes", "pixel_lanes", "pixel_tiles",
      "tap_lanes", "winograd", "channelwise",   "copied_rows", "positions"};
  return kNames[static_cast<int>(family)];
}

Plan MakePlan(Operation operation, const ConvTransposeGeometry& geometry,
              DType dtype, const TargetInfo& target, KernelFamily wanted,
              bool filter_is_packed) {
  Plan plan;
  plan.filter_is_packed = filter_is_packed;
  plan.operation = operation;
  plan.dtype = dtype;
  plan.target = target;
  plan.call = plan.geometry = geometry;
  if (ResultElements(operation, geometry) == 0) {
    plan.reason = "the result is empty";
    return plan;
  }
  if (!HasProducts(plan)) {
    plan.family = KernelFamily::kFill;
    plan.shared_bytes = BiasBytes(plan);
    plan.reason = "an operand is empty: no product contributes";
    return plan;
  }
  plan.multiply_adds = CountMultiplyAdds(geometry);
  if (plan.multiply_adds == 0) {
    plan.family = KernelFamily::kFill;
    plan.shared_bytes = BiasBytes(plan);
    plan.reason = "no tap lands inside: no product contributes";
    return plan;
  }
  const bool filter_grad = operation == Operation::kFilterGrad;
  if (filter_grad && (dtype == DType::kInt32 || geometry.groups != 1)) {
    FillPositions(&plan);
    return plan;
  }
  const int64_t folded = FoldedPositions(geometry);
  if (folded == 1) return Choose(std::move(plan), wanted);
  Plan fold = plan;
  fold.geometry = Fold(geometry, folded);
  fold.folded = folded;
  plan = Choose(std::move(plan), wanted);
  fold = Choose(std::move(fold), wanted);
  fold.reason +=
      "; " + std::to_string(folded) + " neighbouring positions as channels";
  const bool only = fold.family == wanted && plan.family != wanted;
  const bool never = plan.family == wanted && fold.family != wanted;
  // Estimates of filter gradients differ where nothing else does.
  const double margin = filter_grad ? 0.98 : 1.0;
  return !never && (only || fold.cycles < margin * plan.cycles) ? fold : plan;
}

std::string Plan::ToString() const {
  std::ostringstream text;
  static constexpr const char* kOperations[] = {"conv_transpose", "input_grad",
                                                "filter_grad"};
  text << kOperations[static_cast<int>(operation)]
       << " family=" << KernelFamilyName(family) << " target=" << target.name
       << " folded=" << folded << " phases=" << phases << " units=" << units
       << " multiply_adds=" << multiply_adds << " shared_bytes=" << shared_bytes
       << " scratch_bytes=" << scratch_bytes << " reason=\"" << reason << "\"";
  return text.str();
}

bool SharePackedFilter(const Plan& a, const Plan& b) {
  if (a.family != b.family || a.operation != b.operation ||
      a.dtype != b.dtype || a.packed_bytes != b.packed_bytes ||
      a.target.vector_bytes != b.target.vector_bytes ||
      a.geometry.groups != b.geometry.groups ||
      a.geometry.FilterDims() != b.geometry.FilterDims()) {
    return false;
  }
  switch (a.family) {
    case KernelFamily::kChannelLanes:
      return a.channel_lanes.vectors == b.channel_lanes.vectors &&
             a.channel_lanes.pairs == b.channel_lanes.pairs;
    case KernelFamily::kTapLanes:
      return a.tap_lanes.vectors == b.tap_lanes.vectors &&
             a.tap_lanes.columns == b.tap_lanes.columns;
    case KernelFamily::kWinograd:
      return SameForms(a.winograd, b.winograd);
    default:  // in the order of the filter, or not at all
      return true;
  }
}

}  // namespace conv_transpose_nd
