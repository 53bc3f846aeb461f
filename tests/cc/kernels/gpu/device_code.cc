// The device code, compiled for the CPU.
#include "tests/cc/kernels/gpu/emulator.h"
//
#include "cc/kernels/gpu/direct.cu"
