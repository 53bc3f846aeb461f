// Family 5: fewer multiplications. Step 6 of the path of a call.
//
// A phase with r taps along an axis computes m neighbouring results from
// m + r - 1 source positions with m + r - 1 products instead of m * r
// (Toom-Cook; Winograd's minimal filtering F(m, r)). Per axis: transform source
// and filter, multiply component by component, transform back. In N dimensions
// the axes multiply: a 4 x 4 filter with stride 2 has phases of 2 x 2 taps, and
// F(2 x 2, 2 x 2) takes 9 products for 16. Each component is a matrix product
// of tiles x depth by depth x columns.
//
// Error: the transforms add and halve only, but a sum meets all operands of its
// tile, not just its own: rounding is bounded by those.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_INL_H_

// Up to 4 components along each of 3 axes; element (i0, i1, i2) of a block is
// at i0 * 16 + i1 * 4 + i2.
inline constexpr int kWinogradBlock = 64;

// The 1-D transforms, in place on elements `step` apart. V: a vector or scalar.
template <int kOutputs, int kTaps>
struct MinimalFilter;

template <>
struct MinimalFilter<1, 1> {
  template <typename V>
  static void Source(V*, int) {}
  template <typename V>
  static void Filter(V*, int) {}
  template <typename V>
  static void Result(V*, int) {}
};

template <>
struct MinimalFilter<2, 2> {
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
};

// Points 0, 1, -1 and infinity.
template <>
struct MinimalFilter<3, 2> {
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
};

template <>
struct MinimalFilter<2, 3> {
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
};

// One phase: its axes, moved to the last places of three.
struct WinogradPhase {
  WinogradAxis axis[3];
  int64_t components = 1;

  // Calls visit(MinimalFilter, first element, step) for every line of the block
  // along every axis. extent: elements of a line's neighbours along the axes
  // that come before, and after, `a`.
  template <typename Before, typename After, typename Visit>
  void ForEachLine(const Before& before, const After& after,
                   const Visit& visit) const {
    for (int a = 0; a < 3; ++a) {
      int extent[3];
      for (int b = 0; b < 3; ++b) {
        extent[b] = b == a ? 1 : (b < a ? before(axis[b]) : after(axis[b]));
      }
      const int step = a == 0 ? 16 : (a == 1 ? 4 : 1);
      const auto lines = [&](auto filter) {
        for (int i0 = 0; i0 < extent[0]; ++i0) {
          for (int i1 = 0; i1 < extent[1]; ++i1) {
            for (int i2 = 0; i2 < extent[2]; ++i2) {
              visit(filter, i0 * 16 + i1 * 4 + i2, step);
            }
          }
        }
      };
      if (axis[a].taps == 3) {
        lines(MinimalFilter<2, 3>());
      } else if (axis[a].taps == 2 && axis[a].outputs == 3) {
        lines(MinimalFilter<3, 2>());
      } else if (axis[a].taps == 2) {
        lines(MinimalFilter<2, 2>());
      }
    }
  }

  static int Components(const WinogradAxis& axis) { return axis.components(); }
  static int Taps(const WinogradAxis& axis) { return axis.taps; }
  static int Outputs(const WinogradAxis& axis) { return axis.outputs; }

  template <typename V>
  void TransformSource(V* block) const {
    ForEachLine(Components, Components, [&](auto filter, int first, int step) {
      filter.Source(block + first, step);
    });
  }
  template <typename V>
  void TransformFilter(V* block) const {
    ForEachLine(Components, Taps, [&](auto filter, int first, int step) {
      filter.Filter(block + first, step);
    });
  }
  template <typename V>
  void TransformResult(V* block) const {
    ForEachLine(Outputs, Components, [&](auto filter, int first, int step) {
      filter.Result(block + first, step);
    });
  }

  // Elements of the block that `extent` (Components, Taps or Outputs) spans.
  template <typename Extent>
  int Elements(const Extent& extent, int* elements) const {
    int count = 0;
    for (int i0 = 0; i0 < extent(axis[0]); ++i0) {
      for (int i1 = 0; i1 < extent(axis[1]); ++i1) {
        for (int i2 = 0; i2 < extent(axis[2]); ++i2) {
          elements[count++] = i0 * 16 + i1 * 4 + i2;
        }
      }
    }
    return count;
  }
};

