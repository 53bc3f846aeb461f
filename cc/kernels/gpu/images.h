// The device code that this library holds: one image per .cu file and
// architecture. The table itself is written at build time by cmake/cubins.py.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_IMAGES_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_IMAGES_H_

#include <cstddef>
#include <string_view>

namespace conv_transpose_nd {
namespace gpu {

struct Image {
  const char* name;    // as in messages: "conv_transpose_f32.sm_80.cubin"
  const char* module;  // stem of the .cu file
  int arch;            // 10 * major + minor
  bool exact;          // runs on this architecture only (sm_90a)
  bool ptx;  // text that the driver compiles, for this and later architectures
  const char* const* kernels;  // ends with null
  const unsigned char* bytes;
  size_t size;
};

struct ImageTable {
  const Image* images;
  size_t size;

  const Image* begin() const { return images; }
  const Image* end() const { return images + size; }
};

// What was compiled in.
ImageTable EmbeddedImages();

// The image of `module` for a device: a cubin of the same major version that
// is not newer, the newest of these; else the newest PTX. Null where there is
// none, or where `module` is in no table.
const Image* FindImage(const ImageTable& table, std::string_view module,
                       int compute_capability);

// The table's own copy of the name, or null where the image lacks the kernel.
const char* FindKernel(const Image& image, std::string_view kernel);

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_IMAGES_H_
