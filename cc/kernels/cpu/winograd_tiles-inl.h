// The tiles of a phase in the transformed domain: where their source and their
// results lie.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_TILES_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_TILES_INL_H_

template <typename T>
class WinogradTiles {
 protected:
  using A = Compute<T>;

  WinogradTiles(const Plan& plan, const T* tensor)
      : plan_(plan),
        gather_(plan.gather),
        blocks_(plan.winograd),
        rank_(plan.geometry.rank),
        tensor_(tensor) {}

  void SetPhase(int64_t index) {
    phase_ = WinogradPhase(blocks_, rank_, index);
    for (int a = rank_ - 1; a >= 0; --a) {
      const auto& phases = gather_.axis[a].phases;
      axis_phase_[a] = &phases[index % phases.size()];
      index /= phases.size();
    }
  }

  // A tile of the phase: its batch, and along each axis its index and its first
  // position.
  struct Tile {
    int64_t batch;
    int64_t index[3], j[3];
  };
  Tile TileAt(int64_t tile) const {
    Tile at;
    for (int a = 2; a >= 0; --a) {
      const int64_t tiles = std::max<int64_t>(1, phase_.axis[a]->tiles);
      at.index[a] = tile % tiles;
      at.j[a] = phase_.axis[a]->Position(at.index[a]);
      tile /= tiles;
    }
    at.batch = tile;
    return at;
  }
  // The one after it, without divisions: they would take as long as a tile's
  // transforms.
  void Next(Tile* at) const {
    for (int a = 2; a >= 0; --a) {
      const WinogradAxis& axis = *phase_.axis[a];
      const bool ends = ++at->index[a] == axis.tiles;
      if (ends) at->index[a] = 0;
      at->j[a] = axis.step == 1 ? at->index[a] * axis.outputs
                                : axis.Position(at->index[a]);
      if (!ends) return;
    }
    ++at->batch;
  }

  // Offset of the source of the first `counts` components of a tile along each
  // axis, in the batch and for this class; -1 outside.
  void FindSources(int64_t index, const int64_t* j, const int* counts,
                   int64_t* to) const {
    int64_t offsets[3][4] = {};
    for (int a = 3 - rank_; a < 3; ++a) {
      const int own = a - (3 - rank_);
      const AxisPhases& source = gather_.axis[own];
      const int64_t lowest = phase_.ClassOf(index, a).lowest;
      for (int e = 0; e < counts[a]; ++e) {
        const int64_t i =
            (j[a] + e * phase_.axis[a]->step) * source.source_step + lowest;
        offsets[a][e] = i >= 0 && i < source.source_length
                            ? i * gather_.source.axis[own]
                            : -1;
      }
    }
    for (int i0 = 0; i0 < counts[0]; ++i0) {
      for (int i1 = 0; i1 < counts[1]; ++i1) {
        for (int i2 = 0; i2 < counts[2]; ++i2) {
          const int64_t x = offsets[0][i0], y = offsets[1][i1],
                        z = offsets[2][i2];
          *to++ = (x | y | z) < 0 ? -1 : x + y + z;
        }
      }
    }
  }

  // Where the source of each component begins for this class; zeros outside.
  void FindRows(int64_t index, int64_t batch, const int64_t* j, int64_t depth,
                const T** rows) const {
    int64_t offsets[kWinogradBlock];
    const int counts[3] = {phase_.axis[0]->components(),
                           phase_.axis[1]->components(),
                           phase_.axis[2]->components()};
    FindSources(index, j, counts, offsets);
    const T* source = tensor_ + batch * gather_.source.batch + depth;
    for (int64_t c = 0; c < phase_.components; ++c) {
      rows[c] = offsets[c] < 0 ? zeros_ : source + offsets[c];
    }
  }

  // Offset of each result of a tile, -1 where it is beyond the phase's end.
  void FindResults(int64_t batch, const int64_t* j, int64_t* to) const {
    int64_t offsets[3][3] = {};
    for (int a = 3 - rank_; a < 3; ++a) {
      const int own = a - (3 - rank_);
      const WinogradAxis& axis = *phase_.axis[a];
      const Phase& phase = *axis_phase_[own];
      for (int o = 0; o < axis.outputs; ++o) {
        const int64_t position = j[a] + o * axis.step;
        const int64_t result =
            phase.first + position * gather_.axis[own].result_step;
        offsets[a][o] =
            position < phase.count ? result * gather_.result.axis[own] : -1;
      }
    }
    const int64_t first = batch * gather_.result.batch;
    for (int o0 = 0; o0 < phase_.axis[0]->outputs; ++o0) {
      for (int o1 = 0; o1 < phase_.axis[1]->outputs; ++o1) {
        for (int o2 = 0; o2 < phase_.axis[2]->outputs; ++o2) {
          const int64_t x = offsets[0][o0], y = offsets[1][o1],
                        z = offsets[2][o2];
          *to++ = (x | y | z) < 0 ? -1 : first + x + y + z;
        }
      }
    }
  }

  const Plan& plan_;
  const Gather& gather_;
  const WinogradBlocks& blocks_;
  const int rank_;
  const T* tensor_;  // the source

  WinogradPhase phase_;
  std::array<const Phase*, 3> axis_phase_{};
  T* zeros_ = nullptr;  // for what lies outside
};

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_WINOGRAD_TILES_INL_H_
