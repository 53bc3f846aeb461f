// What a fuzzer's bytes mean: one byte per decision, taken modulo the number of
// choices, so that a corpus can be written and read as text. Where the bytes
// end every decision is the first.
#ifndef CONV_TRANSPOSE_ND_TESTS_FUZZ_BYTES_H_
#define CONV_TRANSPOSE_ND_TESTS_FUZZ_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace conv_transpose_nd {
namespace fuzz {

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint8_t Next() {
    if (at_ == size_) return 0;
    return data_[at_++];
  }
  // 0 <= result < count.
  int64_t Below(int64_t count) { return Next() % count; }
  int64_t Pick(std::initializer_list<int64_t> values) {
    return values.begin()[Below(static_cast<int64_t>(values.size()))];
  }
  bool OneIn(int64_t count) { return Below(count) == count - 1; }
  // Eight bytes, any value.
  int64_t Any() {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | Next();
    return static_cast<int64_t>(value);
  }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

}  // namespace fuzz
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_FUZZ_BYTES_H_
