// Family 2: lanes run along positions of the innermost axis. Step 6 of the path
// of a call.
//
// For few channels in the result, and for channels-first tensors. A unit is a
// block of positions of one line of the result (all phases of the innermost
// axis). The source lines that it reads are laid out once as windows [tap of
// the outer axes][depth][slot][position], zeros beyond the border; every tap of
// the innermost axis is then a shifted load, and the filter is read as it is.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_LANES_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_LANES_INL_H_

template <typename T>
class PixelLanes {
 public:
  using A = Compute<T>;

  PixelLanes(const GatherCall<T>& call, char* scratch)
      : call_(call),
        plan_(call.plan),
        gather_(call.plan.gather),
        blocks_(call.plan.pixel_lanes),
        scratch_(scratch),
        inner_(call.plan.geometry.rank - 1),
        slots_(std::max<int64_t>(1, blocks_.residues.size())) {}

  void RunUnit(int64_t unit, int worker) {
    SetScratch(worker);
    if (!SetUnit(unit)) return;
    std::fill(sums_, sums_ + phases() * blocks_.columns * blocks_.positions,
              A(0));
    touched_border_ = false;
    for (int64_t depth = 0; depth < gather_.depth;
         depth += blocks_.depth_block) {
      const int64_t depths =
          std::min(blocks_.depth_block, gather_.depth - depth);
      for (int64_t tap = 0; tap < outer_taps_; tap += blocks_.tap_block) {
        const int64_t found =
            FindTaps(tap, std::min(tap + blocks_.tap_block, outer_taps_));
        for (int64_t t = 0; t < found; ++t) FillWindow(t, depth, depths);
        for (int64_t t = 0; t < found; ++t) MultiplyTap(t, depth, depths);
      }
    }
    StoreUnit();
  }

 private:
  int64_t phases() const { return gather_.axis[inner_].phases.size(); }

  // A line of the source along the innermost axis, and the filter positions
  // that meet it.
  struct OuterTap {
    int64_t source_offset;
    int64_t filter_tap;
  };

  void SetScratch(int worker) {
    char* p = scratch_ + worker * plan_.scratch_bytes;
    windows_ = reinterpret_cast<A*>(p);
    p += RoundUp64(blocks_.tap_block * blocks_.depth_block * slots_ *
                   blocks_.window * sizeof(A));
    sums_ = reinterpret_cast<A*>(p);
    p += RoundUp64(std::max<int64_t>(1, phases()) * blocks_.columns *
                   blocks_.positions * sizeof(A));
    found_ = reinterpret_cast<OuterTap*>(p);
  }

  // Finds the unit's line, block and columns. False where the block is beyond
  // the line's end.
  bool SetUnit(int64_t unit) {
    const int64_t column_blocks =
        (gather_.columns + blocks_.columns - 1) / blocks_.columns;
    first_column_ = unit % column_blocks * blocks_.columns;
    columns_ = std::min(blocks_.columns, gather_.columns - first_column_);
    unit /= column_blocks;
    int64_t longest = 0;
    for (const Phase& phase : gather_.axis[inner_].phases)
      longest = std::max(longest, phase.count);
    const int64_t line_blocks =
        (longest + blocks_.positions - 1) / blocks_.positions;
    first_position_ = unit % line_blocks * blocks_.positions;
    unit /= line_blocks;
    outer_taps_ = 1;
    for (int a = inner_ - 1; a >= 0; --a) {
      const AxisPhases& axis = gather_.axis[a];
      int64_t length = 0;
      for (const Phase& phase : axis.phases) length += phase.count;
      const int64_t position = unit % length;
      unit /= length;
      line_.phase[a] = &axis.phases[position % axis.result_step];
      line_.j[a] = position / axis.result_step;
      outer_taps_ *= line_.phase[a]->taps.size();
    }
    group_ = unit % plan_.geometry.groups;
    line_.batch = unit / plan_.geometry.groups;
    return first_position_ < longest;
  }

