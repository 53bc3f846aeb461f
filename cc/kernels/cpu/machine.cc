// Multiply-adds: independent chains of the widest instruction that the
// processor has, operands in registers. Copies: each thread has its own part.
// The best of several trials counts, because the question is what is possible.
#include "cc/kernels/cpu/machine.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace conv_transpose_nd {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsOf(int threads, const std::function<void(int)>& work) {
  std::vector<std::thread> pool;
  const auto start = Clock::now();
  for (int i = 1; i < threads; ++i) pool.emplace_back(work, i);
  work(0);
  for (std::thread& thread : pool) thread.join();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Chains {
  const char* isa;
  double flops_per_step;  // of all chains together
  void (*run)(int64_t steps);
};

// Keeps a register alive that nothing reads.
#if defined(__x86_64__)
#define KEEP(value) asm volatile("" : "+v"(value))
#define TARGET(isa) __attribute__((target(isa)))
#else
#define KEEP(value) asm volatile("" : "+w"(value))
#define TARGET(isa)
#endif

// COUNT chains: more than the latency (4) times the units (2), fewer than the
// registers. `a * a + sum` is contracted to one instruction where there is one.
#define CHAINS(NAME, ATTRIBUTE, TYPE, BYTES, COUNT)              \
  ATTRIBUTE void NAME(int64_t steps) {                           \
    typedef TYPE Vector __attribute__((vector_size(BYTES)));     \
    Vector sum[COUNT] = {};                                      \
    Vector a = {};                                               \
    KEEP(a);                                                     \
    for (int64_t s = 0; s < steps; ++s) {                        \
      _Pragma("GCC unroll 32") for (int i = 0; i < COUNT; ++i) { \
        KEEP(a); /* else a * a is formed once, outside */        \
        sum[i] = a * a + sum[i];                                 \
        KEEP(sum[i]);                                            \
      }                                                          \
    }                                                            \
  }

CHAINS(PortableF32, , float, 16, 12)
CHAINS(PortableF64, , double, 16, 12)

#if defined(__x86_64__)
CHAINS(Avx512F32, TARGET("avx512f"), float, 64, 24)
CHAINS(Avx512F64, TARGET("avx512f"), double, 64, 24)
CHAINS(Avx2F32, TARGET("avx2,fma"), float, 32, 12)
CHAINS(Avx2F64, TARGET("avx2,fma"), double, 32, 12)

TARGET("avx512f,avx512bf16") void Avx512Bf16(int64_t steps) {
  __m512 sum[24] = {};
  __m512i bits = _mm512_setzero_si512();
  KEEP(bits);
  const __m512bh a = (__m512bh)bits;
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 32
    for (int i = 0; i < 24; ++i) {
      sum[i] = _mm512_dpbf16_ps(sum[i], a, a);
      KEEP(sum[i]);
    }
  }
}
#endif

Chains Float32() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return {"avx512", 24 * 16 * 2, Avx512F32};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {"avx2", 12 * 8 * 2, Avx2F32};
#endif
  return {"portable", 12 * 4 * 2, PortableF32};
}

Chains Float64() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return {"avx512", 24 * 8 * 2, Avx512F64};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {"avx2", 12 * 4 * 2, Avx2F64};
#endif
  return {"portable", 12 * 2 * 2, PortableF64};
}

Chains BFloat16() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bf16"))
    return {"avx512_bf16", 24 * 32 * 2, Avx512Bf16};
#endif
  return Float32();
}

double Gflops(const Chains& chains, int threads) {
  constexpr int64_t kSteps = 2000000;  // about 10 ms
  double best = 0;
  for (int trial = 0; trial < 12; ++trial) {
    const double seconds = SecondsOf(threads, [&](int) { chains.run(kSteps); });
    const double rate = threads * chains.flops_per_step * kSteps / seconds;
    if (rate > best) best = rate;
  }
  return best * 1e-9;
}

// Copies back and forth between the halves of `total` bytes.
double CopyGbytes(int64_t total, int threads) {
  const int64_t half = total / 2 / threads / 64 * 64;
  std::vector<char*> parts(threads);
  for (char*& part : parts) {
    part = static_cast<char*>(
        std::aligned_alloc(4096, (2 * half + 4095) / 4096 * 4096));
    if (part == nullptr) return 0;
  }
  SecondsOf(threads, [&](int i) { std::memset(parts[i], 1, 2 * half); });
  const int64_t repeats = std::max<int64_t>(1, (int64_t{64} << 20) / total);
  double best = 0;
  for (int trial = 0; trial < 6; ++trial) {
    const double seconds = SecondsOf(threads, [&](int i) {
      for (int64_t r = 0; r < repeats; ++r) {
        char* from = parts[i] + (r % 2) * half;
        char* to = parts[i] + (1 - r % 2) * half;
        std::memcpy(to, from, half);
        asm volatile("" ::: "memory");
      }
    });
    const double rate = 2.0 * half * threads * repeats / seconds;
    if (rate > best) best = rate;
  }
  for (char* part : parts) std::free(part);
  return best * 1e-9;
}

MachineLimits::Multiply Measure(const Chains& chains, int threads) {
  return {Gflops(chains, threads), chains.isa};
}

}  // namespace

MachineLimits MeasureMachine(int threads) {
  MachineLimits limits;
  limits.float32 = Measure(Float32(), threads);
  limits.float64 = Measure(Float64(), threads);
  limits.bfloat16 = Measure(BFloat16(), threads);
  for (int64_t total = int64_t{32} << 10; total <= int64_t{512} << 20;
       total *= 4) {
    limits.copies.push_back({total, CopyGbytes(total, threads)});
  }
  return limits;
}

}  // namespace conv_transpose_nd
