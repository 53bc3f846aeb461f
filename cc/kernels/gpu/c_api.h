/* The GPU kernels for programs without TensorFlow, C by the letter: ctypes,
 * PyTorch tensors, plain CUDA. Pointers are device pointers, streams are
 * CUstream or cudaStream_t; a context must be current on the calling thread, as
 * it is once PyTorch or the CUDA runtime has been used there.
 *
 * Functions that can fail return 0, or a number that is not: then
 * conv_transpose_nd_gpu_error() has the words, until the next failure on the
 * same thread. Launches are asynchronous.
 */
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_C_API_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_C_API_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A call. Names of padding, data_format, activation and dtype are those of the
 * op. Lists hold rank + 2 values in the order of data_format, as the op's do.
 */
typedef struct {
  const char* operation; /* conv_transpose, input_grad or filter_grad */
  const char* dtype;     /* half, bfloat16, float or double */
  const char* padding;
  const char* data_format;
  const char* activation;
  int64_t rank; /* spatial axes, 1 to 6 */
  int64_t groups;
  int64_t has_bias;
  int64_t allow_tf32; /* products of float may be rounded to TF32 */
  int64_t aligned;    /* operands lie on 16 bytes; 0: on one element */
  int64_t has_output; /* 0: output is inferred (conv_transpose only) */
  int64_t input[8];   /* not read by input_grad */
  int64_t filter[8];
  int64_t output[8];
  int64_t strides[8];
  int64_t dilations[8];
  int64_t explicit_paddings[16]; /* read where padding is EXPLICIT */
} conv_transpose_nd_gpu_call;

typedef struct conv_transpose_nd_gpu_program conv_transpose_nd_gpu_program;

/* Validates the call and chooses kernels for the device. The program may serve
 * any number of threads and streams at a time. */
int conv_transpose_nd_gpu_create(const conv_transpose_nd_gpu_call* call,
                                 void* stream,
                                 conv_transpose_nd_gpu_program** program);
void conv_transpose_nd_gpu_destroy(conv_transpose_nd_gpu_program* program);

/* Bytes of device memory, aligned to 256, that run needs beside its operands;
 * 0: null will do. */
int64_t conv_transpose_nd_gpu_workspace_bytes(
    const conv_transpose_nd_gpu_program* program);
/* Writes rank + 2 lengths of the result; returns how many these are. */
int conv_transpose_nd_gpu_result_dims(
    const conv_transpose_nd_gpu_program* program, int64_t* dims);
/* Which kernels run, and why. Lives as long as the program. */
const char* conv_transpose_nd_gpu_reason(
    const conv_transpose_nd_gpu_program* program);
/* The kernel of launch i, or null where there are not so many. */
const char* conv_transpose_nd_gpu_kernel(
    const conv_transpose_nd_gpu_program* program, int i);

/* Writes the program's tables to the head of a fresh workspace; before the
 * first run with it, on the same stream. */
int conv_transpose_nd_gpu_prepare(const conv_transpose_nd_gpu_program* program,
                                  void* workspace, void* stream);
/*                    first         second
 *   conv_transpose   input         filter
 *   input_grad       output_grad   filter
 *   filter_grad      input         output_grad
 * A workspace serves one run at a time. */
int conv_transpose_nd_gpu_run(const conv_transpose_nd_gpu_program* program,
                              const void* first, const void* second,
                              const void* bias, void* result, void* workspace,
                              void* stream);

const char* conv_transpose_nd_gpu_error(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CONV_TRANSPOSE_ND_KERNELS_GPU_C_API_H_ */
