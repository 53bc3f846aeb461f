// Result of a call that can fail on user input. Step 4 of the path of a call:
// geometry is the only layer that fails, so nothing below it returns a Status.
#ifndef CONV_TRANSPOSE_ND_CORE_STATUS_H_
#define CONV_TRANSPOSE_ND_CORE_STATUS_H_

#include <string>
#include <utility>

namespace conv_transpose_nd {

enum class StatusCode {
  kOk,
  kInvalidArgument,
  kResourceExhausted,
  kUnimplemented,
  kUnavailable,  // no driver, or no device
  kInternal,     // the device or its driver failed
};

// A code and, unless ok, a message of the form "argument rule, got value".
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message)
      : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status OkStatus() { return Status(); }
inline Status InvalidArgument(std::string message) {
  return Status(StatusCode::kInvalidArgument, std::move(message));
}

}  // namespace conv_transpose_nd

#define CT_RETURN_IF_ERROR(expression)                     \
  do {                                                     \
    ::conv_transpose_nd::Status ct_status_ = (expression); \
    if (!ct_status_.ok()) return ct_status_;               \
  } while (false)

#endif  // CONV_TRANSPOSE_ND_CORE_STATUS_H_
