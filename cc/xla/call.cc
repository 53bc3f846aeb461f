#include "cc/xla/call.h"

#include <type_traits>

namespace conv_transpose_nd {
namespace {

// Gives every integer of `call` to `visit`, always in the same order.
template <typename CallType, typename Visit>
void VisitHeader(CallType& call, const Visit& visit) {
  auto& geometry = call.geometry;
  visit(call.operation);
  visit(call.dtype);
  visit(geometry.rank);
  visit(geometry.batch);
  visit(geometry.in_channels);
  visit(geometry.out_channels);
  visit(geometry.groups);
  visit(geometry.data_format);
  visit(geometry.activation);
  visit(geometry.has_bias);
}

template <typename AxisType, typename Visit>
void VisitAxis(AxisType& axis, const Visit& visit) {
  visit(axis.input);
  visit(axis.filter);
  visit(axis.output);
  visit(axis.stride);
  visit(axis.dilation);
  visit(axis.pad_before);
  visit(axis.pad_after);
}

}  // namespace

std::vector<int64_t> Encode(const Call& call) {
  std::vector<int64_t> values;
  const auto push = [&](auto value) {
    values.push_back(static_cast<int64_t>(value));
  };
  VisitHeader(call, push);
  for (int a = 0; a < call.geometry.rank; ++a) {
    VisitAxis(call.geometry.axis[a], push);
  }
  return values;
}

bool Decode(const int64_t* values, size_t size, Call* call) {
  size_t next = 0;
  const auto pop = [&](auto& value) {
    if (next < size)
      value = static_cast<std::decay_t<decltype(value)>>(values[next]);
    ++next;
  };
  VisitHeader(*call, pop);
  const int rank = call->geometry.rank;
  if (next > size || rank < 1 || rank > kMaxRank) return false;
  for (int a = 0; a < rank; ++a) VisitAxis(call->geometry.axis[a], pop);
  return next == size;
}

}  // namespace conv_transpose_nd
