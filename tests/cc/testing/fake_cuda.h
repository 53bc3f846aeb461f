// A CUDA driver without a GPU: libcuda.so.1 with the functions that launches
// need. Device memory is host memory, streams and contexts are numbers, and
// every call is counted and can be made to fail. What a kernel does is up to
// the program: nothing, or a function that emulates it.
//
// Programs find these controls with dlsym, in the library that they loaded as
// the driver.
#ifndef CONV_TRANSPOSE_ND_TESTING_FAKE_CUDA_H_
#define CONV_TRANSPOSE_ND_TESTING_FAKE_CUDA_H_

#include <stddef.h>

extern "C" {

typedef struct {
  const char* kernel;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  void* stream;
  void* context;
  void** params;  // of cuLaunchKernel; only while the launch lasts
} fake_cuda_launch;

// Forgets contexts, calls, failures and the runner; one device of compute
// capability 8.0, and one context, current on every thread.
void fake_cuda_reset(void);
void fake_cuda_set_device(int major, int minor, int multiprocessors,
                          int shared_bytes);
// The context that is current on threads that pushed none; null: none is.
void fake_cuda_set_context(void* context);
// What cuStreamGetCtx says of `stream`.
void fake_cuda_set_stream_context(void* stream, void* context);
// The call of `function` after the next `skip` ones returns `result`, and all
// later ones where `times` is not 1.
void fake_cuda_fail(const char* function, int result, int skip, int times);
// How often `function` was called.
int fake_cuda_calls(const char* function);
void fake_cuda_set_runner(void (*runner)(const fake_cuda_launch*));
int fake_cuda_launches(void);
// Of launch i: the kernel's name.
const char* fake_cuda_kernel(int i);
// The largest dynamic shared memory that the kernel was given leave to use.
int fake_cuda_shared_limit(const char* kernel);

}  // extern "C"

#endif  // CONV_TRANSPOSE_ND_TESTING_FAKE_CUDA_H_
