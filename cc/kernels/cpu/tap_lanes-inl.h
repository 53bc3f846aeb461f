// Family 7: lanes run along taps x channels of the result. Step 6 of the path
// of a call.
//
// For few channels and many taps. A source position is multiplied by the whole
// filter at once, a matrix product without any border: rows are source
// positions, columns are [outer tap][inner tap][channel]. The products of one
// outer tap then add, as one run, to a line of the result. A work unit owns a
// block of result lines and holds them as sums until they are complete, so
// nothing is shared and the order of the sums is that of the plan.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_TAP_LANES_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_TAP_LANES_INL_H_

template <typename T>
class TapLanes {
 public:
  using A = Compute<T>;

  TapLanes(const GatherCall<T>& call, const A* packed_filter, char* scratch)
      : call_(call),
        plan_(call.plan),
        geometry_(call.plan.geometry),
        gather_(call.plan.gather),
        blocks_(call.plan.tap_lanes),
        packed_filter_(packed_filter),
        scratch_(scratch),
        inner_(call.plan.geometry.rank - 1),
        panel_columns_(blocks_.vectors * kLanes<A>),
        run_(blocks_.run_taps * blocks_.columns),
        line_columns_(geometry_.axis[inner_].filter * blocks_.columns),
        lines_(call) {}

  int64_t PackUnits() const {
    return geometry_.groups * blocks_.column_blocks * blocks_.panels;
  }

  // Packs one panel: [depth][columns of the panel], zeros beyond the last
  // column of the filter.
  void Pack(int64_t unit, A* packed) const {
    const int64_t panel = unit % blocks_.panels;
    const int64_t block = unit / blocks_.panels % blocks_.column_blocks;
    const int64_t group = unit / blocks_.panels / blocks_.column_blocks;
    const int64_t total = gather_.filter_taps * blocks_.columns;
    const int64_t width = PanelWidth(panel);
    A* to = packed + unit / blocks_.panels * BlockElements() +
            panel * panel_columns_ * gather_.depth;
    for (int64_t c = 0; c < width;) {
      const int64_t q = panel * panel_columns_ + c;
      const int64_t channel = block * blocks_.columns + q % blocks_.columns;
      const int64_t left =
          std::min({width - c, blocks_.columns - q % blocks_.columns,
                    gather_.columns - channel});
      if (q >= total || left <= 0) {
        for (int64_t d = 0; d < gather_.depth; ++d) to[d * width + c] = A(0);
        ++c;
        continue;
      }
      const T* from = call_.filter + q / blocks_.columns * gather_.tap_stride +
                      group * gather_.group_stride +
                      channel * gather_.column_stride;
      Transpose(from, gather_.column_stride, left, gather_.depth, to + c,
                width);
      c += left;
    }
  }

  // Computes one unit: a block of result lines of some channels of one group.
  void RunUnit(int64_t unit, int worker) {
    SetScratch(worker);
    lines_.SetUnit(unit);
    lines_.Start();
    VisitSource();
    lines_.Store();
  }

 private:
  // Rows of a register tile: with more, their addresses leave the registers.
  // Two vectors: 266 against 256 of 273 GFLOP/s on a Zen 5 core.
  static constexpr int kWideRows = std::min(kTileRows, 8);

  // Source positions [x, x + count) of one line, as rows [row, row + count) of
  // the product; filter positions [first, last) along the outer axes reach the
  // unit's lines from there.
  struct Segment {
    int64_t source_offset, x, row, count;
    std::array<int64_t, kMaxRank> position, first, last;
  };
  static_assert(sizeof(Segment) == TapLanesBlocks::kSegmentBytes);

  // Products of an outer tap, transposed, and the sums of the line that it
  // leads to.
  struct Visit {
    const A* products;
    A* sums;
  };

  int64_t PanelWidth(int64_t panel) const {
    const int64_t left =
        gather_.filter_taps * blocks_.columns - panel * panel_columns_;
    return left <= kLanes<A> ? kLanes<A> : panel_columns_;
  }

