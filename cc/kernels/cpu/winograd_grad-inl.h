// The filter gradient with fewer multiplications. Step 6 of the path of a call.
//
// A tile of minimal filtering (winograd-inl.h) computes y = A (G g . B d) from
// taps g and source d. Its gradient passes the same transforms the other way:
//
//   dg = G' sum over tiles of (A' dy) . (B d),   ' the transposed matrix
//
// so that a tile of F(3 x 3, 2 x 2) takes 16 products for 36 here, too. Each
// component is a matrix product: out_channels x in_channels, summed over tiles.
// A work unit owns a block of both, of one class of one phase: it transforms
// both operands a chunk of tiles at a time, and its sums back at the end.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_GRAD_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_GRAD_INL_H_

template <typename T>
class WinogradGrad : WinogradTiles<T> {
  using Base = WinogradTiles<T>;
  using Base::blocks_;
  using Base::gather_;
  using Base::phase_;
  using Base::plan_;
  using Base::rank_;
  using Base::tensor_;
  using Base::zeros_;
  using typename Base::A;
  using typename Base::Tile;

 public:
  WinogradGrad(const FilterGradCall<T>& call, A* partial, char* scratch,
               std::atomic<bool>* not_finite)
      : Base(call.plan, call.input),
        output_grad_(call.output_grad),
        grad_(call.plan.winograd_grad),
        steps_(call.plan),
        out_(call.plan.geometry.out_channels),
        in_(call.plan.geometry.in_channels),
        filter_elements_(NumElements(call.plan.geometry.FilterDims())),
        partial_(partial),
        scratch_(scratch),
        not_finite_(not_finite) {}

  void RunUnit(int64_t unit, int worker) {
    SetScratch(worker);
    const auto take = [&unit](int64_t count) {
      const int64_t index = unit % count;
      unit /= count;
      return index;
    };
    first_row_ = take(grad_.row_blocks) * grad_.row_block;
    first_column_ = take(grad_.column_blocks) * grad_.column_block;
    class_ = take(grad_.classes);
    this->SetPhase(take(plan_.phases));
    if (class_ >= phase_.classes) return;
    rows_ = std::min(grad_.row_block, out_ - first_row_);
    columns_ = std::min(grad_.column_block, in_ - first_column_);
    result_ = partial_ + unit * filter_elements_;
    const int64_t tiles = phase_.tiles * plan_.geometry.batch;
    const int64_t begin = tiles * unit / grad_.splits;
    const int64_t end = tiles * (unit + 1) / grad_.splits;
    RunTiles(begin, end);
  }

 private:
  void SetScratch(int worker) {
    A* p = reinterpret_cast<A*>(scratch_ + worker * plan_.scratch_bytes);
    left_ = p;
    right_ = left_ + blocks_.max_components * steps_.left;
    sums_ = right_ + blocks_.max_components * steps_.right;
    at_ = reinterpret_cast<int64_t*>(
        reinterpret_cast<char*>(left_) +
        RoundUp64(blocks_.max_components *
                  (steps_.left + steps_.right + steps_.sums) * sizeof(A)));
    zeros_ = reinterpret_cast<T*>(reinterpret_cast<char*>(at_) +
                                  RoundUp64(grad_.chunk * sizeof(int64_t)));
    const int64_t zeros = std::max(grad_.row_block, grad_.column_block);
    ahead_at_ = reinterpret_cast<int64_t*>(reinterpret_cast<char*>(zeros_) +
                                           RoundUp64(zeros * sizeof(A)));
    std::fill_n(zeros_, zeros, T{});
    for (int64_t t = 0; t < grad_.chunk; ++t) {
      at_[t] = t * blocks_.panel_columns;
    }
  }

  // The tiles [begin, end) of the phase.
  void RunTiles(int64_t begin, int64_t end) {
    if (begin == end) {
      std::fill_n(sums_, phase_.components * steps_.sums, A(0));
    }
    Tile at = this->TileAt(begin);
    for (int64_t first = begin; first < end; first += grad_.chunk) {
      const int64_t count = std::min(grad_.chunk, end - first);
      for (int64_t t = 0; t < count; ++t, this->Next(&at)) {
        TransformInput(at, t);
        TransformOutputGrad(at, t);
      }
      SetAhead(at, std::min(grad_.chunk, end - first - count));
      for (int64_t c = 0; c < phase_.components; ++c) {
        MultiplyComponent(c, count, first > begin);
      }
    }
    StoreSums();
  }

