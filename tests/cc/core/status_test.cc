#include "cc/core/status.h"

#include <gtest/gtest.h>

namespace conv_transpose_nd {
namespace {

TEST(StatusTest, IsOkByDefault) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::kOk);
  EXPECT_EQ(status.message(), "");
  EXPECT_TRUE(OkStatus().ok());
}

TEST(StatusTest, KeepsCodeAndMessage) {
  const Status status = InvalidArgument("groups must be >= 1, got 0");
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "groups must be >= 1, got 0");
  EXPECT_FALSE(Status(StatusCode::kResourceExhausted, "").ok());
}

Status ReturnsFirst(const Status& first, const Status& second) {
  CT_RETURN_IF_ERROR(first);
  CT_RETURN_IF_ERROR(second);
  return OkStatus();
}

TEST(StatusTest, ReturnIfErrorStopsAtTheFirst) {
  EXPECT_TRUE(ReturnsFirst(OkStatus(), OkStatus()).ok());
  EXPECT_EQ(ReturnsFirst(InvalidArgument("a"), InvalidArgument("b")).message(),
            "a");
  EXPECT_EQ(ReturnsFirst(OkStatus(), InvalidArgument("b")).message(), "b");
}

}  // namespace
}  // namespace conv_transpose_nd