  // Of the packed filter, per block of columns and group.
  int64_t BlockElements() const {
    return ((blocks_.panels - 1) * panel_columns_ +
            PanelWidth(blocks_.panels - 1)) *
           gather_.depth;
  }

  void SetScratch(int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    A* lines = reinterpret_cast<A*>(p);
    p += RoundUp64((blocks_.lines * blocks_.line + kLanes<A>)*sizeof(A));
    products_ = reinterpret_cast<A*>(p);
    p += RoundUp64((blocks_.row_step * blocks_.panel_block * panel_columns_ +
                    kLanes<A>)*sizeof(A));
    transposed_ = reinterpret_cast<A*>(p);
    p += RoundUp64(blocks_.transposed_elements * sizeof(A));
    lines_.SetScratch(lines, transposed_);
    rows_ = reinterpret_cast<const A**>(p);
    sums_ = reinterpret_cast<A**>(p) + blocks_.row_block + 16;
    p += RoundUp64(2 * (blocks_.row_block + 16) * 8);
    segments_ = reinterpret_cast<Segment*>(p);
    p += RoundUp64(blocks_.row_block * sizeof(Segment));
    visits_ = reinterpret_cast<Visit*>(p);
    p += RoundUp64(blocks_.outer_taps * sizeof(Visit));
    needed_ = reinterpret_cast<bool*>(p);
    p += RoundUp64(blocks_.panels);
    converted_ = reinterpret_cast<A*>(p);
  }

  // All source positions that reach the unit, in blocks of rows.
  void VisitSource() {
    std::array<int64_t, kMaxRank> first{}, last{}, i{};
    for (int a = 0; a <= inner_; ++a) {
      lines_.SourceRange(a, &first[a], &last[a]);
      if (first[a] >= last[a]) return;
      i[a] = first[a];
    }
    rows_taken_ = segments_taken_ = 0;
    while (true) {
      Segment segment;
      segment.source_offset =
          lines_.batch() * gather_.source.batch +
          lines_.group() * gather_.depth * gather_.source.channel;
      bool reaches = true;
      for (int a = 0; a < inner_; ++a) {
        segment.position[a] = i[a];
        lines_.TapRange(a, i[a], &segment.first[a], &segment.last[a]);
        reaches = reaches && segment.first[a] < segment.last[a];
        segment.source_offset += i[a] * gather_.source.axis[a];
      }
      for (int64_t x = first[inner_]; reaches && x < last[inner_];) {
        segment.x = x;
        segment.row = rows_taken_;
        segment.count =
            std::min(last[inner_] - x, blocks_.row_block - rows_taken_);
        segments_[segments_taken_++] = segment;
        rows_taken_ += segment.count;
        x += segment.count;
        if (rows_taken_ == blocks_.row_block) FlushRows();
      }
      int a = inner_ - 1;
      while (a >= 0 && ++i[a] == last[a]) i[a] = first[a], --a;
      if (a < 0) break;
    }
    if (rows_taken_ > 0) FlushRows();
  }

  // Multiplies the rows taken and adds their products to the lines.
  void FlushRows() {
    PointToRows();
    MarkPanels();
    for (int64_t panel = 0; panel < blocks_.panels;
         panel += blocks_.panel_block) {
      const int64_t end = std::min(panel + blocks_.panel_block, blocks_.panels);
      if (!MultiplyPanels(panel, end)) continue;
      if (blocks_.transposed) {
        TransposeProducts(panel, end);
        AddTransposed();
      } else {
        AddRuns(panel, end);
      }
    }
    rows_taken_ = segments_taken_ = 0;
  }

