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

// y = A (G g . B d), each |A_oc| weighted by what the others grow to.
WinogradError ErrorOfMatrices(const Matrix& a, const Matrix& g,
                              const Matrix& b) {
  WinogradError error{0, double(a.Additions() + g.Additions() + b.Additions()),
                      1};
  for (int o = 0; o < a.rows; ++o) {
    double growth = 0;
    for (int c = 0; c < b.rows; ++c) {
      growth += std::abs(a.at[o][c]) * g.RowSum(c) * b.RowSum(c);
    }
    error.growth = std::max(error.growth, growth);
  }
  return error;
}

template <int kOutputs, int kTaps>
WinogradError AxisError(bool filter_grad) {
  using Filter = transforms::MinimalFilter<kOutputs, kTaps>;
  constexpr int kComponents = kOutputs + kTaps - 1;
  const Matrix source = MatrixOf(kComponents, kComponents,
                                 [](double* line) { Filter::Source(line, 1); });
  if (filter_grad) {
    return ErrorOfMatrices(
        MatrixOf(kTaps, kComponents,
                 [](double* line) { Filter::FilterGrad(line, 1); }),
        MatrixOf(kComponents, kOutputs,
                 [](double* line) { Filter::ResultGrad(line, 1); }),
        source);
  }
  return ErrorOfMatrices(
      MatrixOf(kOutputs, kComponents,
               [](double* line) { Filter::Result(line, 1); }),
      MatrixOf(kComponents, kTaps,
               [](double* line) { Filter::Filter(line, 1); }),
      source);
}

WinogradError ErrorOf(const WinogradAxis& axis, bool filter_grad) {
  if (axis.taps == 1) return AxisError<1, 1>(filter_grad);
  if (axis.taps == 3) return AxisError<2, 3>(filter_grad);
  if (axis.outputs == 2) return AxisError<2, 2>(filter_grad);
  if (axis.outputs == 3) return AxisError<3, 2>(filter_grad);
  std::fprintf(stderr, "no error is known of F(%d, %d)\n", axis.outputs,
               axis.taps);
  std::abort();
}

}  // namespace

WinogradError ErrorOf(const Plan& plan) {
  const bool filter_grad = plan.operation == Operation::kFilterGrad;
  WinogradError worst;
  for (const auto& phases : plan.winograd.axis) {
    WinogradError axis{0, 0, 1};
    for (const WinogradAxis& phase : phases) {
      const WinogradError error = ErrorOf(phase, filter_grad);
      axis.growth = std::max(axis.growth, error.growth);
      axis.roundings = std::max(axis.roundings, error.roundings);
      if (filter_grad) continue;
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
