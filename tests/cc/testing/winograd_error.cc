#include "tests/cc/testing/winograd_error.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "cc/core/activation.h"
#include "cc/core/dtype.h"
#include "cc/kernels/cpu/conv_transpose.h"

// The transforms as the kernels have them: what is measured is what runs.
namespace conv_transpose_nd {
namespace transforms {
#include "cc/kernels/cpu/minimal_filter-inl.h"
}  // namespace transforms

namespace testing {
namespace {

constexpr int kSize = 16;

// Column `from` is what the transform makes of the unit vector `from`.
struct Matrix {
  double at[kSize][kSize] = {};
  int rows;

  double RowSum(int row) const {
    double sum = 0;
    for (double value : at[row]) sum += std::abs(value);
    return sum;
  }
  // Additions of the longest row.
  int Additions() const {
    int most = 1;
    for (int row = 0; row < rows; ++row) {
      most = std::max<int>(most,
                           kSize - std::count(at[row], at[row] + kSize, 0.0));
    }
    return most - 1;
  }
};

template <typename Transform>
Matrix MatrixOf(int rows, int columns, const Transform& transform) {
  Matrix matrix;
  matrix.rows = rows;
  for (int from = 0; from < columns; ++from) {
    double line[kSize] = {};
    line[from] = 1;
    transform(line);
    for (int row = 0; row < rows; ++row) matrix.at[row][from] = line[row];
  }
  return matrix;
}

template <int kOutputs, int kTaps>
WinogradError AxisError() {
  using Filter = transforms::MinimalFilter<kOutputs, kTaps>;
  constexpr int kComponents = kOutputs + kTaps - 1;
  const Matrix a = MatrixOf(kOutputs, kComponents,
                            [](double* line) { Filter::Result(line, 1); });
  const Matrix g = MatrixOf(kComponents, kTaps,
                            [](double* line) { Filter::Filter(line, 1); });
  const Matrix b = MatrixOf(kComponents, kComponents,
                            [](double* line) { Filter::Source(line, 1); });
  WinogradError error{0, double(a.Additions() + g.Additions() + b.Additions()),
                      1};
  for (int o = 0; o < kOutputs; ++o) {
    double growth = 0;
    for (int c = 0; c < kComponents; ++c) {
      growth += std::abs(a.at[o][c]) * g.RowSum(c) * b.RowSum(c);
    }
    error.growth = std::max(error.growth, growth);
  }
  return error;
}

WinogradError ErrorOf(const WinogradAxis& axis) {
  if (axis.outputs == 1 && axis.taps == 1) return AxisError<1, 1>();
  if (axis.outputs == 2 && axis.taps == 2) return AxisError<2, 2>();
  if (axis.outputs == 3 && axis.taps == 2) return AxisError<3, 2>();
  if (axis.outputs == 2 && axis.taps == 3) return AxisError<2, 3>();
  std::fprintf(stderr, "no error is known of F(%d, %d)\n", axis.outputs,
               axis.taps);
  std::abort();
}

}  // namespace

WinogradError ErrorOf(const Plan& plan) {
  WinogradError worst;
  for (const auto& phases : plan.winograd.axis) {
    WinogradError axis{0, 0, 1};
    for (const WinogradAxis& phase : phases) {
      const WinogradError error = ErrorOf(phase);
      axis.growth = std::max(axis.growth, error.growth);
      axis.roundings = std::max(axis.roundings, error.roundings);
      axis.classes =
          std::max(axis.classes, static_cast<double>(phase.classes.size()));
    }
    if (phases.empty()) continue;
    worst.growth *= axis.growth;
    worst.roundings += axis.roundings;
    worst.classes *= axis.classes;
  }
  return worst;
}

}  // namespace testing
}  // namespace conv_transpose_nd
