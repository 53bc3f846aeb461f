#include "tests/cc/kernels/gpu/emulator_wgmma.h"

#include <cmath>
#include <cstring>
#include <map>
#include <vector>

#include "tests/cc/kernels/gpu/emulator.h"

namespace emulator {
namespace {

constexpr int kLanes = 128;
constexpr int kSums = 64;
constexpr int kRows = 64, kColumns = 128, kDepth = 16;

struct Group {
  bool fenced = false;
  bool in_flight = false;
  bool committed = true;
  std::vector<Wgmma> late;
  float sums[kLanes][kSums];  // while they are in flight
};
// By number of the warpgroup.
std::map<int, Group>& Groups() {
  static auto* groups = new std::map<int, Group>;
  return *groups;
}

// A descriptor of a tile of `majors` rows or columns.
struct Matrix {
  uint32_t start, leading, stride;
  bool along;  // majors are adjacent, not the depth

  Matrix(uint64_t descriptor, bool along_majors)
      : start((descriptor & 0x3fff) << 4),
        leading((descriptor >> 16 & 0x3fff) << 4),
        stride((descriptor >> 32 & 0x3fff) << 4),
        along(along_majors) {
    if (descriptor >> 62 != 1) Die("wgmma without the 128-byte swizzle");
    if ((descriptor >> 49 & 7) != 0) Die("wgmma with a base offset");
  }

  // Blocks of 8 rows of 128 bytes, 64 elements of 2 bytes each. Along the depth
  // a row is a major, and `stride` leads 8 majors on; else a row is a depth,
  // `stride` leads 8 depths on and `leading` 64 majors.
  uint32_t Address(int major, int depth) const {
    const uint32_t plain =
        along ? start + major / 64 * leading + depth / 8 * stride +
                    depth % 8 * 128 + major % 64 * 2
              : start + major / 8 * stride + major % 8 * 128 + depth * 2;
    return plain ^ ((plain >> 7 & 7) << 4);
  }
};

float Element(conv_transpose_nd::DType dtype, uint32_t address) {
  uint16_t bits;
  std::memcpy(&bits, AtSharedAddress(address, 2), 2);
  return dtype == conv_transpose_nd::DType::kHalf
             ? conv_transpose_nd::ToFloat(conv_transpose_nd::Half{bits})
             : conv_transpose_nd::BitsToFloat(uint32_t{bits} << 16);
}

void Multiply(const Wgmma& wgmma, Group* group) {
  const Matrix first(wgmma.a, wgmma.along_rows);
  const Matrix second(wgmma.b, wgmma.along_columns);
  float b[kDepth][kColumns];
  for (int depth = 0; depth < kDepth; ++depth) {
    for (int column = 0; column < kColumns; ++column) {
      b[depth][column] = Element(wgmma.dtype, second.Address(column, depth));
    }
  }
  for (int row = 0; row < kRows; ++row) {
    float sum[kColumns] = {};
    for (int depth = 0; depth < kDepth; ++depth) {
      const float a = Element(wgmma.dtype, first.Address(row, depth));
      for (int column = 0; column < kColumns; ++column) {
        sum[column] += a * b[depth][column];
      }
    }
    for (int column = 0; column < kColumns; ++column) {
      const int lane = row / 16 * 32 + row % 8 * 4 + column % 8 / 2;
      const int place = column / 8 * 4 + row % 16 / 8 * 2 + column % 2;
      group->sums[lane][place] += sum[column];
    }
  }
}

struct Issue {
  const Wgmma* wgmma;
  float* sums;
};

void IssueOfGroup(void* const* arguments) {
  Group& group = Groups()[CurrentWarpgroup()];
  const auto issue = [arguments](int lane) {
    return static_cast<const Issue*>(arguments[lane]);
  };
  const Wgmma& wgmma = *issue(0)->wgmma;
  for (int lane = 1; lane < kLanes; ++lane) {
    const Wgmma& other = *issue(lane)->wgmma;
    if (other.a != wgmma.a || other.b != wgmma.b) {
      Die("threads of a warpgroup have different descriptors");
    }
  }
  if (!CopiesAreFenced()) Die("wgmma may not see copies that were not fenced");
  if (!group.in_flight) {
    if (!group.fenced) Die("wgmma without a fence of its sums");
    for (int lane = 0; lane < kLanes; ++lane) {
      std::memcpy(group.sums[lane], issue(lane)->sums, sizeof(group.sums[0]));
      for (int i = 0; i < kSums; ++i) issue(lane)->sums[i] = std::nanf("");
    }
    group.in_flight = true;
  }
  group.committed = false;
  if (EarlyCopies()) {
    Multiply(wgmma, &group);
  } else {
    group.late.push_back(wgmma);
  }
}

void FenceOfGroup(void* const*) { Groups()[CurrentWarpgroup()].fenced = true; }
void CommitOfGroup(void* const*) {
  Groups()[CurrentWarpgroup()].committed = true;
}

void WaitOfGroup(void* const* arguments) {
  Group& group = Groups()[CurrentWarpgroup()];
  if (!group.committed) Die("a wait for wgmma that was not committed");
  for (const Wgmma& wgmma : group.late) Multiply(wgmma, &group);
  group.late.clear();
  if (group.in_flight) {
    for (int lane = 0; lane < kLanes; ++lane) {
      std::memcpy(arguments[lane], group.sums[lane], sizeof(group.sums[0]));
    }
  }
  group.in_flight = group.fenced = false;
}

}  // namespace

void FenceWgmma(const float* sums) {
  Warpgroup(const_cast<float*>(sums), FenceOfGroup);
}

void IssueWgmma(const Wgmma& wgmma, float* sums) {
  Issue issue{&wgmma, sums};
  Warpgroup(&issue, IssueOfGroup);
}

void CommitWgmma() { Warpgroup(nullptr, CommitOfGroup); }

void WaitWgmma(float* sums) { Warpgroup(sums, WaitOfGroup); }

void ExpectNoWgmma() {
  for (auto& [number, group] : Groups()) {
    if (group.in_flight) Die("a block ended before its wgmma");
    group.fenced = false;
  }
}

}  // namespace emulator