class Winograd {
 public:
  using A = float;

  Winograd(const GatherCall<A>& call, const A* packed_filter, char* scratch,
           std::atomic<bool>* not_finite)
      : call_(call),
        plan_(call.plan),
        gather_(call.plan.gather),
        blocks_(call.plan.winograd),
        packed_filter_(packed_filter),
        scratch_(scratch),
        not_finite_(not_finite),
        rank_(call.plan.geometry.rank),
        panel_columns_(blocks_.vectors * kLanes<A>) {}

  int64_t PackUnits() const { return plan_.phases * blocks_.panels; }

  // Transforms one panel of one phase: [component][panel][depth][columns].
  void Pack(int64_t unit, A* packed) {
    SetPhase(unit / blocks_.panels);
    const int64_t panel = unit % blocks_.panels;
    const int64_t first = panel * panel_columns_;
    const int64_t columns = std::min(panel_columns_, gather_.columns - first);
    int taps[27], components[kWinogradBlock];
    const int tap_count = phase_.Elements(WinogradPhase::Taps, taps);
    phase_.Elements(WinogradPhase::Components, components);
    constexpr int kDepth = kLanes<A>;
    A rows[27 * kDepth * 2 * kLanes<A>] = {};
    for (int64_t d = 0; d < gather_.depth; d += kDepth) {
      for (int t = 0; t < tap_count; ++t) {
        const A* from = call_.filter + FilterTap(taps[t]) * gather_.tap_stride +
                        d * gather_.depth_stride +
                        first * gather_.column_stride;
        A* to = rows + t * kDepth * panel_columns_;
        if (gather_.depth_stride == 1) {
          Transpose(from, gather_.column_stride, columns, kDepth, to,
                    panel_columns_);
        } else {
          for (int i = 0; i < kDepth; ++i) {
            WidenRow<A>(from + i * gather_.depth_stride, gather_.column_stride,
                        columns, to + i * panel_columns_);
          }
        }
      }
      for (int64_t i = 0; i < kDepth * panel_columns_; i += kLanes<A>) {
        Vec<A> block[kWinogradBlock];
        for (int t = 0; t < tap_count; ++t) {
          block[taps[t]] = Load(rows + t * kDepth * panel_columns_ + i);
        }
        phase_.TransformFilter(block);
        for (int64_t c = 0; c < phase_.components; ++c) {
          Store(packed + Panel(c, panel) + d * panel_columns_ + i,
                block[components[c]]);
        }
      }
    }
  }

