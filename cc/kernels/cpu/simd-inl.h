// Vectors of one target: the only place that knows how wide they are. Included
// inside the target region of a target_*.cc.
//
// GCC and Clang vector types rather than intrinsics: one source for every width
// and for AArch64, and a * b + c compiles to the FMA with a memory or broadcast
// operand that intrinsics give. Measured on a Sapphire Rapids core: 8 x 2 tiles
// reach 130 to 140 GFLOP/s float32.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_SIMD_INL_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_SIMD_INL_H_

template <typename A>
struct VecOf {
  typedef A type __attribute__((vector_size(CT_VECTOR_BYTES)));
};
template <typename A>
using Vec = typename VecOf<A>::type;

template <typename A>
inline constexpr int kLanes = CT_VECTOR_BYTES / static_cast<int>(sizeof(A));

template <typename A>
inline Vec<A> Load(const A* p) {
  Vec<A> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
template <typename A>
inline void Store(A* p, Vec<A> v) {
  std::memcpy(p, &v, sizeof(v));
}

// The first `count` lanes of a vector, 0 to all; the others are zero, or stay
// as they are in memory.
template <typename A>
inline Vec<A> LoadPart(const A* p, int64_t count) {
#if CT_VECTOR_BYTES == 64
  const auto mask = static_cast<unsigned>((int64_t{1} << count) - 1);
  if constexpr (sizeof(A) == 4) {
    return reinterpret_cast<Vec<A>>(
        _mm512_maskz_loadu_epi32(static_cast<__mmask16>(mask), p));
  } else {
    return reinterpret_cast<Vec<A>>(
        _mm512_maskz_loadu_epi64(static_cast<__mmask8>(mask), p));
  }
#else
  Vec<A> v{};
  for (int64_t i = 0; i < count; ++i) v[i] = p[i];
  return v;
#endif
}
template <typename A>
inline void StorePart(A* p, Vec<A> v, int64_t count) {
#if CT_VECTOR_BYTES == 64
  const auto mask = static_cast<unsigned>((int64_t{1} << count) - 1);
  if constexpr (sizeof(A) == 4) {
    _mm512_mask_storeu_epi32(p, static_cast<__mmask16>(mask),
                             reinterpret_cast<__m512i>(v));
  } else {
    _mm512_mask_storeu_epi64(p, static_cast<__mmask8>(mask),
                             reinterpret_cast<__m512i>(v));
  }
#else
  for (int64_t i = 0; i < count; ++i) p[i] = v[i];
#endif
}

// Stores past the caches: p on a boundary of the vector. Memory is then written
// without being read first.
template <typename A>
inline void Stream(A* p, Vec<A> v) {
#if defined(__clang__)
  __builtin_nontemporal_store(v, reinterpret_cast<Vec<A>*>(p));
#elif CT_VECTOR_BYTES == 64
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p),
                      reinterpret_cast<__m512i>(v));
#elif CT_VECTOR_BYTES == 32
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p),
                      reinterpret_cast<__m256i>(v));
#elif defined(__SSE2__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), reinterpret_cast<__m128i>(v));
#else
  Store(p, v);
#endif
}

// Makes streamed stores visible before what follows.
inline void FinishStreams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// The type that the kernels compute in. int32 wraps as uint32, where wrapping
// is defined.
template <typename T>
using Compute =
    std::conditional_t<std::is_same_v<T, int32_t>, uint32_t, Accumulator<T>>;

// Stored and computed representations are the same bits: rows can be read in
// place.
template <typename T>
inline constexpr bool kNative = sizeof(T) == sizeof(Compute<T>);

template <typename T>
inline Compute<T> ToCompute(T value) {
  return static_cast<Compute<T>>(Widen(value));
}
template <typename T>
inline T FromCompute(Activation activation, Compute<T> value) {
  return Narrow<T>(Activate(activation, static_cast<Accumulator<T>>(value)));
}

// Widens `count` elements that lie `step` apart.
template <typename T>
inline void WidenRow(const T* from, int64_t step, int64_t count,
                     Compute<T>* to) {
  if (step == 1) {
    for (int64_t i = 0; i < count; ++i) to[i] = ToCompute(from[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = ToCompute(from[i * step]);
  }
}

#ifdef CT_HAS_F16C
template <>
inline void WidenRow<Half>(const Half* from, int64_t step, int64_t count,
                           float* to) {
  int64_t i = 0;
  if (step == 1) {
    for (; i + 8 <= count; i += 8) {
      const __m128i halves =
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
      _mm256_storeu_ps(to + i, _mm256_cvtph_ps(halves));
    }
  }
  for (; i < count; ++i) to[i] = ToFloat(from[i * step]);
}
#endif

// Rounds `count` elements to the stored type.
template <typename T>
inline void NarrowRow(const Compute<T>* from, int64_t count, T* to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = FromCompute<T>(Activation::kNone, from[i]);
  }
}

#ifdef CT_HAS_F16C
// Bit by bit what ToHalf makes of them, in a tenth of the time.
template <>
inline void NarrowRow<Half>(const float* from, int64_t count, Half* to) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(to + i),
        _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
  }
  for (; i < count; ++i) to[i] = ToHalf(from[i]);
}
#endif

// A vector of stored elements, widened.
template <typename T>
inline Vec<Compute<T>> LoadWide(const T* p) {
  using A = Compute<T>;
  if constexpr (kNative<T>) {
    return Load(reinterpret_cast<const A*>(p));
  } else {
    A wide[kLanes<A>];
    WidenRow<T>(p, 1, kLanes<A>, wide);
    return Load(wide);
  }
}

// True where one of `count` sums is NaN. Integers never are.
template <typename A>
inline bool AnyNaN(const A* sums, int64_t count) {
  if constexpr (std::is_floating_point_v<A>) {
    int found = 0;
    for (int64_t i = 0; i < count; ++i) found |= sums[i] != sums[i];
    return found != 0;
  }
  return false;
}

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_SIMD_INL_H_
