#include "cc/kernels/cpu/kept_memory.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <new>

#include "cc/kernels/cpu/huge_pages.h"

namespace conv_transpose_nd {
namespace {

constexpr int64_t kAlignment = 64;
// Smaller blocks are kept by the allocator of C itself.
constexpr int64_t kLeastKeptBytes = int64_t{64} << 10;
// Of all kept blocks together, where the environment does not say; and how many
// they are.
constexpr int64_t kMostKeptMegabytes = 512;
constexpr size_t kMostKeptBlocks = 64;

int64_t MostKeptBytes() {
  constexpr int64_t kMegabyte = int64_t{1} << 20;
  const char* value = std::getenv("CONV_TRANSPOSE_ND_KEPT_MB");
  if (value == nullptr || *value == 0) return kMostKeptMegabytes * kMegabyte;
  const int64_t megabytes = std::strtoll(value, nullptr, 10);
  return std::clamp<int64_t>(megabytes, 0, int64_t{1} << 40) * kMegabyte;
}

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

// Blocks that were freed, the oldest first. Never allocates.
class KeptBlocks {
 public:
  // A block of at least `bytes` that wastes an eighth of it at most, or null.
  Header* Take(int64_t bytes) {
    const Lock lock(mutex_, std::try_to_lock);
    if (!lock) return nullptr;
    for (size_t n = count_; n-- > 0;) {
      Header* header = blocks_[n];
      const int64_t spare = header->capacity - bytes;
      if (spare < 0 || spare > header->capacity / 8) continue;
      Remove(n);
      return header;
    }
    return nullptr;
  }

  // False: not taken.
  bool Keep(Header* header) {
    if (header->capacity > most_bytes_) return false;
    const Lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    FreeDownTo(most_bytes_ - header->capacity, kMostKeptBlocks - 1);
    blocks_[count_++] = header;
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
    while (bytes_ > bytes || count_ > blocks) {
      Header* oldest = blocks_.front();
      Remove(0);
      std::free(oldest);
    }
  }

  void Remove(size_t n) {
    bytes_ -= blocks_[n]->capacity;
    std::copy(blocks_.begin() + n + 1, blocks_.begin() + count_,
              blocks_.begin() + n);
    --count_;
  }

  const int64_t most_bytes_ = MostKeptBytes();
  std::mutex mutex_;
  std::array<Header*, kMostKeptBlocks> blocks_{};
  size_t count_ = 0;
  int64_t bytes_ = 0;
};

// Never destroyed: results may outlive static destructors.
KeptBlocks& Kept() {
  alignas(KeptBlocks) static char memory[sizeof(KeptBlocks)];
  static auto* kept = new (memory) KeptBlocks;
  return *kept;
}

// Null where there is no memory.
Header* NewBlock(int64_t capacity) {
  void* p = std::aligned_alloc(kAlignment, sizeof(Header) + capacity);
  if (p == nullptr && Kept().Clear() > 0) {
    p = std::aligned_alloc(kAlignment, sizeof(Header) + capacity);
  }
  if (p == nullptr) return nullptr;
  AdviseHugePages(p, static_cast<int64_t>(sizeof(Header)) + capacity);
  auto* header = static_cast<Header*>(p);
  header->capacity = capacity;
  return header;
}

}  // namespace

void* AllocateBlock(int64_t bytes) noexcept {
  constexpr int64_t kMostBytes = int64_t{1} << 62;
  if (bytes > kMostBytes) return nullptr;
  const int64_t capacity =
      (std::max<int64_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  Header* header =
      capacity >= kLeastKeptBytes ? Kept().Take(capacity) : nullptr;
  if (header == nullptr) header = NewBlock(capacity);
  return header == nullptr ? nullptr : header + 1;
}

void ReleaseBlock(void* block) noexcept {
  if (block == nullptr) return;
  Header* header = HeaderOf(block);
  const bool kept = kKeepsBlocks && header->capacity >= kLeastKeptBytes &&
                    Kept().Keep(header);
  if (!kept) std::free(header);
}

int64_t FreeKeptBlocks() noexcept { return Kept().Clear(); }

}  // namespace conv_transpose_nd
