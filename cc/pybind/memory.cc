#include "cc/pybind/memory.h"

#include <algorithm>
#include <new>

#include "cc/kernels/cpu/huge_pages.h"

namespace py = pybind11;

namespace conv_transpose_nd {

std::unique_ptr<void, FreeDeleter> AllocateWorkspace(int64_t bytes) {
  void* p =
      std::aligned_alloc(64, (std::max<int64_t>(bytes, 1) + 63) / 64 * 64);
  if (p == nullptr) throw std::bad_alloc();
  AdviseHugePages(p, bytes);
  return std::unique_ptr<void, FreeDeleter>(p);
}

py::array AllocateResult(const py::dtype& dtype, const Dims& dims) {
  auto memory = AllocateWorkspace(NumElements(dims) * dtype.itemsize());
  const py::capsule owner(memory.get(), [](void* p) { std::free(p); });
  return py::array(dtype, dims, memory.release(), owner);
}

}  // namespace conv_transpose_nd