  void RunUnit(int64_t unit, int worker) {
    SetScratch(worker);
    const int64_t panel_blocks =
        (blocks_.panels + blocks_.panel_block - 1) / blocks_.panel_block;
    first_panel_ = unit % panel_blocks * blocks_.panel_block;
    last_panel_ = std::min(first_panel_ + blocks_.panel_block, blocks_.panels);
    unit /= panel_blocks;
    const int64_t tile_blocks =
        (blocks_.max_tiles + blocks_.tile_block - 1) / blocks_.tile_block;
    SetPhase(unit / tile_blocks);
    first_tile_ = unit % tile_blocks * blocks_.tile_block;
    tiles_ = std::min(blocks_.tile_block, phase_tiles_ - first_tile_);
    if (tiles_ <= 0) return;
    for (int64_t depth = 0; depth < gather_.depth;
         depth += blocks_.depth_block) {
      const int64_t depths =
          std::min(blocks_.depth_block, gather_.depth - depth);
      for (int64_t t = 0; t < tiles_; ++t)
        TransformSourceTile(t, depth, depths);
      for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
        for (int64_t c = 0; c < phase_.components; ++c) {
          MultiplyComponent(c, panel, depth, depths);
        }
      }
    }
    for (int64_t t = 0; t < tiles_; ++t) StoreTile(t);
  }

 private:
  void SetScratch(int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    source_ = reinterpret_cast<A*>(p);
    p += RoundUp64(blocks_.tile_block * blocks_.max_components *
                   blocks_.depth_block * sizeof(A));
    products_ = reinterpret_cast<A*>(p);
  }

  void SetPhase(int64_t index) {
    first_component_ = blocks_.first_component[index];
    phase_ = WinogradPhase();
    phase_tiles_ = plan_.geometry.batch;
    for (int a = rank_ - 1; a >= 0; --a) {
      const int64_t count = blocks_.axis[a].size();
      axis_phase_[a] = &gather_.axis[a].phases[index % count];
      phase_.axis[3 - rank_ + a] = blocks_.axis[a][index % count];
      index /= count;
      phase_.components *= phase_.axis[3 - rank_ + a].components();
      phase_tiles_ *= phase_.axis[3 - rank_ + a].tiles;
    }
  }

  // Filter position of the tap at this element of the block: taps count in
  // source order.
  int64_t FilterTap(int element) const {
    int64_t filter_tap = 0;
    for (int a = rank_ - 1; a >= 0; --a, element /= 4) {
      const int64_t offset = phase_.axis[3 - rank_ + a].lowest + element % 4;
      for (const Tap& tap : axis_phase_[a]->taps) {
        if (tap.source_offset != offset) continue;
        filter_tap += tap.filter_index * gather_.filter_step[a];
      }
    }
    return filter_tap;
  }

  int64_t Panel(int64_t component, int64_t panel) const {
    return ((first_component_ + component) * blocks_.panels + panel) *
           gather_.depth * panel_columns_;
  }

  // First position of each axis, and the batch, of a tile of the unit.
  int64_t TilePosition(int64_t tile, int64_t* j) const {
    int64_t rest = first_tile_ + tile;
    for (int a = rank_ - 1; a >= 0; --a) {
      const WinogradAxis& axis = phase_.axis[3 - rank_ + a];
      j[a] = rest % axis.tiles * axis.outputs;
      rest /= axis.tiles;
    }
    return rest;
  }

  void TransformSourceTile(int64_t tile, int64_t depth, int64_t depths) {
    int elements[kWinogradBlock];
    int64_t offsets[kWinogradBlock];
    phase_.Elements(WinogradPhase::Components, elements);
    int64_t j[3];
    const int64_t batch = TilePosition(tile, j);
    for (int64_t c = 0; c < phase_.components; ++c) {
      int64_t offset = batch * gather_.source.batch;
      int element = elements[c];
      for (int a = rank_ - 1; a >= 0; --a, element /= 4) {
        const int64_t i =
            j[a] + phase_.axis[3 - rank_ + a].lowest + element % 4;
        const bool inside = i >= 0 && i < gather_.axis[a].source_length;
        offset =
            inside && offset >= 0 ? offset + i * gather_.source.axis[a] : -1;
      }
      offsets[c] = offset;
    }
    A* to = source_ + tile * blocks_.depth_block;
    const int64_t component_step = blocks_.tile_block * blocks_.depth_block;
    for (int64_t d = 0; d < depths; d += kLanes<A>) {
      Vec<A> block[kWinogradBlock];
      for (int64_t c = 0; c < phase_.components; ++c) {
        block[elements[c]] = offsets[c] < 0
                                 ? Vec<A>{}
                                 : Load(call_.source + offsets[c] + depth + d);
      }
      phase_.TransformSource(block);
      for (int64_t c = 0; c < phase_.components; ++c) {
        Store(to + c * component_step + d, block[elements[c]]);
      }
    }
  }

  A* Products(int64_t component, int64_t panel) const {
    return products_ +
           ((panel - first_panel_) * blocks_.max_components + component) *
               blocks_.tile_block * panel_columns_;
  }

  void MultiplyComponent(int64_t component, int64_t panel, int64_t depth,
                         int64_t depths) {
    const A* filter =
        packed_filter_ + Panel(component, panel) + depth * panel_columns_;
    const A* source =
        source_ + component * blocks_.tile_block * blocks_.depth_block;
    A* products = Products(component, panel);
    const int64_t no_offset = 0;
    for (int64_t t = 0; t < tiles_;) {
      int tile_rows = blocks_.rows;
      while (SmallerTile(tile_rows) >= tiles_ - t) {
        tile_rows = SmallerTile(tile_rows);
      }
      const A* rows[16];
      for (int r = 0; r < tile_rows; ++r) {
        rows[r] = source + std::min(t + r, tiles_ - 1) * blocks_.depth_block;
      }
      WithTile(tile_rows, blocks_.vectors, [&](auto fixed_rows, auto vectors) {
        MultiplyRows<A, fixed_rows(), vectors()>(rows, &no_offset, 1, depths,
                                                 filter, depth > 0,
                                                 products + t * panel_columns_);
      });
      t += tile_rows;
    }
  }

  void StoreTile(int64_t tile) {
    int elements[kWinogradBlock], outputs[27];
    phase_.Elements(WinogradPhase::Components, elements);
    const int output_count = phase_.Elements(WinogradPhase::Outputs, outputs);
    int64_t j[3], offsets[27];
    const int64_t batch = TilePosition(tile, j);
    for (int o = 0; o < output_count; ++o) {
      offsets[o] = ResultOffset(batch, j, outputs[o]);
    }
    const int64_t component_step = blocks_.tile_block * panel_columns_;
    for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
      const A* products = Products(0, panel) + tile * panel_columns_;
      A sums[27 * 2 * kLanes<A>];
      for (int v = 0; v < blocks_.vectors; ++v) {
        Vec<A> block[kWinogradBlock];
        for (int64_t c = 0; c < phase_.components; ++c) {
          block[elements[c]] =
              Load(products + c * component_step + v * kLanes<A>);
        }
        phase_.TransformResult(block);
        for (int o = 0; o < output_count; ++o) {
          Store(sums + o * panel_columns_ + v * kLanes<A>, block[outputs[o]]);
        }
      }
      StorePanel(panel, output_count, offsets, sums);
    }
  }

  // Offset of one result of a tile, -1 where it is beyond the phase's end.
  int64_t ResultOffset(int64_t batch, const int64_t* j, int element) const {
    int64_t offset = batch * gather_.result.batch;
    for (int a = rank_ - 1; a >= 0; --a, element /= 4) {
      const int64_t position = j[a] + element % 4;
      if (position >= axis_phase_[a]->count) return -1;
      offset +=
          (axis_phase_[a]->first + position * gather_.axis[a].result_step) *
          gather_.result.axis[a];
    }
    return offset;
  }

  void StorePanel(int64_t panel, int outputs, const int64_t* offsets, A* sums) {
    const int64_t column = panel * panel_columns_;
    const int64_t columns = std::min(panel_columns_, gather_.columns - column);
    for (int o = 0; o < outputs; ++o) {
      if (offsets[o] < 0) continue;
      A* row = sums + o * panel_columns_;
      A zero(0);
      for (int64_t c = 0; c < columns; ++c) zero += row[c] - row[c];
      if (zero != A(0)) not_finite_->store(true);
      StoreColumns(call_, row, columns, column, call_.result + offsets[o]);
    }
  }

  const GatherCall<A>& call_;
  const Plan& plan_;
  const Gather& gather_;
  const WinogradBlocks& blocks_;
  const A* packed_filter_;
  char* scratch_;
  std::atomic<bool>* not_finite_;
  const int rank_;
  const int64_t panel_columns_;

  // The unit at hand.
  WinogradPhase phase_;
  std::array<const Phase*, 3> axis_phase_{};
  int64_t first_component_ = 0, phase_tiles_ = 0;
  int64_t first_tile_ = 0, tiles_ = 0, first_panel_ = 0, last_panel_ = 0;
  A* source_ = nullptr;
  A* products_ = nullptr;
};

inline void PackWinograd(const GatherCall<float>& call, float* packed,
                         const ParallelFor& parallel_for) {
  const Winograd kernel(call, nullptr, nullptr, nullptr);
  parallel_for(kernel.PackUnits(), 1, [&](int64_t begin, int64_t end, int) {
    Winograd own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.Pack(unit, packed);
  });
}

// Returns false where a sum is not finite: the caller then computes the result
// again, exactly.
inline bool RunWinograd(const GatherCall<float>& call, const float* filter,
                        char* scratch, const ParallelFor& parallel_for) {
  std::atomic<bool> not_finite{false};
  const Winograd kernel(call, filter, scratch, &not_finite);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    Winograd own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
  return !not_finite.load();
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_INL_H_
