// Blocks of results and workspaces that are used again.
#include "cc/kernels/cpu/kept_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace conv_transpose_nd {
namespace {

constexpr int64_t kMegabyte = int64_t{1} << 20;

// Sanitizers could not tell the uses of a block apart: nothing is kept.
bool KeepsBlocks() {
  FreeKeptBlocks();
  ReleaseBlock(AllocateBlock(kMegabyte));
  return FreeKeptBlocks() > 0;
}

class KeptMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!KeepsBlocks()) GTEST_SKIP() << "blocks are not kept in this build";
  }
  void TearDown() override { FreeKeptBlocks(); }
};

TEST_F(KeptMemoryTest, OfTheSameSizeAndOfALittleLess) {
  void* block = AllocateBlock(kMegabyte);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0);
  ReleaseBlock(block);
  void* again = AllocateBlock(kMegabyte);
  EXPECT_EQ(again, block);
  ReleaseBlock(again);
  void* less = AllocateBlock(kMegabyte - kMegabyte / 16);
  EXPECT_EQ(less, block);
  ReleaseBlock(less);
  void* half = AllocateBlock(kMegabyte / 2);
  EXPECT_NE(half, block);
  void* more = AllocateBlock(2 * kMegabyte);
  EXPECT_NE(more, block);
  ReleaseBlock(half);
  ReleaseBlock(more);
}

TEST_F(KeptMemoryTest, UpToALimit) {
  std::vector<void*> blocks;
  for (int i = 0; i < 40; ++i) {
    blocks.push_back(AllocateBlock((8 + i) * kMegabyte));
    ASSERT_NE(blocks.back(), nullptr);
  }
  for (void* block : blocks) ReleaseBlock(block);
  const int64_t kept = FreeKeptBlocks();
  EXPECT_GT(kept, 256 * kMegabyte);
  EXPECT_LE(kept, 512 * kMegabyte);
  EXPECT_EQ(FreeKeptBlocks(), 0);
  ReleaseBlock(AllocateBlock(513 * kMegabyte));
  EXPECT_EQ(FreeKeptBlocks(), 0);
}

TEST_F(KeptMemoryTest, SmallBlocksAreFreed) {
  for (int64_t bytes : {0, 1, 4096}) {
    void* block = AllocateBlock(bytes);
    ASSERT_NE(block, nullptr);
    ReleaseBlock(block);
  }
  ReleaseBlock(nullptr);
  EXPECT_EQ(FreeKeptBlocks(), 0);
}

TEST(KeptMemory, NoMemoryIsNull) {
  EXPECT_EQ(AllocateBlock(int64_t{1} << 60), nullptr);
  EXPECT_EQ(AllocateBlock(INT64_MAX), nullptr);
}

// No block has two owners at a time.
TEST(KeptMemory, ThreadsShareIt) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i) {
        const int64_t bytes = (64 + i % 5 * 16) << 10;
        char* block = static_cast<char*>(AllocateBlock(bytes));
        std::memset(block, t, bytes);
        std::this_thread::yield();
        for (int64_t b = 0; b < bytes; b += 997) ASSERT_EQ(block[b], t);
        ReleaseBlock(block);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace conv_transpose_nd
