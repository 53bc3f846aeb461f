#include "cc/kernels/gpu/images.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

bool Runs(const Image& image, int compute_capability) {
  if (image.exact) return image.arch == compute_capability;
  if (image.arch > compute_capability) return false;
  return image.ptx || image.arch / 10 == compute_capability / 10;
}

// A cubin starts at once; PTX is compiled by the driver at its first use.
bool Better(const Image& a, const Image& b) {
  if (a.ptx != b.ptx) return b.ptx;
  if (a.arch != b.arch) return a.arch > b.arch;
  return a.exact;
}

}  // namespace

const Image* FindImage(const ImageTable& table, std::string_view module,
                       int compute_capability) {
  const Image* best = nullptr;
  for (const Image& image : table) {
    if (image.module != module || !Runs(image, compute_capability)) continue;
    if (best == nullptr || Better(image, *best)) best = &image;
  }
  return best;
}

const char* FindKernel(const Image& image, std::string_view kernel) {
  const char* const* name = image.kernels;
  while (*name != nullptr && *name != kernel) ++name;
  return *name;
}

}  // namespace gpu
}  // namespace conv_transpose_nd
