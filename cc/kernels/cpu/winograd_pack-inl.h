// The filter of the winograd family in the transformed domain.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_PACK_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_PACK_INL_H_

class WinogradFilter {
 public:
  using A = float;

  explicit WinogradFilter(const GatherCall<A>& call)
      : call_(call),
        gather_(call.plan.gather),
        blocks_(call.plan.winograd),
        rank_(call.plan.geometry.rank),
        panel_columns_(blocks_.vectors * kLanes<A>) {}

  int64_t PackUnits() const { return call_.plan.phases * blocks_.panels; }

  // Transforms one panel of one phase.
  void Pack(int64_t unit, A* packed) {
    phase_ = WinogradPhase(blocks_, rank_, unit / blocks_.panels);
    const int64_t panel = unit % blocks_.panels;
    WithForm(*phase_.axis[1], [&](auto f1) {
      WithForm(*phase_.axis[2], [&](auto f2) {
        for (int64_t c = 0; c < phase_.classes; ++c) {
          PackClass<PlaneFilter<decltype(f1), decltype(f2)>>(c, panel, packed);
        }
      });
    });
  }

 private:
  // Filter positions of a class, by tap in the order of the block; -1: none.
  void FindFilterTaps(int64_t index, int64_t* filter_taps) const {
    for (int t = 0; t < 27; ++t) {
      filter_taps[t] = 0;
      for (int a = 2, rest = t; a >= 0; --a, rest /= 3) {
        const int own = a - (3 - rank_);
        const int64_t i = phase_.ClassOf(index, a).filter_index[rest % 3];
        if (i < 0 || filter_taps[t] < 0) {
          filter_taps[t] = -1;
        } else if (own >= 0) {
          filter_taps[t] += i * gather_.filter_step[own];
        }
      }
    }
  }

  template <typename Plane>
  void PackClass(int64_t index, int64_t panel, A* packed) {
    int64_t filter_taps[27];
    FindFilterTaps(index, filter_taps);
    const int64_t first = panel * panel_columns_;
    const int64_t columns = std::min(panel_columns_, gather_.columns - first);
    constexpr int kDepth = kLanes<A>;
    A rows[27][kDepth * 2 * kLanes<A>];
    for (int64_t d = 0; d < blocks_.depth; d += kDepth) {
      for (int t = 0; t < 27; ++t) {
        if (filter_taps[t] < 0) continue;
        PackRows(call_.filter + filter_taps[t] * gather_.tap_stride +
                     d * gather_.depth_stride + first * gather_.column_stride,
                 columns, std::min<int64_t>(kDepth, gather_.depth - d),
                 rows[t]);
      }
      A* to = packed + phase_.Panel(0, panel) +
              (index * blocks_.depth + d) * panel_columns_;
      for (int64_t i = 0; i < kDepth * panel_columns_; i += kLanes<A>) {
        PackVector<Plane>(filter_taps, rows, i, to + i);
      }
    }
  }

  // Up to kLanes rows of the filter, by depth; zeros beyond.
  void PackRows(const A* from, int64_t columns, int64_t depth, A* to) const {
    if (columns < panel_columns_ || depth < kLanes<A>) {
      std::fill(to, to + kLanes<A> * panel_columns_, A(0));
    }
    if (gather_.depth_stride == 1) {
      return Transpose(from, gather_.column_stride, columns, depth, to,
                       panel_columns_);
    }
    for (int64_t i = 0; i < depth; ++i) {
      WidenRow<A>(from + i * gather_.depth_stride, gather_.column_stride,
                  columns, to + i * panel_columns_);
    }
  }

  template <typename Plane>
  void PackVector(const int64_t* filter_taps,
                  const A (*rows)[kLanes<A> * 2 * kLanes<A>], int64_t i,
                  A* to) const {
    const int64_t component_step = phase_.columns;
    Vec<A> slices[4][Plane::kComponents];
    for (int t0 = 0; t0 < phase_.axis[0]->taps; ++t0) {
      Vec<A> block[Plane::kComponents];
#pragma GCC unroll 4
      for (int t1 = 0; t1 < Plane::kOuterTaps; ++t1) {
#pragma GCC unroll 4
        for (int t2 = 0; t2 < Plane::kInnerTaps; ++t2) {
          const int t = t0 * 9 + t1 * 3 + t2;
          block[t1 * Plane::kInner + t2] =
              filter_taps[t] < 0 ? Vec<A>{} : Load(rows[t] + i);
        }
      }
      Plane::Filter(block);
      for (int c = 0; c < Plane::kComponents; ++c) slices[t0][c] = block[c];
    }
    WithForm(*phase_.axis[0], [&](auto f0) {
      for (int c = 0; c < Plane::kComponents; ++c) {
        f0.Filter(&slices[0][c], Plane::kComponents);
        for (int i0 = 0; i0 < f0.kComponents; ++i0) {
          Store(to + (i0 * Plane::kComponents + c) * component_step,
                slices[i0][c]);
        }
      }
    });
  }

  const GatherCall<A>& call_;
  const Gather& gather_;
  const WinogradBlocks& blocks_;
  const int rank_;
  const int64_t panel_columns_;
  WinogradPhase phase_;
};

inline void PackWinograd(const GatherCall<float>& call, float* packed,
                         const ParallelFor& parallel_for) {
  const WinogradFilter filter(call);
  parallel_for(filter.PackUnits(), 1, [&](int64_t begin, int64_t end, int) {
    WinogradFilter own = filter;
    for (int64_t unit = begin; unit < end; ++unit) own.Pack(unit, packed);
  });
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_PACK_INL_H_
