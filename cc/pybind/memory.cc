#include "cc/pybind/memory.h"

#include <new>

namespace py = pybind11;

namespace conv_transpose_nd {

std::unique_ptr<void, FreeDeleter> AllocateWorkspace(int64_t bytes) {
  void* block = AllocateBlock(bytes);
  if (block == nullptr) throw std::bad_alloc();
  return std::unique_ptr<void, FreeDeleter>(block);
}

py::array AllocateResult(const py::dtype& dtype, const Dims& dims) {
  auto memory = AllocateWorkspace(NumElements(dims) * dtype.itemsize());
  const py::capsule owner(memory.get(), &ReleaseBlock);
  return py::array(dtype, dims, memory.release(), owner);
}

}  // namespace conv_transpose_nd
