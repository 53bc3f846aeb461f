// The transforms of minimal filtering on rows of channels, for the forms of a
// phase: compiled once for each pair of forms of the inner two axes and each
// type that is computed with.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_TRANSFORMS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_TRANSFORMS_INL_H_

// Up to 4 components along each of 3 axes, and 3 results or taps.
inline constexpr int kWinogradBlock = 64;
inline constexpr int kWinogradResults = 27;

// What each transform takes and makes along one axis.
struct SourceTransform {
  template <typename F>
  static constexpr int kTakes = F::kComponents;
  template <typename F>
  static constexpr int kMakes = F::kComponents;
  template <typename F, typename V>
  static void Apply(V* v, int step) {
    F::Source(v, step);
  }
};
struct FilterTransform {
  template <typename F>
  static constexpr int kTakes = F::kTaps;
  template <typename F>
  static constexpr int kMakes = F::kComponents;
  template <typename F, typename V>
  static void Apply(V* v, int step) {
    F::Filter(v, step);
  }
};
struct ResultTransform {
  template <typename F>
  static constexpr int kTakes = F::kComponents;
  template <typename F>
  static constexpr int kMakes = F::kOutputs;
  template <typename F, typename V>
  static void Apply(V* v, int step) {
    F::Result(v, step);
  }
};
struct ResultGradTransform {
  template <typename F>
  static constexpr int kTakes = F::kOutputs;
  template <typename F>
  static constexpr int kMakes = F::kComponents;
  template <typename F, typename V>
  static void Apply(V* v, int step) {
    F::ResultGrad(v, step);
  }
};
struct FilterGradTransform {
  template <typename F>
  static constexpr int kTakes = F::kComponents;
  template <typename F>
  static constexpr int kMakes = F::kTaps;
  template <typename F, typename V>
  static void Apply(V* v, int step) {
    F::FilterGrad(v, step);
  }
};

// The same in the plane of two axes.
template <typename Transform, typename Plane>
struct PlaneTransform {
  using F1 = typename Plane::Outer;
  using F2 = typename Plane::Inner;
  static constexpr int kInnerTakes = Transform::template kTakes<F2>;
  static constexpr int kInnerMakes = Transform::template kMakes<F2>;
  static constexpr int kOuterMakes = Transform::template kMakes<F1>;
  static constexpr int kTakes = Transform::template kTakes<F1> * kInnerTakes;
  static constexpr int kMakes = kOuterMakes * kInnerMakes;

  // Where in the block an element lies that it takes or makes.
  static constexpr int From(int i) {
    return i / kInnerTakes * Plane::kInner + i % kInnerTakes;
  }
  static constexpr int To(int i) {
    return i / kInnerMakes * Plane::kInner + i % kInnerMakes;
  }
  template <typename V>
  static void Apply(V* block) {
#pragma GCC unroll 4
    for (int j = 0; j < kInnerTakes; ++j) {
      Transform::template Apply<F1>(block + j, Plane::kInner);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kOuterMakes; ++i) {
      Transform::template Apply<F2>(block + i * Plane::kInner, 1);
    }
  }
};

// Where element d of component 0 goes: side by side, or in panels of one or two
// vectors that lie `extra` further apart.
template <typename A>
struct WinogradPlace {
  A* to;
  int64_t extra = 0;
  bool wide = false;
  int64_t first = 0;

  A* At(int64_t d) const {
    constexpr int64_t kLanesOf = kLanes<A>;
    d += first;
    const int64_t panel = wide ? d / (2 * kLanesOf) : d / kLanesOf;
    return to + panel * extra + d;
  }
};

// The outer axis of all elements of a plane.
template <typename Transform, int kElements, typename V>
inline void TransformOuter(const WinogradAxis& outer, V* slices) {
  WithForm(outer, [&](auto form) {
    for (int i = 0; i < kElements; ++i) {
      Transform::template Apply<decltype(form)>(slices + i, kElements);
    }
  });
}