  void PointToRows() {
    const int64_t step = gather_.source.axis[inner_];
    for (int64_t s = 0; s < segments_taken_; ++s) {
      const Segment& segment = segments_[s];
      const T* from = call_.source + segment.source_offset + segment.x * step;
      if (kNative<T> && !blocks_.convert_source) {
        for (int64_t r = 0; r < segment.count; ++r) {
          rows_[segment.row + r] = reinterpret_cast<const A*>(from + r * step);
        }
        continue;
      }
      A* to = converted_ + segment.row * gather_.depth;
      for (int64_t r = 0; r < segment.count; ++r) {
        rows_[segment.row + r] = to + r * gather_.depth;
      }
      if (step == 1 && gather_.source.channel != 1) {
        Transpose(from, gather_.source.channel, gather_.depth, segment.count,
                  to, gather_.depth);
        continue;
      }
      for (int64_t r = 0; r < segment.count; ++r) {
        WidenRow<T>(from + r * step, gather_.source.channel, gather_.depth,
                    to + r * gather_.depth);
      }
    }
    for (int r = 0; r < blocks_.rows; ++r) {
      rows_[rows_taken_ + r] = rows_[rows_taken_ - 1];
    }
  }

  // Calls visit(outer_tap, line) for the outer taps that lead from the segment
  // to a line of the unit, in ascending order.
  template <typename Visitor>
  void VisitTaps(const Segment& segment, const Visitor& visit) const {
    std::array<int64_t, kMaxRank> k = segment.first;
    while (true) {
      int64_t tap = 0;
      for (int a = 0; a < inner_; ++a) {
        tap = tap * geometry_.axis[a].filter + k[a];
      }
      visit(tap, lines_.LineOf(segment.position, k));
      int a = inner_ - 1;
      while (a >= 0 && ++k[a] == segment.last[a]) k[a] = segment.first[a], --a;
      if (a < 0) return;
    }
  }

  // Of those, the ones from `begin` to `end`: a long filter has many more.
  template <typename Visitor>
  void VisitTaps(const Segment& segment, int64_t begin, int64_t end,
                 const Visitor& visit) const {
    for (int64_t tap = begin; tap < end; ++tap) {
      std::array<int64_t, kMaxRank> k{};
      bool reaches = true;
      int64_t index = tap;
      for (int a = inner_ - 1; a >= 0; --a) {
        k[a] = index % geometry_.axis[a].filter;
        index /= geometry_.axis[a].filter;
        reaches = reaches && k[a] >= segment.first[a] && k[a] < segment.last[a];
      }
      if (reaches) visit(tap, lines_.LineOf(segment.position, k));
    }
  }

  void MarkPanels() {
    std::fill(needed_, needed_ + blocks_.panels, false);
    for (int64_t s = 0; s < segments_taken_; ++s) {
      VisitTaps(segments_[s], [&](int64_t tap, int64_t) {
        const int64_t first = tap * line_columns_ / panel_columns_;
        const int64_t last = ((tap + 1) * line_columns_ - 1) / panel_columns_;
        std::fill(needed_ + first, needed_ + last + 1, true);
      });
    }
  }

  // What a register tile fetches of the rows that follow while it multiplies:
  // twelve rows read side by side are more than a core's own prefetching keeps
  // up with, and what is fetched between tiles kept the next one waiting. call:
  // of `calls` tiles that share the rows out.
  RowsAhead<A> Ahead(int64_t call, int64_t calls) {
    next_row_ = rows_[rows_taken_ - 1] + gather_.source.axis[inner_];
    const int64_t step = std::min<int64_t>(
        (rows_taken_ * static_cast<int64_t>(sizeof(A)) + calls - 1) / calls,
        64);
    return {&next_row_, 0, call * gather_.depth * step, step};
  }

