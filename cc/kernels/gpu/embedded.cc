// The launcher of the device code in this library: what needs a build with it.
#include "cc/kernels/gpu/launch.h"

namespace conv_transpose_nd {
namespace gpu {

Status GetLauncher(Launcher** launcher) {
  const Driver* driver = nullptr;
  CT_RETURN_IF_ERROR(GetDriver(&driver));
  // Never destroyed: the driver may be gone when a process ends.
  static Launcher* const process_wide = new Launcher(driver, EmbeddedImages());
  *launcher = process_wide;
  return OkStatus();
}

}  // namespace gpu
}  // namespace conv_transpose_nd
