// Estimated cycles of one core for a plan of each kernel family: what the
// choice is made on. Internal to the plan.
#ifndef CONV_TRANSPOSE_ND_CORE_PLAN_COSTS_H_
#define CONV_TRANSPOSE_ND_CORE_PLAN_COSTS_H_

#include "cc/core/plan.h"

namespace conv_transpose_nd {

double ChannelLanesCost(const Plan& plan);
double PixelLanesCost(const Plan& plan);
double PixelTilesCost(const Plan& plan);
double TapLanesCost(const Plan& plan);
double WinogradCost(const Plan& plan);
double CopiedRowsCost(const Plan& plan);
double PositionsCost(const Plan& plan);
double WinogradGradCost(const Plan& plan);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_PLAN_COSTS_H_
