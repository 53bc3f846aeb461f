// Pairs of bfloat16: two elements that are adjacent in depth, multiplied and
// added by one instruction where the target has it (AVX512-BF16). A pair is one
// word of a source row and of a packed filter, as a float is of a float32 call;
// twice as many multiply-adds per instruction, half as many bytes.
//
// The instruction adds the second product first, rounds each addition to
// nearest, and takes numbers below the smallest normal one for zero: operands,
// sums, and what is rounded to bfloat16.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_PAIRS_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_PAIRS_INL_H_

struct BFloat16Pair {
  BFloat16 first, second;
};

#ifdef CT_BFLOAT16_PAIRS
inline constexpr bool kHasPairs = true;
#else
inline constexpr bool kHasPairs = false;
#endif

// What T is multiplied as: word by word, kWord elements in each.
template <typename T>
inline constexpr bool kInPairs = kHasPairs && std::is_same_v<T, BFloat16>;
template <typename T>
using Word = std::conditional_t<kInPairs<T>, BFloat16Pair, Compute<T>>;
template <typename T>
inline constexpr int64_t kWord = kInPairs<T> ? 2 : 1;

// What products of words are summed in.
template <typename W>
using SumOf = std::conditional_t<std::is_same_v<W, BFloat16Pair>, float, W>;

// One vector of words.
template <typename W>
inline Vec<SumOf<W>> LoadWords(const W* p) {
  Vec<SumOf<W>> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// A word for all lanes, and its products with a vector of words.
template <typename W>
[[gnu::always_inline]] inline W ForAllLanes(const W* word) {
  return *word;
}
template <typename A, typename V>
[[gnu::always_inline]] inline V MultiplyAdd(A value, V weights, V sum) {
  return value * weights + sum;
}

#ifdef CT_BFLOAT16_PAIRS
struct PairForAllLanes {
  __m512bh pair;
};
[[gnu::always_inline]] inline PairForAllLanes ForAllLanes(
    const BFloat16Pair* word) {
  int32_t bits;
  std::memcpy(&bits, word, sizeof(bits));
  return {(__m512bh)_mm512_set1_epi32(bits)};
}
[[gnu::always_inline]] inline Vec<float> MultiplyAdd(PairForAllLanes value,
                                                     Vec<float> weights,
                                                     Vec<float> sum) {
  return (Vec<float>)_mm512_dpbf16_ps((__m512)sum, value.pair,
                                      (__m512bh)(__m512i)weights);
}

// Rounds and stores kVectors vectors of sums; true where one of them is NaN.
// Streamed: two vectors, on a boundary of 64 bytes.
template <int kVectors>
[[gnu::always_inline]] inline bool StoreRounded(const Vec<float>* sums,
                                                bool stream, BFloat16* to) {
  __mmask16 nan = 0;
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const __m512 sum = (__m512)sums[v];
    nan |= _mm512_cmp_ps_mask(sum, sum, _CMP_UNORD_Q);
  }
  if constexpr (kVectors == 1) {
    const auto rounded = (__m256i)_mm512_cvtneps_pbh((__m512)sums[0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded);
  } else {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; v += 2) {
      const auto rounded =
          (__m512i)_mm512_cvtne2ps_pbh((__m512)sums[v + 1], (__m512)sums[v]);
      auto* at = reinterpret_cast<__m512i*>(to + v * kLanes<float>);
      if (stream) {
        _mm512_stream_si512(at, rounded);
      } else {
        _mm512_storeu_si512(at, rounded);
      }
    }
  }
  return nan != 0;
}

// Rounds and stores `count` sums on top of a bias, or none.
inline void StoreRoundedColumns(const float* sums, const float* bias, bool relu,
                                int64_t count, BFloat16* to) {
  constexpr int64_t kCount = kLanes<float>;
  for (int64_t c = 0; c < count; c += kCount) {
    const int64_t many = std::min(count - c, kCount);
    const auto mask = static_cast<__mmask16>((1u << many) - 1);
    __m512 sum = _mm512_maskz_loadu_ps(mask, sums + c);
    if (bias != nullptr) {
      sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, bias + c));
    }
    if (relu) {
      const __m512 zero = _mm512_setzero_ps();
      sum = _mm512_mask_mov_ps(sum, _mm512_cmp_ps_mask(sum, zero, _CMP_LT_OQ),
                               zero);
    }
    _mm256_mask_storeu_epi16(to + c, mask, (__m256i)_mm512_cvtneps_pbh(sum));
  }
}

// True where one of `count` elements is NaN.
inline bool AnyNaN(const BFloat16* values, int64_t count) {
  int found = 0;
  for (int64_t i = 0; i < count; ++i) {
    found |= (values[i].bits & 0x7fff) > 0x7f80;
  }
  return found != 0;
}

// Values that do not multiply as the definition has it, where they meet.
struct SpecialValues {
  bool infinity = false;
  bool flushed = false;  // below the smallest normal number, but not zero
};
inline SpecialValues LookFor(const BFloat16* values, int64_t count) {
  int infinities = 0, flushed = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int magnitude = values[i].bits & 0x7fff;
    infinities |= magnitude == 0x7f80;
    flushed |= magnitude > 0 && magnitude < 0x80;
  }
  return {infinities != 0, flushed != 0};
}

