// Memory for results and workspaces of the NumPy module.
#ifndef CONV_TRANSPOSE_ND_PYBIND_MEMORY_H_
#define CONV_TRANSPOSE_ND_PYBIND_MEMORY_H_

#include <pybind11/numpy.h>

#include <cstdint>
#include <memory>

#include "cc/core/geometry.h"
#include "cc/kernels/cpu/kept_memory.h"

namespace conv_transpose_nd {

struct FreeDeleter {
  void operator()(void* block) const { ReleaseBlock(block); }
};

// 64-byte aligned. Throws std::bad_alloc.
std::unique_ptr<void, FreeDeleter> AllocateWorkspace(int64_t bytes);

// An array on a boundary of 64 bytes, so that no vector that the kernels store
// crosses cache lines; NumPy's own arrays are 16 bytes off it.
pybind11::array AllocateResult(const pybind11::dtype& dtype, const Dims& dims);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_PYBIND_MEMORY_H_