  // products[row][column] of the panels [panel, end) that are needed; false
  // where none is.
  bool MultiplyPanels(int64_t panel, int64_t end) {
    const int64_t row_step = (end - panel) * panel_columns_;
    for (int64_t r = 0; r < rows_taken_ + blocks_.rows; ++r) {
      sums_[r] = products_ + std::min(r, rows_taken_ - 1) * row_step;
    }
    bool any = false;
    const int64_t zero = 0;
    const A* filter = packed_filter_ + (lines_.group() * blocks_.column_blocks +
                                        lines_.block()) *
                                           BlockElements();
    const bool fetch = !blocks_.convert_source && panel == 0;
    const int64_t calls =
        (end - panel) * ((rows_taken_ + kWideRows - 1) / kWideRows);
    int64_t call = 0;
    for (int64_t p = panel; p < end; ++p) {
      if (!needed_[p]) continue;
      any = true;
      const int vectors = static_cast<int>(PanelWidth(p) / kLanes<A>);
      for (int64_t r = 0; r < rows_taken_; ++call) {
        int tile = kWideRows;
        while (SmallerTile(tile) >= rows_taken_ - r) tile = SmallerTile(tile);
        const RowsOfTaps<A> from{rows_ + r};
        const A* weights = filter + p * panel_columns_ * gather_.depth;
        const TileRows<A> to{sums_ + r, (p - panel) * panel_columns_};
        WithTile(tile, vectors, [&](auto rows, auto width) {
          constexpr int kRows = rows(), kVectors = width();
          if constexpr (kRows >= kWideRows && kVectors <= 2) {
            if (fetch) {
              return MultiplyRows<A, kRows, kVectors, false, true>(
                  from, &zero, 1, gather_.depth, weights, to,
                  Ahead(call, calls));
            }
          }
          MultiplyRows<A, kRows, kVectors>(from, &zero, 1, gather_.depth,
                                           weights, to);
        });
        r += tile;
      }
    }
    return any;
  }

  // Columns that the panels [panel, end) have in the filter.
  int64_t EndColumn(int64_t end) const {
    return std::min(end * panel_columns_,
                    gather_.filter_taps * blocks_.columns);
  }

  // products[row][column] -> transposed[column][row].
  void TransposeProducts(int64_t panel, int64_t end) {
    const int64_t row_step = (end - panel) * panel_columns_;
    const int64_t columns = EndColumn(end) - panel * panel_columns_;
    for (int64_t r = 0; r < rows_taken_; r += kLanes<A>) {
      for (int64_t c = 0; c < columns; c += kLanes<A>) {
        if (!needed_[panel + c / panel_columns_]) continue;
        TransposeSquare(products_ + r * row_step + c, row_step,
                        transposed_ + c * blocks_.row_step + r,
                        blocks_.row_step);
      }
    }
  }

  // Adds the transposed columns: to each row of sums those of all inner taps
  // that lead there, so that it is visited once.
  void AddTransposed() {
    for (int64_t s = 0; s < segments_taken_; ++s) {
      const Segment& segment = segments_[s];
      int64_t visits = 0;
      VisitTaps(segment, [&](int64_t tap, int64_t line) {
        visits_[visits++] = {
            transposed_ + tap * line_columns_ * blocks_.row_step + segment.row,
            lines_.sums() + line * blocks_.line};
      });
      int64_t residue = 0;
      for (const std::vector<ShiftedTap>& taps : blocks_.residues) {
        const int64_t count = taps.size();
        for (int64_t t = 0; t < count; t += 3) {
          const ShiftedTap* first = taps.data() + t;
          if (count - t == 1) AddShifted<1>(segment, first, visits, residue);
          if (count - t == 2) AddShifted<2>(segment, first, visits, residue);
          if (count - t >= 3) AddShifted<3>(segment, first, visits, residue);
        }
        residue += blocks_.columns * blocks_.phase;
      }
    }
  }

  // The sums from `residue` on of each line that is visited, in whole vectors
  // on their boundaries: no load meets a part of a store just before it.
  template <int kTaps>
  void AddShifted(const Segment& segment, const ShiftedTap* taps,
                  int64_t visits, int64_t residue) {
    constexpr int64_t kCount = kLanes<A>;
    const int64_t start =
        segment.x - lines_.first_position() / geometry_.axis[inner_].stride;
    const int64_t first = start + taps[0].shift;
    const int64_t last = start + taps[kTaps - 1].shift;
    const int64_t column_step = blocks_.columns * blocks_.row_step;
    for (int64_t j = first / kCount * kCount; j < last + segment.count;
         j += kCount) {
      typename RowMask<A>::Mask mask[kTaps];
      int64_t from[kTaps];
      for (int t = 0; t < kTaps; ++t) {
        const int64_t i = j - start - taps[t].shift;
        mask[t] = row_mask_.At(i, segment.count);
        // Where no lane is let through, what is read does not matter.
        from[t] = taps[t].filter_index * column_step +
                  std::clamp<int64_t>(i, 1 - kCount, segment.count - 1);
      }
      for (int64_t v = 0; v < visits; ++v) {
        A* sums = visits_[v].sums + residue + j;
        const A* products = visits_[v].products;
        for (int64_t c = 0; c < blocks_.columns; ++c) {
          Vec<A> sum = Load(sums);
#pragma GCC unroll 4
          for (int t = 0; t < kTaps; ++t) {
            sum += reinterpret_cast<Vec<A>>(
                reinterpret_cast<typename RowMask<A>::Mask>(
                    Load(products + from[t])) &
                mask[t]);
          }
          Store(sums, sum);
          sums += blocks_.phase;
          products += blocks_.row_step;
        }
      }
    }
  }