// Stores a vector of pairs; what a mask leaves out is zero, and is not read.
inline void StorePairs(const BFloat16* first, __mmask16 first_mask,
                       const BFloat16* second, __mmask16 second_mask,
                       BFloat16Pair* to) {
  const __m512i low = _mm512_maskz_cvtepu16_epi32(
      first_mask, _mm256_maskz_loadu_epi16(first_mask, first));
  const __m512i high = _mm512_maskz_cvtepu16_epi32(
      second_mask, _mm256_maskz_loadu_epi16(second_mask, second));
  _mm512_storeu_si512(
      to, _mm512_or_si512(low, _mm512_maskz_slli_epi32(second_mask, high, 16)));
}

// Pairs of two rows of `count` elements that lie `step` apart, and zeros up to
// `width`; in whole vectors of `to`. A row that is null is zeros.
inline void PairRows(const BFloat16* first, const BFloat16* second,
                     int64_t step, int64_t count, int64_t width,
                     BFloat16Pair* to) {
  constexpr int64_t kCount = kLanes<float>;
  for (; width > 0; width -= kCount, count -= kCount, to += kCount) {
    const int64_t many = std::clamp<int64_t>(count, 0, kCount);
    const auto mask = static_cast<__mmask16>((1u << many) - 1);
    BFloat16 near[2][kCount];
    if (step != 1) {
      for (int64_t i = 0; i < many; ++i) {
        if (first != nullptr) near[0][i] = first[i * step];
        if (second != nullptr) near[1][i] = second[i * step];
      }
    }
    const __mmask16 first_mask = first != nullptr ? mask : 0;
    const __mmask16 second_mask = second != nullptr ? mask : 0;
    StorePairs(step == 1 ? first : near[0], first_mask,
               step == 1 ? second : near[1], second_mask, to);
    if (first != nullptr) first += kCount * step;
    if (second != nullptr) second += kCount * step;
  }
}

// Pairs of a row of `count` elements that lie `step` apart, the last one with a
// zero where their number is odd.
inline void PairRow(const BFloat16* from, int64_t step, int64_t count,
                    BFloat16Pair* to) {
  if (step == 1) {
    // Vectors of which only what counts is read and written: depths are short.
    for (int64_t i = 0; i < count; i += 32) {
      const int64_t many = std::min<int64_t>(count - i, 32);
      const auto elements = static_cast<__mmask32>((uint64_t{1} << many) - 1);
      const auto pairs = static_cast<__mmask16>((1u << ((many + 1) / 2)) - 1);
      _mm512_mask_storeu_epi32(to + i / 2, pairs,
                               _mm512_maskz_loadu_epi16(elements, from + i));
    }
    return;
  }
  for (int64_t i = 0; i + 1 < count; i += 2) {
    to[i / 2] = {from[i * step], from[(i + 1) * step]};
  }
  if (count % 2 == 1) to[count / 2] = {from[(count - 1) * step], {0}};
}

// to[d][c] = elements (2 d, c) and (2 d + 1, c) of a filter, c < columns; with
// a zero beyond an odd depth.
inline void PairColumns(const BFloat16* from, int64_t depth_step,
                        int64_t column_step, int64_t depth, int64_t columns,
                        BFloat16Pair* to, int64_t to_step) {
  constexpr int kCount = kLanes<float>;
  const int64_t pairs = depth / 2;
  int64_t d = 0;
  // Pairs that lie side by side: words, to be transposed.
  if (depth_step == 1 && column_step % 2 == 0) {
    for (; d + kCount <= pairs; d += kCount) {
      int64_t c = 0;
      for (; c + kCount <= columns; c += kCount) {
        TransposeSquare(
            reinterpret_cast<const float*>(from + c * column_step + 2 * d),
            column_step / 2, reinterpret_cast<float*>(to + d * to_step + c),
            to_step);
      }
      for (; c < columns; ++c) {
        for (int64_t i = d; i < d + kCount; ++i) {
          std::memcpy(to + i * to_step + c, from + c * column_step + 2 * i,
                      sizeof(BFloat16Pair));
        }
      }
    }
  }
  for (; d < pairs; ++d) {
    const BFloat16* first = from + 2 * d * depth_step;
    const BFloat16* second = first + depth_step;
    BFloat16Pair* row = to + d * to_step;
    if (column_step == 1) {
      for (int64_t c = 0; c < columns; ++c) row[c] = {first[c], second[c]};
    } else {
      for (int64_t c = 0; c < columns; ++c) {
        row[c] = {first[c * column_step], second[c * column_step]};
      }
    }
  }
  if (depth % 2 == 1) {
    const BFloat16* last = from + (depth - 1) * depth_step;
    for (int64_t c = 0; c < columns; ++c) {
      to[pairs * to_step + c] = {last[c * column_step], {0}};
    }
  }
}
#endif

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_PAIRS_INL_H_
