#include "cc/pybind/memory.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <new>
#include <vector>

#include "cc/kernels/cpu/huge_pages.h"

namespace py = pybind11;

namespace conv_transpose_nd {
namespace {

constexpr int64_t kAlignment = 64;
// Smaller blocks are kept by the allocator of C itself.
constexpr int64_t kLeastKeptBytes = int64_t{64} << 10;
// Of all kept blocks together, and how many they are.
constexpr int64_t kMostKeptBytes = int64_t{256} << 20;
constexpr size_t kMostKeptBlocks = 64;

// Whether freed blocks may be used again. Not under AddressSanitizer, which
// could not tell the uses apart.
#if defined(__has_feature)
#define CT_HAS_FEATURE(feature) __has_feature(feature)
#else
#define CT_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || CT_HAS_FEATURE(address_sanitizer)
constexpr bool kKeepsBlocks = false;
#else
constexpr bool kKeepsBlocks = true;
#endif

// What precedes the bytes that are handed out.
struct alignas(kAlignment) Header {
  int64_t capacity;  // bytes behind it
};

Header* HeaderOf(void* block) { return static_cast<Header*>(block) - 1; }

// Blocks that were freed, the oldest first.
class KeptBlocks {
 public:
  // Room for all, so that keeping one never allocates.
  KeptBlocks() { blocks_.reserve(kMostKeptBlocks); }

  // A block of at least `bytes` that wastes an eighth of it at most, or null.
  Header* Take(int64_t bytes) {
    const Lock lock(mutex_, std::try_to_lock);
    if (!lock) return nullptr;
    for (auto it = blocks_.rbegin(); it != blocks_.rend(); ++it) {
      Header* header = *it;
      const int64_t spare = header->capacity - bytes;
      if (spare < 0 || spare > header->capacity / 8) continue;
      blocks_.erase(std::next(it).base());
      bytes_ -= header->capacity;
      return header;
    }
    return nullptr;
  }

  // False: not taken.
  bool Keep(Header* header) {
    if (header->capacity > kMostKeptBytes) return false;
    const Lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    FreeDownTo(kMostKeptBytes - header->capacity, kMostKeptBlocks - 1);
    blocks_.push_back(header);
    bytes_ += header->capacity;
    return true;
  }

  int64_t Clear() {
    const Lock lock(mutex_, std::try_to_lock);
    if (!lock) return 0;
    const int64_t bytes = bytes_;
    FreeDownTo(0, 0);
    return bytes;
  }

 private:
  // Never waited for: a child that was forked while another thread held it
  // would wait for ever.
  using Lock = std::unique_lock<std::mutex>;

  void FreeDownTo(int64_t bytes, size_t blocks) {
    while (bytes_ > bytes || blocks_.size() > blocks) {
      bytes_ -= blocks_.front()->capacity;
      std::free(blocks_.front());
      blocks_.erase(blocks_.begin());
    }
  }

  std::mutex mutex_;
  std::vector<Header*> blocks_;
  int64_t bytes_ = 0;
};

// Never destroyed: arrays may outlive static destructors.
KeptBlocks& Kept() {
  static auto* kept = new KeptBlocks;
  return *kept;
}

Header* NewBlock(int64_t capacity) {
  void* p = std::aligned_alloc(kAlignment, sizeof(Header) + capacity);
  if (p == nullptr && Kept().Clear() > 0) {
    p = std::aligned_alloc(kAlignment, sizeof(Header) + capacity);
  }
  if (p == nullptr) throw std::bad_alloc();
  AdviseHugePages(p, static_cast<int64_t>(sizeof(Header)) + capacity);
  auto* header = static_cast<Header*>(p);
  header->capacity = capacity;
  return header;
}

}  // namespace

void ReleaseBlock(void* block) {
  if (block == nullptr) return;
  Header* header = HeaderOf(block);
  const bool kept = kKeepsBlocks && header->capacity >= kLeastKeptBytes &&
                    Kept().Keep(header);
  if (!kept) std::free(header);
}

std::unique_ptr<void, FreeDeleter> AllocateWorkspace(int64_t bytes) {
  const int64_t capacity =
      (std::max<int64_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  Header* header =
      capacity >= kLeastKeptBytes ? Kept().Take(capacity) : nullptr;
  if (header == nullptr) header = NewBlock(capacity);
  return std::unique_ptr<void, FreeDeleter>(header + 1);
}

py::array AllocateResult(const py::dtype& dtype, const Dims& dims) {
  auto memory = AllocateWorkspace(NumElements(dims) * dtype.itemsize());
  const py::capsule owner(memory.get(), &ReleaseBlock);
  return py::array(dtype, dims, memory.release(), owner);
}

int64_t ReleaseMemory() { return Kept().Clear(); }

}  // namespace conv_transpose_nd
