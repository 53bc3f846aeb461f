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

template <typename T>
class Winograd : WinogradTiles<T> {
  using Base = WinogradTiles<T>;
  using Base::blocks_;
  using Base::gather_;
  using Base::phase_;
  using Base::plan_;
  using Base::tensor_;
  using Base::zeros_;
  using typename Base::A;
  using typename Base::Tile;

 public:
  Winograd(const GatherCall<T>& call, const A* packed_filter, char* scratch,
           std::atomic<bool>* not_finite)
      : Base(call.plan, call.source),
        call_(call),
        packed_filter_(packed_filter),
        scratch_(scratch),
        not_finite_(not_finite),
        panel_columns_(blocks_.vectors * kLanes<A>),
        row_step_(blocks_.depth_block + kLanes<A>),
        stream_(StreamsVectors(call)) {}

  void RunUnit(int64_t unit, int worker) {
    SetScratch(worker);
    const int64_t panel_blocks =
        (blocks_.panels + blocks_.panel_block - 1) / blocks_.panel_block;
    first_panel_ = unit % panel_blocks * blocks_.panel_block;
    last_panel_ = std::min(first_panel_ + blocks_.panel_block, blocks_.panels);
    unit /= panel_blocks;
    const int64_t tile_blocks =
        (blocks_.max_tiles + blocks_.tile_block - 1) / blocks_.tile_block;
    this->SetPhase(blocks_.phases_first ? unit % plan_.phases
                                        : unit / tile_blocks);
    first_tile_ =
        (blocks_.phases_first ? unit / plan_.phases : unit % tile_blocks) *
        blocks_.tile_block;
    tiles_ = std::min(blocks_.tile_block,
                      phase_.tiles * plan_.geometry.batch - first_tile_);
    if (tiles_ <= 0) return;
    RunTiles();
  }

 private:
  // Tiles between the fetch of a tile's source and its transform.
  static constexpr int64_t kTilesAhead = 3;

  void SetScratch(int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    source_ = reinterpret_cast<A*>(p);
    p += RoundUp64(blocks_.tile_block * blocks_.max_components * row_step_ *
                   sizeof(A));
    products_ = reinterpret_cast<A*>(p);
    p += RoundUp64(blocks_.panel_block * blocks_.max_components *
                   blocks_.tile_block * panel_columns_ * sizeof(A));
    zeros_ = reinterpret_cast<T*>(p);
    std::fill(zeros_, zeros_ + blocks_.depth, T{});
  }

