// The filter of the winograd family in the transformed domain.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_PACK_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_PACK_INL_H_

template <typename T>
class WinogradFilter {
 public:
  using A = Compute<T>;

  explicit WinogradFilter(const GatherCall<T>& call)
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
    for (int64_t c = 0; c < phase_.classes; ++c) PackClass(c, panel, packed);
  }

 private:
  // Filter positions of a class, by tap; -1: none. Returns how many taps the
  // forms have.
  int FindFilterTaps(int64_t index, int64_t* filter_taps) const {
    int count = 0;
    for (int t0 = 0; t0 < phase_.axis[0]->taps; ++t0) {
      for (int t1 = 0; t1 < phase_.axis[1]->taps; ++t1) {
        for (int t2 = 0; t2 < phase_.axis[2]->taps; ++t2) {
          const int taps[3] = {t0, t1, t2};
          int64_t at = 0;
          for (int a = 0; a < 3 && at >= 0; ++a) {
            const int own = a - (3 - rank_);
            const int64_t i = phase_.ClassOf(index, a).filter_index[taps[a]];
            at = i < 0 ? -1 : own >= 0 ? at + i * gather_.filter_step[own] : at;
          }
          filter_taps[count++] = at;
        }
      }
    }
    return count;
  }

  void PackClass(int64_t index, int64_t panel, A* packed) {
    int64_t filter_taps[kWinogradResults];
    const int taps = FindFilterTaps(index, filter_taps);
    const int64_t first = panel * panel_columns_;
    const int64_t columns = std::min(panel_columns_, gather_.columns - first);
    constexpr int kDepth = kLanes<A>;
    A rows[kWinogradResults][kDepth * 2 * kLanes<A>];
    const A* row_pointers[kWinogradResults];
    for (int t = 0; t < taps; ++t) {
      row_pointers[t] = rows[t];
      std::fill_n(rows[t], kDepth * panel_columns_, A(0));
    }
    for (int64_t d = 0; d < blocks_.depth; d += kDepth) {
      for (int t = 0; t < taps; ++t) {
        if (filter_taps[t] < 0) continue;
        PackRows(call_.filter + filter_taps[t] * gather_.tap_stride +
                     d * gather_.depth_stride + first * gather_.column_stride,
                 columns, std::min<int64_t>(kDepth, gather_.depth - d),
                 rows[t]);
      }
      A* to = packed + phase_.Panel(0, panel) +
              (index * blocks_.depth + d) * panel_columns_;
      TransformVectors<FilterTransform>(phase_, row_pointers,
                                        kDepth * panel_columns_,
                                        WinogradPlace<A>{to}, phase_.columns);
    }
  }

  // Up to kLanes rows of the filter, by depth; zeros beyond.
  void PackRows(const T* from, int64_t columns, int64_t depth, A* to) const {
    if (columns < panel_columns_ || depth < kLanes<A>) {
      std::fill(to, to + kLanes<A> * panel_columns_, A(0));
    }
    if (gather_.depth_stride == 1) {
      return Transpose<T>(from, gather_.column_stride, columns, depth, to,
                          panel_columns_);
    }
    for (int64_t i = 0; i < depth; ++i) {
      WidenRow<T>(from + i * gather_.depth_stride, gather_.column_stride,
                  columns, to + i * panel_columns_);
    }
  }

  const GatherCall<T>& call_;
  const Gather& gather_;
  const WinogradBlocks& blocks_;
  const int rank_;
  const int64_t panel_columns_;
  WinogradPhase phase_;
};

template <typename T>
void PackWinograd(const GatherCall<T>& call, Compute<T>* packed,
                  const ParallelFor& parallel_for) {
  const WinogradFilter<T> filter(call);
  parallel_for(filter.PackUnits(), 1, [&](int64_t begin, int64_t end, int) {
    WinogradFilter<T> own = filter;
    for (int64_t unit = begin; unit < end; ++unit) own.Pack(unit, packed);
  });
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_PACK_INL_H_