  // What the products of a chunk fetch on their way: the operands of the next
  // one, `tiles` from `at` on. Of the source a tile fetches as many positions
  // as it has results: the others are its neighbour's.
  void SetAhead(Tile at, int64_t tiles) {
    ahead_row_ = ahead_line_ = ahead_rows_ = 0;
    if (tiles <= 0) return;
    const int counts[3] = {phase_.axis[0]->outputs, phase_.axis[1]->outputs,
                           phase_.axis[2]->outputs};
    ahead_results_ = counts[0] * counts[1] * counts[2];
    ahead_rows_ = 2 * ahead_results_;
    int64_t offsets[2 * kWinogradResults];
    for (int64_t t = 0; t < grad_.chunk; ++t) {
      this->FindResults(at.batch, at.j, offsets);
      this->FindSources(class_, at.j, counts, offsets + ahead_results_);
      for (int64_t r = 0; r < ahead_rows_; ++r) {
        const int64_t batch =
            r < ahead_results_ ? 0 : at.batch * gather_.source.batch;
        // In steps of what is multiplied, which may be twice what is stored.
        ahead_at_[r * grad_.chunk + t] =
            offsets[r] < 0 ? 0 : (batch + offsets[r]) / (sizeof(A) / sizeof(T));
      }
      if (t + 1 < tiles) this->Next(&at);
    }
  }

  // The next cache line of all tiles that is still to be fetched: at
  // base + at[tile].
  struct Ahead {
    const A* base;
    const int64_t* at;
  };
  Ahead NextAhead(const A* otherwise) {
    if (ahead_row_ == ahead_rows_) return {otherwise, at_};
    constexpr int64_t kLine = 64 / sizeof(T);
    const bool results = ahead_row_ < ahead_results_;
    const T* first =
        results ? output_grad_ + first_row_ : tensor_ + first_column_;
    const Ahead ahead{reinterpret_cast<const A*>(first + ahead_line_ * kLine),
                      ahead_at_ + ahead_row_ * grad_.chunk};
    // A row that begins within a line ends within one more.
    const int64_t elements = (results ? rows_ : columns_) + kLine - 1;
    if (++ahead_line_ * kLine >= elements) {
      ahead_line_ = 0;
      ++ahead_row_;
    }
    return ahead;
  }

  // To right_, panel by panel of columns.
  void TransformInput(const Tile& at, int64_t tile) {
    const T* rows[kWinogradBlock];
    this->FindRows(class_, at.batch, at.j, first_column_, rows);
    const WinogradPlace<A> place{right_ + tile * blocks_.panel_columns,
                                 steps_.right_panel - blocks_.panel_columns,
                                 blocks_.vectors == 2};
    TransformStored<SourceTransform>(phase_, rows,
                                     static_cast<int>(phase_.components),
                                     columns_, place, steps_.right);
  }

  // To left_, the rows of a tile side by side.
  void TransformOutputGrad(const Tile& at, int64_t tile) {
    const T* rows[kWinogradResults];
    int64_t offsets[kWinogradResults];
    this->FindResults(at.batch, at.j, offsets);
    const int results = phase_.axis[0]->outputs * phase_.axis[1]->outputs *
                        phase_.axis[2]->outputs;
    for (int o = 0; o < results; ++o) {
      rows[o] =
          offsets[o] < 0 ? zeros_ : output_grad_ + offsets[o] + first_row_;
    }
    TransformStored<ResultGradTransform>(
        phase_, rows, results, rows_,
        WinogradPlace<A>{left_ + tile * steps_.left_tile}, steps_.left);
  }

  void MultiplyComponent(int64_t component, int64_t tiles, bool accumulate) {
    const A* left = left_ + component * steps_.left;
    A* sums = sums_ + component * steps_.sums;
    for (int64_t row = 0; row < rows_; row += blocks_.rows) {
      int tile_rows = blocks_.rows;
      while (SmallerTile(tile_rows) >= rows_ - row) {
        tile_rows = SmallerTile(tile_rows);
      }
      const A* right = right_ + component * steps_.right;
      for (int64_t c = 0; c < columns_; c += blocks_.panel_columns) {
        const int tile_vectors =
            columns_ - c <= kLanes<A> ? 1 : blocks_.vectors;
        const Ahead ahead = NextAhead(right);
        WithTile(tile_rows, tile_vectors, [&](auto fixed, auto vectors) {
          MultiplyPositions<A, fixed(), vectors()>(
              left, steps_.left_tile, right, at_, tiles, ahead.base, ahead.at,
              accumulate, sums + c, steps_.sums_row);
        });
        right += steps_.right_panel;
      }
      left += blocks_.rows;
      sums += blocks_.rows * steps_.sums_row;
    }
  }

