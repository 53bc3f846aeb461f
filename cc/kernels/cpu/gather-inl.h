// What the two gather families share: finding positions and taps, the exact sum
// of one element, and the one store of the result.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_GATHER_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_GATHER_INL_H_

// A gather on typed pointers; see Operands.
template <typename T>
struct GatherCall {
  const Plan& plan;
  const T* source;
  const T* filter;
  const Compute<T>* bias;  // [columns of all groups], or null
  T* result;
  // 0: not looked at, else kLookedAt and what was found
  std::atomic<int>* operand_state;

  static constexpr int kLookedAt = 1;
  static constexpr int kFilterNotFinite = 2;
  static constexpr int kInfinityMeetsFlushed = 4;

  // Whether to ask NeedsRepair before a NaN has shown up: it takes less to look
  // at a filter that is small beside the result than at the sums.
  bool LooksFirst() const {
    const bool forward = plan.operation == Operation::kConvTranspose;
    return !kInPairs<T> &&
           NumElements(plan.geometry.FilterDims()) <=
               NumElements(forward ? plan.geometry.OutputDims()
                                   : plan.geometry.InputDims()) /
                   4;
  }

  // The blocked kernels multiply zeros beyond the border of the source. That is
  // exact unless the filter holds an infinity or NaN. Those that multiply pairs
  // make NaN of infinities times numbers that they flush to zero, too, at the
  // border or not.
  bool NeedsRepair(bool border = true) const {
    int state = operand_state->load();
    if (state == 0) {
      state = kLookedAt | LookAtOperands();
      operand_state->store(state);
    }
    return (state & kInfinityMeetsFlushed) != 0 ||
           (border && (state & kFilterNotFinite) != 0);
  }

 private:
  int LookAtOperands() const {
    const int64_t elements = NumElements(plan.geometry.FilterDims());
    int not_finite = 0;
    for (int64_t i = 0; i < elements; ++i) {
      const Compute<T> w = ToCompute(filter[i]);
      not_finite |= w - w != Compute<T>(0);
    }
    int found = not_finite == 0 ? 0 : kFilterNotFinite;
#ifdef CT_BFLOAT16_PAIRS
    if constexpr (kInPairs<T>) {
      const bool forward = plan.operation == Operation::kConvTranspose;
      const int64_t sources = NumElements(forward ? plan.geometry.InputDims()
                                                  : plan.geometry.OutputDims());
      const SpecialValues weights = LookFor(filter, elements);
      const SpecialValues values = LookFor(source, sources);
      if ((weights.infinity && values.flushed) ||
          (weights.flushed && values.infinity)) {
        found |= kInfinityMeetsFlushed;
      }
    }
#endif
    return found;
  }
};

// One result position: per axis its phase and its index j within the phase.
struct Position {
  int64_t batch = 0;
  std::array<const Phase*, kMaxRank> phase{};
  std::array<int64_t, kMaxRank> j{};

  int64_t ResultOffset(const Plan& plan) const {
    const Gather& gather = plan.gather;
    int64_t offset = batch * gather.result.batch;
    for (int a = 0; a < plan.geometry.rank; ++a) {
      offset += (phase[a]->first + j[a] * gather.axis[a].result_step) *
                gather.result.axis[a];
    }
    return offset;
  }
};

// Element of `bias`, where there is one, as the start of a sum.
template <typename T>
inline Compute<T> BiasOf(const GatherCall<T>& call, int64_t channel) {
  return call.bias != nullptr ? call.bias[channel] : Compute<T>(0);
}

// Sum of one result element over exactly the taps inside the source: what a NaN
// is replaced by that may come from 0 * infinity beyond the border.
template <typename T>
Compute<T> ExactSum(const GatherCall<T>& call, const Position& position,
                    int64_t group, int64_t column) {
  const Gather& gather = call.plan.gather;
  const int rank = call.plan.geometry.rank;
  const T* source = call.source + position.batch * gather.source.batch +
                    group * gather.depth * gather.source.channel;
  const T* filter =
      call.filter + group * gather.group_stride + column * gather.column_stride;
  Compute<T> sum(0);
  std::array<TapRange, kMaxRank> reach{};
  std::array<int64_t, kMaxRank> t{};
  for (int a = 0; a < rank; ++a) {
    const int64_t j = position.j[a];
    reach[a] = InsideTaps(gather.axis[a], *position.phase[a], j, j);
    if (reach[a].size() == 0) return sum;
    t[a] = reach[a].begin;
  }
  while (true) {
    int64_t source_offset = 0, filter_tap = 0;
    for (int a = 0; a < rank; ++a) {
      const Tap& tap = position.phase[a]->taps[t[a]];
      const int64_t i =
          position.j[a] * gather.axis[a].source_step + tap.source_offset;
      source_offset += i * gather.source.axis[a];
      filter_tap += tap.filter_index * gather.filter_step[a];
    }
    for (int64_t d = 0; d < gather.depth; ++d) {
      sum +=
          ToCompute(source[source_offset + d * gather.source.channel]) *
          ToCompute(
              filter[filter_tap * gather.tap_stride + d * gather.depth_stride]);
    }
    int a = rank - 1;
    while (a >= 0 && ++t[a] == reach[a].end) {
      t[a] = reach[a].begin;
      --a;
    }
    if (a < 0) return sum;
  }
}

