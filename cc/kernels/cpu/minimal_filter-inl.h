// The transforms of Winograd's minimal filtering, along one axis and two.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_MINIMAL_FILTER_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_MINIMAL_FILTER_INL_H_

// The 1-D transforms, in place on elements `step` apart. V: a vector or scalar.
// ResultGrad and FilterGrad multiply by the transposed matrices: gradients
// pass Result and Filter the other way.
template <int kOutputs, int kTaps>
struct MinimalFilter;

template <int kOutputCount, int kTapCount>
struct MinimalFilterSize {
  static constexpr int kOutputs = kOutputCount;
  static constexpr int kTaps = kTapCount;
  static constexpr int kComponents = kOutputs + kTaps - 1;
};

template <>
struct MinimalFilter<1, 1> : MinimalFilterSize<1, 1> {
  template <typename V>
  static void Source(V*, int) {}
  template <typename V>
  static void Filter(V*, int) {}
  template <typename V>
  static void Result(V*, int) {}
  template <typename V>
  static void ResultGrad(V*, int) {}
  template <typename V>
  static void FilterGrad(V*, int) {}
};

template <>
struct MinimalFilter<2, 2> : MinimalFilterSize<2, 2> {
  template <typename V>
  static void Source(V* d, int step) {
    d[0] = d[0] - d[step];
    d[2 * step] = d[step] - d[2 * step];
  }
  template <typename V>
  static void Filter(V* g, int step) {
    g[2 * step] = g[step];
    g[step] = g[0] + g[step];
  }
  template <typename V>
  static void Result(V* m, int step) {
    m[0] = m[0] + m[step];
    m[step] = m[step] - m[2 * step];
  }
  template <typename V>
  static void ResultGrad(V* y, int step) {
    const V y1 = y[step];
    y[step] = y[0] + y1;
    y[2 * step] = -y1;
  }
  template <typename V>
  static void FilterGrad(V* t, int step) {
    t[0] = t[0] + t[step];
    t[step] = t[step] + t[2 * step];
  }
};

// Points 0, 1, -1 and infinity.
template <>
struct MinimalFilter<3, 2> : MinimalFilterSize<3, 2> {
  template <typename V>
  static void Source(V* d, int step) {
    const V d1 = d[step], d2 = d[2 * step];
    d[0] = d[0] - d2;
    d[step] = d1 + d2;
    d[2 * step] = d2 - d1;
    d[3 * step] = d[3 * step] - d1;
  }
  template <typename V>
  static void Filter(V* g, int step) {
    const V g0 = g[0], g1 = g[step];
    g[step] = (g0 + g1) * 0.5f;
    g[2 * step] = (g0 - g1) * 0.5f;
    g[3 * step] = g1;
  }
  template <typename V>
  static void Result(V* m, int step) {
    const V sum = m[step] + m[2 * step];
    m[0] = m[0] + sum;
    m[step] = m[step] - m[2 * step];
    m[2 * step] = sum + m[3 * step];
  }
  template <typename V>
  static void ResultGrad(V* y, int step) {
    const V even = y[0] + y[2 * step], odd = y[step];
    y[3 * step] = y[2 * step];
    y[step] = even + odd;
    y[2 * step] = even - odd;
  }
  template <typename V>
  static void FilterGrad(V* t, int step) {
    const V even = t[step] + t[2 * step], odd = t[step] - t[2 * step];
    t[0] = t[0] + even * 0.5f;
    t[step] = t[3 * step] + odd * 0.5f;
  }
};

template <>
struct MinimalFilter<2, 3> : MinimalFilterSize<2, 3> {
  template <typename V>
  static void Source(V* d, int step) {
    const V d1 = d[step], d2 = d[2 * step];
    d[0] = d[0] - d2;
    d[step] = d1 + d2;
    d[2 * step] = d2 - d1;
    d[3 * step] = d1 - d[3 * step];
  }
  template <typename V>
  static void Filter(V* g, int step) {
    const V even = g[0] + g[2 * step], odd = g[step];
    g[3 * step] = g[2 * step];
    g[step] = (even + odd) * 0.5f;
    g[2 * step] = (even - odd) * 0.5f;
  }
  template <typename V>
  static void Result(V* m, int step) {
    const V m1 = m[step], m2 = m[2 * step];
    m[0] = m[0] + m1 + m2;
    m[step] = m1 - m2 - m[3 * step];
  }
  template <typename V>
  static void ResultGrad(V* y, int step) {
    const V y0 = y[0], y1 = y[step];
    y[step] = y0 + y1;
    y[2 * step] = y0 - y1;
    y[3 * step] = -y1;
  }
  template <typename V>
  static void FilterGrad(V* t, int step) {
    const V even = (t[step] + t[2 * step]) * 0.5f;
    t[step] = (t[step] - t[2 * step]) * 0.5f;
    t[0] = t[0] + even;
    t[2 * step] = even + t[3 * step];
  }
};

// One of the forms of an axis, picked at run time.
template <typename Visit>
inline void WithForm(const WinogradAxis& axis, const Visit& visit) {
  if (axis.taps == 3) {
    visit(MinimalFilter<2, 3>());
  } else if (axis.taps == 1) {
    visit(MinimalFilter<1, 1>());
  } else if (axis.outputs == 3) {
    visit(MinimalFilter<3, 2>());
  } else {
    visit(MinimalFilter<2, 2>());
  }
}

// The forms of two axes: elements of both lie in a block of rows of kInner.
template <typename F1, typename F2>
struct PlaneFilter {
  using Outer = F1;
  using Inner = F2;
  static constexpr int kInner = F2::kComponents;
  static constexpr int kComponents = F1::kComponents * kInner;
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_MINIMAL_FILTER_INL_H_