  // Transforms the sums back to taps, and stores those that the class has.
  void StoreSums() {
    A* taps[kWinogradResults];
    FindTaps(taps);
    const int count =
        phase_.axis[0]->taps * phase_.axis[1]->taps * phase_.axis[2]->taps;
    Vec<A> check{};
    for (int64_t row = 0; row < rows_; ++row) {
      for (int64_t c = 0; c < columns_; c += blocks_.panel_columns) {
        const int64_t columns = std::min(blocks_.panel_columns, columns_ - c);
        A sums[kWinogradResults][2 * kLanes<A>];
        const int vectors = columns <= kLanes<A> ? 1 : blocks_.vectors;
        TransformComponents<FilterGradTransform>(
            phase_, sums_ + row * steps_.sums_row + c, steps_.sums, vectors,
            sums[0], 2 * kLanes<A>);
        for (int t = 0; t < count; ++t) {
          if (taps[t] == nullptr) continue;
          for (int v = 0; v < vectors; ++v) {
            const Vec<A> sum = Load(sums[t] + v * kLanes<A>);
            check += sum - sum;
          }
          std::memcpy(taps[t] + row * in_ + c, sums[t], columns * sizeof(A));
        }
      }
    }
    for (int i = 0; i < kLanes<A>; ++i) {
      if (check[i] != A(0)) not_finite_->store(true);
    }
  }

  // Where the block of each tap of the class begins in the result; nullptr
  // where the class has no such tap.
  void FindTaps(A** taps) const {
    int64_t offsets[3][3] = {};
    for (int a = 3 - rank_; a < 3; ++a) {
      const int own = a - (3 - rank_);
      const WinogradClass& of = phase_.ClassOf(class_, a);
      for (int t = 0; t < phase_.axis[a]->taps; ++t) {
        offsets[a][t] = of.filter_index[t] < 0
                            ? -1
                            : of.filter_index[t] * gather_.filter_step[own];
      }
    }
    for (int t0 = 0; t0 < phase_.axis[0]->taps; ++t0) {
      for (int t1 = 0; t1 < phase_.axis[1]->taps; ++t1) {
        for (int t2 = 0; t2 < phase_.axis[2]->taps; ++t2) {
          const bool inside =
              (offsets[0][t0] | offsets[1][t1] | offsets[2][t2]) >= 0;
          const int64_t tap = offsets[0][t0] + offsets[1][t1] + offsets[2][t2];
          *taps++ =
              inside ? result_ + (tap * out_ + first_row_) * in_ + first_column_
                     : nullptr;
        }
      }
    }
  }

  const T* output_grad_;
  const WinogradGradBlocks& grad_;
  const WinogradGradSteps steps_;
  const int64_t out_, in_;
  const int64_t filter_elements_;
  A* partial_;
  char* scratch_;
  std::atomic<bool>* not_finite_;

  // The unit at hand.
  int64_t class_ = 0, first_row_ = 0, first_column_ = 0;
  int64_t rows_ = 0, columns_ = 0;
  A* result_ = nullptr;
  A* left_ = nullptr;
  A* right_ = nullptr;
  A* sums_ = nullptr;
  int64_t* at_ = nullptr;
  int64_t* ahead_at_ = nullptr;
  int64_t ahead_row_ = 0, ahead_line_ = 0;
  int64_t ahead_rows_ = 0, ahead_results_ = 0;
};

// Returns false where a sum is not finite: the caller then computes the result
// again, exactly.
template <typename T>
bool RunWinogradGrad(const FilterGradCall<T>& call, char* shared, char* scratch,
                     const ParallelFor& parallel_for) {
  using A = Compute<T>;
  const int64_t splits = call.plan.winograd_grad.splits;
  const int64_t elements = NumElements(call.plan.geometry.FilterDims());
  const bool direct = kNative<T> && splits == 1;
  A* partial =
      direct ? reinterpret_cast<A*>(call.result) : reinterpret_cast<A*>(shared);
  std::atomic<bool> not_finite{false};
  const WinogradGrad<T> kernel(call, partial, scratch, &not_finite);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    WinogradGrad<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
  if (not_finite.load()) return false;
  if (direct) return true;
  parallel_for(elements, 1 << 14, [&](int64_t begin, int64_t end, int) {
    AddSplits<T>(partial, splits, elements, begin, end, call.result);
  });
  return true;
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_GRAD_INL_H_
