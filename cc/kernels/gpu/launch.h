// Runs programs (program.h) through the CUDA driver. Step 5 of the path of a
// call on a GPU. Opaque handles only: no header of CUDA, no TensorFlow.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_LAUNCH_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_LAUNCH_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "cc/core/status.h"
#include "cc/kernels/gpu/driver.h"
#include "cc/kernels/gpu/images.h"
#include "cc/kernels/gpu/program.h"

namespace conv_transpose_nd {
namespace gpu {

// Device pointers, by operation as program.h lists them.
struct LaunchOperands {
  const void* first = nullptr;
  const void* second = nullptr;
  const void* bias = nullptr;
  void* result = nullptr;
};

// Loads device code and launches it, in whatever context is current on the
// calling thread; where none is, in that of the stream. Thread-safe. Images
// and functions are looked up once per context and kept for good.
//
// Launches are asynchronous: an error of a kernel that runs is reported by a
// later call of the driver, not necessarily this library's.
class Launcher {
 public:
  // Both outlive the launcher.
  Launcher(const Driver* driver, const ImageTable& images);
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;
  ~Launcher();

  // What MakeProgram needs to know of the device. compute_capability is that
  // of the code that will run there, which may be older than the device.
  // Unimplemented where there is no code for it.
  Status Describe(Stream stream, DeviceInfo* info);

  // Copies program.constants to the head of `workspace`. The program may be
  // gone when this returns; the stream orders the copy before later launches.
  Status Upload(const Program& program, void* workspace, Stream stream);

  // The same from `tables`, where an Upload put them: for workspaces that hold
  // more, and are another for each call.
  Status CopyTables(const Program& program, const void* tables, void* workspace,
                    Stream stream);

  // Issues the launches in order. workspace: program.workspace_bytes on the
  // device, aligned to 256 bytes, with the constants at its head.
  Status Run(const Program& program, const LaunchOperands& operands,
             void* workspace, Stream stream);

 private:
  class Scope;
  struct Entry;
  struct State;

  Status StateOf(Context context, State** state);
  Status DescribeDevice(DeviceInfo* info) const;
  Status Find(State* state, const Launch& launch, Entry** entry);
  Status Load(State* state, const Launch& launch, Entry** entry);
  Status RunOne(State* state, const Launch& launch,
                const LaunchOperands& operands, void* workspace, Stream stream);

  const Driver* const driver_;
  const ImageTable images_;
  std::shared_mutex mutex_;
  // By the driver's number of a context, which it never uses twice.
  std::map<uint64_t, std::unique_ptr<State>> states_;
};

// The process-wide launcher of EmbeddedImages(). Unavailable, with the reason,
// where there is no driver or no device.
Status GetLauncher(Launcher** launcher);

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_LAUNCH_H_
