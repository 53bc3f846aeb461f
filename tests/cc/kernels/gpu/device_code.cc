// The device code, compiled for the CPU.
#include "tests/cc/kernels/gpu/emulator.h"
#include "tests/cc/kernels/gpu/emulator_wgmma.h"
//
#include "cc/kernels/gpu/channels.cu"
#include "cc/kernels/gpu/direct.cu"
#include "cc/kernels/gpu/gemm_fma.cu"
#include "cc/kernels/gpu/gemm_mma.cu"
#include "cc/kernels/gpu/gemm_sum.cu"
#include "cc/kernels/gpu/gemm_wgmma.cu"