// True where whole vectors of sums can be stored as they are.
template <typename T>
inline bool StoresVectors(const GatherCall<T>& call) {
  const Activation activation = call.plan.geometry.activation;
  return (std::is_same_v<T, Compute<T>> || kInPairs<T>) &&
         call.plan.gather.result.channel == 1 &&
         (activation == Activation::kNone || activation == Activation::kRelu);
}

// Adds the bias, activates, rounds and stores `count` sums of one position from
// `channel` on.
template <typename T>
void StoreColumns(const GatherCall<T>& call, Compute<T>* sums, int64_t count,
                  int64_t channel, T* result) {
  using A = Compute<T>;
  const Activation activation = call.plan.geometry.activation;
  const int64_t step = call.plan.gather.result.channel;
#ifdef CT_BFLOAT16_PAIRS
  if constexpr (kInPairs<T>) {
    if (StoresVectors(call)) {
      return StoreRoundedColumns(
          sums, call.bias == nullptr ? nullptr : call.bias + channel,
          activation == Activation::kRelu, count, result + channel);
    }
  }
#endif
  if (call.bias != nullptr) {
    const A* bias = call.bias + channel;
    for (int64_t c = 0; c < count; ++c) sums[c] += bias[c];
  }
  result += channel * step;
  if constexpr (kNative<T>) {
    if (activation == Activation::kNone && step == 1) {
      std::memcpy(static_cast<void*>(result), sums, count * sizeof(T));
      return;
    }
    if (activation == Activation::kRelu && step == 1) {
      for (int64_t c = 0; c < count; ++c) {
        const T z = static_cast<T>(sums[c]);
        result[c] = z < T(0) ? T(0) : z;
      }
      return;
    }
  }
  const bool relu = activation == Activation::kRelu;
  if (!kNative<T> && step == 1 && (relu || activation == Activation::kNone)) {
    if (relu) {
      for (int64_t c = 0; c < count; ++c) {
        sums[c] = sums[c] < A(0) ? A(0) : sums[c];
      }
    }
    return NarrowRow<T>(sums, count, result);
  }
  for (int64_t c = 0; c < count; ++c)
    result[c * step] = FromCompute<T>(activation, sums[c]);
}

// A result of this size is in no cache any more when someone reads it: it is
// written past them, for its lines would be fetched from memory before they are
// overwritten. 5 % faster on 67 MB.
inline constexpr int64_t kStreamBytes = int64_t{32} << 20;

template <typename T>
inline bool StreamsVectors(const GatherCall<T>& call) {
  const ConvTransposeGeometry& geometry = call.plan.geometry;
  const bool forward = call.plan.operation == Operation::kConvTranspose;
  const int64_t channels =
      forward ? geometry.out_channels : geometry.in_channels;
  const int64_t bytes =
      NumElements(forward ? geometry.OutputDims() : geometry.InputDims()) *
      static_cast<int64_t>(sizeof(T));
  const auto address = reinterpret_cast<uintptr_t>(call.result);
  return StoresVectors(call) && bytes >= kStreamBytes &&
         (address | (channels * sizeof(T))) % CT_VECTOR_BYTES == 0;
}

// Adds the bias, activates and stores one vector from `channel` on, where
// StoresVectors.
template <typename T>
inline void StoreVector(const GatherCall<T>& call, Vec<Compute<T>> sum,
                        int64_t channel, bool stream, T* result) {
  if constexpr (std::is_same_v<T, Compute<T>>) {
    if (call.bias != nullptr) sum += Load(call.bias + channel);
    if (call.plan.geometry.activation == Activation::kRelu) {
      sum = sum < T(0) ? Vec<T>{} : sum;
    }
    if (stream) {
      Stream(result + channel, sum);
    } else {
      Store(result + channel, sum);
    }
  }
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_GATHER_INL_H_