  // Adds the columns of the panels [panel, end) to the lines.
  void AddRuns(int64_t panel, int64_t end) {
    const int64_t first = panel * panel_columns_;
    const int64_t last =
        std::min(end * panel_columns_, gather_.filter_taps * blocks_.columns);
    const int64_t row_step = (end - panel) * panel_columns_;
    const AxisGeometry& axis = geometry_.axis[inner_];
    const int64_t to_step = axis.stride * blocks_.columns;
    const RunAdder<A> whole(run_);
    for (int64_t s = 0; s < segments_taken_; ++s) {
      const Segment& segment = segments_[s];
      const A* from = products_ + segment.row * row_step;
      const auto add = [&](int64_t tap, int64_t line) {
        A* to = lines_.sums() + line * blocks_.line +
                (segment.x * axis.stride - lines_.first_position()) *
                    blocks_.columns;
        for (int64_t k = 0; k < axis.filter; k += blocks_.run_taps) {
          const int64_t q = tap * line_columns_ + k * blocks_.columns;
          const int64_t low = std::max(q, first);
          const int64_t high = std::min(q + run_, last);
          if (low >= high) continue;
          A* run = to + k * axis.dilation * blocks_.columns + low - q;
          if (high - low == run_) {
            whole.Add(from + low - first, row_step, segment.count,
                      blocks_.passes, run, to_step);
          } else {
            RunAdder<A>(high - low)
                .Add(from + low - first, row_step, segment.count,
                     blocks_.passes, run, to_step);
          }
        }
      };
      if (panel == 0 && end == blocks_.panels) {
        VisitTaps(segment, add);
      } else {
        VisitTaps(segment, first / line_columns_, CeilDiv(last, line_columns_),
                  add);
      }
    }
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const ConvTransposeGeometry& geometry_;
  const Gather& gather_;
  const TapLanesBlocks& blocks_;
  const A* packed_filter_;
  char* scratch_;
  const int inner_;
  const int64_t panel_columns_;
  const int64_t run_;           // columns that add to adjacent sums
  const int64_t line_columns_;  // columns of one outer tap

  // The unit at hand.
  ResultLines<T> lines_;
  RowMask<A> row_mask_;
  int64_t rows_taken_ = 0, segments_taken_ = 0;
  A* products_ = nullptr;
  A* transposed_ = nullptr;
  const A** rows_ = nullptr;
  const A* next_row_ = nullptr;  // after those taken
  A** sums_ = nullptr;
  Segment* segments_ = nullptr;
  Visit* visits_ = nullptr;
  bool* needed_ = nullptr;
  A* converted_ = nullptr;
};

template <typename T>
void PackTapLanes(const GatherCall<T>& call, Compute<T>* packed,
                  const ParallelFor& parallel_for) {
  const TapLanes<T> kernel(call, nullptr, nullptr);
  parallel_for(kernel.PackUnits(), 1 + kernel.PackUnits() / 64,
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t unit = begin; unit < end; ++unit) {
                   kernel.Pack(unit, packed);
                 }
               });
}

template <typename T>
void RunTapLanes(const GatherCall<T>& call, const Compute<T>* packed_filter,
                 char* scratch, const ParallelFor& parallel_for) {
  const TapLanes<T> kernel(call, packed_filter, scratch);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    TapLanes<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_TAP_LANES_INL_H_