// `count` elements, in whole vectors, of each row that the transform takes.
// What it makes goes to place.At(element) + index * step.
template <typename Transform, typename Plane, typename A>
CT_NOINLINE void TransformPlanes(const WinogradAxis& outer,
                                 const A* const* rows, int64_t count,
                                 const WinogradPlace<A>& place, int64_t step) {
  using InPlane = PlaneTransform<Transform, Plane>;
  constexpr int kTakes = InPlane::kTakes;
  constexpr int kMakes = InPlane::kMakes;
  if (outer.components() == 1) {
    for (int64_t d = 0; d < count; d += kLanes<A>) {
      Vec<A> block[Plane::kComponents];
#pragma GCC unroll 16
      for (int i = 0; i < kTakes; ++i) {
        block[InPlane::From(i)] = Load(rows[i] + d);
      }
      InPlane::Apply(block);
      A* to = place.At(d);
#pragma GCC unroll 16
      for (int i = 0; i < kMakes; ++i, to += step) {
        Store(to, block[InPlane::To(i)]);
      }
    }
    return;
  }
  int takes = 0, makes = 0;
  WithForm(outer, [&](auto form) {
    takes = Transform::template kTakes<decltype(form)>;
    makes = Transform::template kMakes<decltype(form)>;
  });
  for (int64_t d = 0; d < count; d += kLanes<A>) {
    Vec<A> slices[4 * kMakes];
    for (int slice = 0; slice < takes; ++slice) {
      Vec<A> block[Plane::kComponents];
#pragma GCC unroll 16
      for (int i = 0; i < kTakes; ++i) {
        block[InPlane::From(i)] = Load(rows[slice * kTakes + i] + d);
      }
      InPlane::Apply(block);
#pragma GCC unroll 16
      for (int i = 0; i < kMakes; ++i) {
        slices[slice * kMakes + i] = block[InPlane::To(i)];
      }
    }
    TransformOuter<Transform, kMakes>(outer, slices);
    A* to = place.At(d);
    for (int i = 0; i < makes * kMakes; ++i, to += step) Store(to, slices[i]);
  }
}

// Calls visit(plane) with the forms of the inner two axes.
template <typename Visit>
inline void WithPlane(const WinogradPhase& phase, const Visit& visit) {
  WithForm(*phase.axis[1], [&](auto f1) {
    WithForm(*phase.axis[2], [&](auto f2) {
      visit(PlaneFilter<decltype(f1), decltype(f2)>());
    });
  });
}

template <typename Transform, typename A>
inline void TransformVectors(const WinogradPhase& phase, const A* const* rows,
                             int64_t count, const WinogradPlace<A>& place,
                             int64_t step) {
  WithPlane(phase, [&](auto plane) {
    TransformPlanes<Transform, decltype(plane)>(*phase.axis[0], rows, count,
                                                place, step);
  });
}

// The same of rows as they are stored, `takes` of them and of any length; zeros
// fill the last vector. What is not native is widened piece by piece: a second
// set of transforms would take minutes to compile, for a few per cent.
template <typename Transform, typename T>
void TransformStored(const WinogradPhase& phase, const T* const* rows,
                     int takes, int64_t count, WinogradPlace<Compute<T>> place,
                     int64_t step) {
  using A = Compute<T>;
  constexpr int64_t kPiece = 64;
  int64_t done = 0;
  if constexpr (kNative<T>) {
    done = count / kLanes<A> * kLanes<A>;
    TransformVectors<Transform>(phase, rows, done, place, step);
  }
  A wide[kWinogradBlock * kPiece];
  const A* pieces[kWinogradBlock];
  for (; done < count; done += kPiece) {
    const int64_t length = std::min(kPiece, count - done);
    const int64_t padded = (length + kLanes<A> - 1) / kLanes<A> * kLanes<A>;
    for (int i = 0; i < takes; ++i) {
      A* piece = wide + i * kPiece;
      WidenRow<T>(rows[i] + done, 1, length, piece);
      std::fill(piece + length, piece + padded, A(0));
      pieces[i] = piece;
    }
    WinogradPlace<A> at = place;
    at.first += done;
    TransformVectors<Transform>(phase, pieces, padded, at, step);
  }
}

// `vectors` vectors of components that lie `from_step` apart. What the
// transform makes of them goes to `to`, `to_step` apart.
template <typename Transform, typename A>
inline void TransformComponents(const WinogradPhase& phase, const A* from,
                                int64_t from_step, int vectors, A* to,
                                int64_t to_step) {
  const A* rows[kWinogradBlock];
  for (int64_t c = 0; c < phase.components; ++c) {
    rows[c] = from + c * from_step;
  }
  TransformVectors<Transform>(phase, rows, vectors * kLanes<A>,
                              WinogradPlace<A>{to}, to_step);
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_TRANSFORMS_INL_H_
