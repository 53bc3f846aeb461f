// Memory that notices when somebody writes beside it, and that holds no value
// anybody may rely on.
#ifndef CONV_TRANSPOSE_ND_TESTS_TESTING_BUFFER_H_
#define CONV_TRANSPOSE_ND_TESTS_TESTING_BUFFER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "cc/core/dtype.h"

namespace conv_transpose_nd {
namespace testing {

// `bytes` bytes between two guard regions, all of them 0xff: that is NaN in
// every floating-point type, so that a value read from beside the data, or
// before it was written, shows in the result. The address sanitizer is told
// about the guards, so that it reports reads of them too.
class Buffer {
 public:
  // offset: of the data from a 64-byte boundary.
  explicit Buffer(int64_t bytes, int64_t offset = 0);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer& operator=(Buffer&&) = delete;

  unsigned char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // False where a guard was written to.
  bool Intact() const;

 private:
  void Poison(bool poisoned) const;

  std::unique_ptr<unsigned char[]> memory_;
  unsigned char* data_ = nullptr;
  int64_t bytes_ = 0;
  int64_t total_ = 0;
};

// Elements of any dtype in a Buffer, aligned to one element and no more: what
// a slice of a larger tensor may give.
class Tensor {
 public:
  // aligned: to 64 bytes instead.
  Tensor(DType dtype, int64_t elements, bool aligned = false);

  DType dtype() const { return dtype_; }
  int64_t elements() const { return elements_; }
  void* data() const { return buffer_.data(); }
  const Buffer& buffer() const { return buffer_; }
  double At(int64_t index) const;
  void Set(int64_t index, double value);
  // Rounded to the dtype on the way.
  void SetAll(const std::vector<double>& values);
  std::vector<double> Values() const;

 private:
  DType dtype_;
  int64_t elements_;
  Buffer buffer_;
};

}  // namespace testing
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_TESTING_BUFFER_H_
