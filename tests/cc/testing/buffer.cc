#include "tests/cc/testing/buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CT_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define CT_ADDRESS_SANITIZER
#endif
#ifdef CT_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace conv_transpose_nd {
namespace testing {
namespace {

// More than any vector or register tile that a kernel loads at once.
constexpr int64_t kGuardBytes = 2048;
constexpr unsigned char kPoison = 0xff;

// Calls visit(T()) with the type that `dtype` stores.
template <typename Visit>
auto WithType(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::kHalf:
      return visit(Half());
    case DType::kBFloat16:
      return visit(BFloat16());
    case DType::kDouble:
      return visit(double());
    case DType::kInt32:
      return visit(int32_t());
    default:
      return visit(float());
  }
}

}  // namespace

Buffer::Buffer(int64_t bytes, int64_t offset) : bytes_(bytes) {
  total_ = bytes + offset + 2 * kGuardBytes + 64;
  memory_.reset(new unsigned char[total_]);
  std::memset(memory_.get(), kPoison, total_);
  const auto address = reinterpret_cast<uintptr_t>(memory_.get());
  const int64_t to_boundary = static_cast<int64_t>((64 - address % 64) % 64);
  data_ = memory_.get() + to_boundary + kGuardBytes + offset;
  Poison(true);
}

Buffer::~Buffer() {
  if (memory_ != nullptr) Poison(false);
}

Buffer::Buffer(Buffer&& other) noexcept
    : memory_(std::move(other.memory_)),
      data_(other.data_),
      bytes_(other.bytes_),
      total_(other.total_) {}

void Buffer::Poison([[maybe_unused]] bool poisoned) const {
#ifdef CT_ADDRESS_SANITIZER
  const unsigned char* end = memory_.get() + total_;
  if (poisoned) {
    __asan_poison_memory_region(memory_.get(), data_ - memory_.get());
    __asan_poison_memory_region(data_ + bytes_, end - data_ - bytes_);
  } else {
    __asan_unpoison_memory_region(memory_.get(), total_);
  }
#endif
}

bool Buffer::Intact() const {
  Poison(false);
  const auto poison = [](unsigned char byte) { return byte == kPoison; };
  const unsigned char* begin = memory_.get();
  const unsigned char* data = data_;
  const unsigned char* end = begin + total_;
  const bool intact = std::all_of(begin, data, poison) &&
                      std::all_of(data + bytes_, end, poison);
  Poison(true);
  return intact;
}

Tensor::Tensor(DType dtype, int64_t elements, bool aligned)
    : dtype_(dtype),
      elements_(elements),
      buffer_(elements * SizeOf(dtype), aligned ? 0 : SizeOf(dtype)) {}

double Tensor::At(int64_t index) const {
  return WithType(dtype_, [&](auto value) -> double {
    std::memcpy(&value, buffer_.data() + index * sizeof(value), sizeof(value));
    return static_cast<double>(Widen(value));
  });
}

void Tensor::Set(int64_t index, double value) {
  WithType(dtype_, [&](auto zero) {
    using T = decltype(zero);
    const T stored = Narrow<T>(static_cast<Accumulator<T>>(value));
    std::memcpy(buffer_.data() + index * sizeof(T), &stored, sizeof(T));
  });
}

void Tensor::SetAll(const std::vector<double>& values) {
  WithType(dtype_, [&](auto zero) {
    using T = decltype(zero);
    unsigned char* to = buffer_.data();
    for (double value : values) {
      const T stored = Narrow<T>(static_cast<Accumulator<T>>(value));
      std::memcpy(to, &stored, sizeof(T));
      to += sizeof(T);
    }
  });
}

std::vector<double> Tensor::Values() const {
  std::vector<double> values(elements_);
  for (int64_t i = 0; i < elements_; ++i) values[i] = At(i);
  return values;
}

}  // namespace testing
}  // namespace conv_transpose_nd