  // All tiles and panels of the unit.
  void RunTiles() {
    const int64_t depth = phase_.classes * blocks_.depth;
    for (int64_t begin = 0; begin < depth; begin += blocks_.depth_block) {
      const int64_t depths = std::min(blocks_.depth_block, depth - begin);
      Tile at = this->TileAt(first_tile_), ahead = at;
      for (int64_t t = 0; t < kTilesAhead; ++t) this->Next(&ahead);
      for (int64_t t = 0; t < tiles_;
           ++t, this->Next(&at), this->Next(&ahead)) {
        if (t + kTilesAhead < tiles_) FetchTile(ahead, begin, depths);
        TransformSourceTile(at, t, begin, depths);
      }
      for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
        for (int64_t c = 0; c < phase_.components; ++c) {
          MultiplyComponent(c, panel, begin, depths);
        }
      }
    }
    Vec<A> check{};
    Tile at = this->TileAt(first_tile_);
    for (int64_t t = 0; t < tiles_; ++t, this->Next(&at)) {
      StoreTile(at, t, &check);
    }
    if (stream_) FinishStreams();
    for (int i = 0; i < kLanes<A>; ++i) {
      if (check[i] != A(0)) not_finite_->store(true);
    }
  }

  // The source of a tile that is transformed soon: lines of a tile are short
  // pieces of memory, which no hardware sees coming. As many positions as it
  // has results: the others are its neighbour's.
  void FetchTile(const Tile& at, int64_t begin, int64_t depths) const {
    const int64_t index = begin / blocks_.depth;
    const int64_t d = begin - index * blocks_.depth;
    const int64_t count = std::min(depths, blocks_.depth - d);
    const int counts[3] = {phase_.axis[0]->outputs, phase_.axis[1]->outputs,
                           phase_.axis[2]->outputs};
    int64_t offsets[kWinogradResults];
    this->FindSources(index, at.j, counts, offsets);
    const T* source = tensor_ + at.batch * gather_.source.batch + d;
    for (int o = 0; o < counts[0] * counts[1] * counts[2]; ++o) {
      if (offsets[o] < 0) continue;
      for (int64_t i = 0; i < count; i += 64 / sizeof(T)) {
        __builtin_prefetch(source + offsets[o] + i, 0, 2);
      }
    }
  }

  // Transforms `depths` of the classes' depth for one tile: every component to
  // a row of its own.
  void TransformSourceTile(const Tile& at, int64_t tile, int64_t begin,
                           int64_t depths) {
    A* to = source_ + tile * row_step_;
    while (depths > 0) {
      const int64_t index = begin / blocks_.depth;
      const int64_t d = begin - index * blocks_.depth;
      const int64_t count = std::min(depths, blocks_.depth - d);
      const T* rows[kWinogradBlock];
      this->FindRows(index, at.batch, at.j, d, rows);
      TransformStored<SourceTransform>(
          phase_, rows, static_cast<int>(phase_.components),
          std::min(count, gather_.depth - d), WinogradPlace<A>{to},
          blocks_.tile_block * row_step_);
      begin += count;
      depths -= count;
      to += count;
    }
  }

  A* Products(int64_t component, int64_t panel) const {
    return products_ +
           ((panel - first_panel_) * blocks_.max_components + component) *
               blocks_.tile_block * panel_columns_;
  }

  void MultiplyComponent(int64_t component, int64_t panel, int64_t depth,
                         int64_t depths) {
    const A* filter = packed_filter_ + phase_.Panel(component, panel) +
                      depth * panel_columns_;
    const A* source = source_ + component * blocks_.tile_block * row_step_;
    A* products = Products(component, panel);
    const int64_t no_offset = 0;
    for (int64_t t = 0; t < tiles_;) {
      int tile_rows = blocks_.rows;
      while (SmallerTile(tile_rows) >= tiles_ - t) {
        tile_rows = SmallerTile(tile_rows);
      }
      const A* rows[16];
      A* to[16];
      for (int r = 0; r < tile_rows; ++r) {
        rows[r] = source + std::min(t + r, tiles_ - 1) * row_step_;
        to[r] = products + (t + r) * panel_columns_;
      }
      const TileRows<A> tile{to, 0, depth > 0};
      WithTile(tile_rows, blocks_.vectors, [&](auto fixed_rows, auto vectors) {
        MultiplyRows<A, fixed_rows(), vectors()>({rows}, &no_offset, 1, depths,
                                                 filter, tile);
      });
      t += tile_rows;
    }
  }

  // Transforms the products of one tile back, and stores its results.
  void StoreTile(const Tile& at, int64_t tile, Vec<A>* check) {
    int64_t offsets[kWinogradResults];
    this->FindResults(at.batch, at.j, offsets);
    if constexpr (kNative<T>) {
      if (phase_.axis[0]->components() == 1 && StoresVectors(call_)) {
        WithPlane(phase_, [&](auto plane) {
          StorePlane<decltype(plane)>(tile, offsets, check);
        });
        return;
      }
    }
    const int results = phase_.axis[0]->outputs * phase_.axis[1]->outputs *
                        phase_.axis[2]->outputs;
    const bool vectors = StoresVectors(call_);
    for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
      const int64_t column = panel * panel_columns_;
      const int64_t columns =
          std::min(panel_columns_, gather_.columns - column);
      A sums[kWinogradResults][2 * kLanes<A>];
      TransformComponents<ResultTransform>(
          phase_, Products(0, panel) + tile * panel_columns_,
          blocks_.tile_block * panel_columns_, blocks_.vectors, sums[0],
          2 * kLanes<A>);
      const bool whole = vectors && columns == panel_columns_;
      for (int o = 0; o < results; ++o) {
        if (offsets[o] < 0) continue;
        T* to = call_.result + offsets[o];
        for (int v = 0; v < blocks_.vectors; ++v) {
          const Vec<A> sum = Load(sums[o] + v * kLanes<A>);
          *check += sum - sum;
          if (whole) {
            StoreVector(call_, sum, column + v * kLanes<A>, stream_, to);
          }
        }
        if (!whole) StoreColumns(call_, sums[o], columns, column, to);
      }
    }
  }

  // The same from registers, without an outer axis: with few components the way
  // through memory would take as long as the transform.
  template <typename Plane>
  void StorePlane(int64_t tile, const int64_t* offsets, Vec<A>* check) {
    using InPlane = PlaneTransform<ResultTransform, Plane>;
    const int64_t step = blocks_.tile_block * panel_columns_;
    for (int64_t panel = first_panel_; panel < last_panel_; ++panel) {
      const int64_t column = panel * panel_columns_;
      const int64_t columns =
          std::min(panel_columns_, gather_.columns - column);
      for (int64_t v = 0; v < panel_columns_; v += kLanes<A>) {
        const A* products = Products(0, panel) + tile * panel_columns_ + v;
        Vec<A> block[Plane::kComponents];
#pragma GCC unroll 16
        for (int c = 0; c < Plane::kComponents; ++c) {
          block[c] = Load(products + c * step);
        }
        InPlane::Apply(block);
#pragma GCC unroll 16
        for (int o = 0; o < InPlane::kMakes; ++o) {
          if (offsets[o] < 0) continue;
          const Vec<A> sum = block[InPlane::To(o)];
          *check += sum - sum;
          T* to = call_.result + offsets[o];
          if (columns >= v + kLanes<A>) {
            StoreVector(call_, sum, column + v, stream_, to);
          } else if (columns > v) {
            A rest[kLanes<A>];
            Store(rest, sum);
            StoreColumns(call_, rest, columns - v, column + v, to);
          }
        }
      }
    }
  }

  const GatherCall<T>& call_;
  const A* packed_filter_;
  char* scratch_;
  std::atomic<bool>* not_finite_;
  const int64_t panel_columns_;
  const int64_t row_step_;  // of transformed rows; no power of two
  const bool stream_;

  // The unit at hand.
  int64_t first_tile_ = 0, tiles_ = 0, first_panel_ = 0, last_panel_ = 0;
  A* source_ = nullptr;
  A* products_ = nullptr;
};

// Returns false where a sum is not finite: the caller then computes the result
// again, exactly.
template <typename T>
bool RunWinograd(const GatherCall<T>& call, const Compute<T>* filter,
                 char* scratch, const ParallelFor& parallel_for) {
  std::atomic<bool> not_finite{false};
  const Winograd<T> kernel(call, filter, scratch, &not_finite);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    Winograd<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
  return !not_finite.load();
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_INL_H_