  // Taps [first, last) of the outer axes that are inside the source.
  int64_t FindTaps(int64_t first, int64_t last) {
    int64_t found = 0;
    for (int64_t t = first; t < last; ++t) {
      int64_t rest = t;
      OuterTap outer{line_.batch * gather_.source.batch, 0};
      bool inside = true;
      for (int a = inner_ - 1; a >= 0 && inside; --a) {
        const Tap& tap =
            line_.phase[a]->taps[rest % line_.phase[a]->taps.size()];
        rest /= line_.phase[a]->taps.size();
        const int64_t i =
            line_.j[a] * gather_.axis[a].source_step + tap.source_offset;
        inside = i >= 0 && i < gather_.axis[a].source_length;
        outer.source_offset += i * gather_.source.axis[a];
        outer.filter_tap += tap.filter_index * gather_.filter_step[a];
      }
      if (inside) found_[found++] = outer;
    }
    return found;
  }

  A* Window(int64_t t) const {
    return windows_ + t * blocks_.depth_block * slots_ * blocks_.window;
  }

  // Copies one source line into its window: element e of slot s is source
  // position (first_position + lowest + e) * source_step + residue[s].
  void FillWindow(int64_t t, int64_t depth, int64_t depths) {
    const AxisPhases& axis = gather_.axis[inner_];
    for (int64_t slot = 0; slot < static_cast<int64_t>(blocks_.residues.size());
         ++slot) {
      const int64_t step = axis.source_step;
      const int64_t start =
          (first_position_ + blocks_.lowest) * step + blocks_.residues[slot];
      // Elements [begin, end) are inside the source.
      const int64_t begin =
          std::min(blocks_.window, start >= 0 ? 0 : (-start + step - 1) / step);
      const int64_t inside = (axis.source_length - start + step - 1) / step;
      const int64_t end = std::max(begin, std::min(blocks_.window, inside));
      touched_border_ |= begin > 0 || end < blocks_.window;
      const T* from = call_.source + found_[t].source_offset +
                      (group_ * gather_.depth + depth) * gather_.source.channel;
      const int64_t element_step = step * gather_.source.axis[inner_];
      A* to = Window(t) + slot * blocks_.window;
      const int64_t row_step = slots_ * blocks_.window;
      for (int64_t d = 0; d < depths; ++d) {
        std::fill(to + d * row_step, to + d * row_step + begin, A(0));
        std::fill(to + d * row_step + end, to + d * row_step + blocks_.window,
                  A(0));
      }
      if (begin == end) continue;
      from += (start + begin * step) * gather_.source.axis[inner_];
      if (gather_.source.channel != 1 || depths == 1) {
        for (int64_t d = 0; d < depths; ++d) {
          WidenRow<T>(from + d * gather_.source.channel, element_step,
                      end - begin, to + d * row_step + begin);
        }
      } else {
        Transpose(from, element_step, end - begin, depths, to + begin,
                  row_step);
      }
    }
  }

  // Reads depth-adjacent elements and writes position-adjacent ones, in blocks
  // that keep both sides in level-1 cache.
  static void Transpose(const T* from, int64_t element_step, int64_t count,
                        int64_t depths, A* to, int64_t row_step) {
    for (int64_t block = 0; block < depths; block += 16) {
      const int64_t block_end = std::min(block + 16, depths);
      for (int64_t e = 0; e < count; ++e) {
        for (int64_t d = block; d < block_end; ++d) {
          to[d * row_step + e] = ToCompute(from[e * element_step + d]);
        }
      }
    }
  }

  void MultiplyTap(int64_t t, int64_t depth, int64_t depths) {
    for (int64_t phase = 0; phase < phases(); ++phase) {
      for (const WindowTap& tap : blocks_.taps[phase]) {
        const A* window = Window(t) + tap.slot * blocks_.window + tap.shift;
        const T* filter =
            call_.filter +
            (found_[t].filter_tap + tap.filter_index) * gather_.tap_stride +
            group_ * gather_.group_stride + depth * gather_.depth_stride +
            first_column_ * gather_.column_stride;
        A* sums = sums_ + phase * blocks_.columns * blocks_.positions;
        MultiplyColumns(window, depths, filter, sums);
      }
    }
  }

  // All columns and positions of the unit for one tap, in register tiles.
  void MultiplyColumns(const A* window, int64_t depths, const T* filter,
                       A* sums) const {
    const int64_t vectors = blocks_.positions / kLanes<A>;
    int64_t c = 0;
    while (c < columns_) {
      const int64_t left = columns_ - c;
      const T* from = filter + c * gather_.column_stride;
      A* to = sums + c * blocks_.positions;
      if (left >= 4) {
        Tiles<4, 2>(window, depths, from, to, vectors);
        c += 4;
      } else if (left >= 2) {
        Tiles<2, 4>(window, depths, from, to, vectors);
        c += 2;
      } else {
        Tiles<1, 8>(window, depths, from, to, vectors);
        c += 1;
      }
    }
  }

  template <int kColumns, int kVectors>
  void Tiles(const A* window, int64_t depths, const T* filter, A* sums,
             int64_t vectors) const {
    int64_t v = 0;
    const auto run = [&](auto count) {
      MultiplyWindow<T, kColumns, count()>(
          window + v * kLanes<A>, slots_ * blocks_.window, depths, filter,
          gather_.depth_stride, gather_.column_stride, sums + v * kLanes<A>,
          blocks_.positions);
      v += count();
    };
    while (v + kVectors <= vectors)
      run(std::integral_constant<int, kVectors>());
    if constexpr (kVectors > 4) {
      if (v + 4 <= vectors) run(std::integral_constant<int, 4>());
    }
    if constexpr (kVectors > 2) {
      if (v + 2 <= vectors) run(std::integral_constant<int, 2>());
    }
    while (v < vectors) run(std::integral_constant<int, 1>());
  }

  void StoreUnit() {
    for (int64_t phase = 0; phase < phases(); ++phase) {
      line_.phase[inner_] = &gather_.axis[inner_].phases[phase];
      const int64_t end = std::min(line_.phase[inner_]->count,
                                   first_position_ + blocks_.positions);
      if (first_position_ >= end) continue;
      line_.j[inner_] = first_position_;
      T* first =
          call_.result + line_.ResultOffset(plan_) +
          (group_ * gather_.columns + first_column_) * gather_.result.channel;
      const int64_t step =
          gather_.axis[inner_].result_step * gather_.result.axis[inner_];
      for (int64_t c = 0; c < columns_; ++c) {
        A* sums = sums_ + (phase * blocks_.columns + c) * blocks_.positions;
        if (touched_border_ && AnyNaN(sums, end - first_position_) &&
            call_.NeedsRepair()) {
          RepairLine(sums, end - first_position_, first_column_ + c);
        }
        StoreLine(sums, end - first_position_,
                  group_ * gather_.columns + first_column_ + c,
                  first + c * gather_.result.channel, step);
      }
    }
  }

  void RepairLine(A* sums, int64_t count, int64_t column) {
    Position position = line_;
    for (int64_t p = 0; p < count; ++p) {
      if (sums[p] == sums[p]) continue;
      position.j[inner_] = first_position_ + p;
      sums[p] = ExactSum(call_, position, group_, column);
    }
  }

  void StoreLine(const A* sums, int64_t count, int64_t channel, T* result,
                 int64_t step) const {
    const Activation activation = plan_.geometry.activation;
    const A bias = BiasOf(call_, channel);
    const bool biased = call_.bias != nullptr;
    for (int64_t p = 0; p < count; ++p) {
      result[p * step] =
          FromCompute<T>(activation, biased ? sums[p] + bias : sums[p]);
    }
  }

  const GatherCall<T>& call_;
  const Plan& plan_;
  const Gather& gather_;
  const PixelLanesBlocks& blocks_;
  char* scratch_;
  const int inner_;
  const int64_t slots_;

  // The unit at hand.
  Position line_;
  int64_t outer_taps_ = 1, group_ = 0, first_column_ = 0, columns_ = 0,
          first_position_ = 0;
  bool touched_border_ = false;
  A* windows_ = nullptr;
  A* sums_ = nullptr;
  OuterTap* found_ = nullptr;
};

template <typename T>
void RunPixelLanes(const GatherCall<T>& call, char* scratch,
                   const ParallelFor& parallel_for) {
  const PixelLanes<T> kernel(call, scratch);
  parallel_for(call.plan.units, 1, [&](int64_t begin, int64_t end, int worker) {
    PixelLanes<T> own = kernel;
    for (int64_t unit = begin; unit < end; ++unit) own.RunUnit(unit, worker);
  });
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_PIXEL_LANES_INL_H_
