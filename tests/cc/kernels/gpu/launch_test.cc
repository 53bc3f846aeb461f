// The launcher against a driver without a GPU: which image is loaded, what is
// loaded how often, what reaches the driver, and what its errors become.
#include "cc/kernels/gpu/launch.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/cc/testing/fake_cuda_control.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

const char* const kBoth[] = {"double_it", "wide", nullptr};
const char* const kOne[] = {"double_it", nullptr};
const char* const kOther[] = {"triple_it", nullptr};
alignas(64) const unsigned char kCubin[] =
    "\x7f"
    "ELF";
alignas(64) const unsigned char kPtx[] = ".version 8.8\n";

const Image kImages[] = {
    {"m.sm_75.cubin", "m", 75, false, false, kOne, kCubin, sizeof(kCubin)},
    {"m.sm_80.cubin", "m", 80, false, false, kBoth, kCubin, sizeof(kCubin)},
    {"m.sm_86.cubin", "m", 86, false, false, kBoth, kCubin, sizeof(kCubin)},
    {"m.sm_90a.cubin", "m", 90, true, false, kBoth, kCubin, sizeof(kCubin)},
    {"m.compute_80.ptx", "m", 80, false, true, kBoth, kPtx, sizeof(kPtx)},
    {"n.sm_80.cubin", "n", 80, false, false, kOther, kCubin, sizeof(kCubin)},
};
const ImageTable kTable = {kImages, 6};

struct Params {
  int64_t factor;
};

// "double_it": result[i] = factor * first[i] + workspace[0], of 4 int32.
void Emulate(const fake_cuda_launch* launch) {
  const auto factor = static_cast<const Params*>(launch->params[0])->factor;
  const int32_t* first = *static_cast<int32_t**>(launch->params[1]);
  int32_t* result = *static_cast<int32_t**>(launch->params[4]);
  const int32_t* workspace = *static_cast<int32_t**>(launch->params[5]);
  for (int i = 0; i < 4; ++i) {
    result[i] = static_cast<int32_t>(factor) * first[i] + workspace[0];
  }
}

Launch Call(const char* kernel = "double_it", const char* module = "m",
            int64_t factor = 2) {
  Launch launch;
  launch.module = module;
  launch.kernel = kernel;
  launch.params.resize(sizeof(Params));
  const Params params{factor};
  std::memcpy(launch.params.data(), &params, sizeof(params));
  return launch;
}

Program Of(const Launch& launch) {
  Program program;
  program.launches = {launch};
  return program;
}

class LaunchTest : public ::testing::Test {
 protected:
  LaunchTest() {
    FAKE(fake_cuda_reset)();
    const Status status = OpenDriver("libcuda.so.1", &driver_);
    EXPECT_TRUE(status.ok()) << status.message();
  }

  Status Run(const Program& program) {
    return launcher_.Run(program, {first_, nullptr, nullptr, result_}, table_,
                         nullptr);
  }
  int Calls(const char* function) { return FAKE(fake_cuda_calls)(function); }

  Driver driver_;
  Launcher launcher_{&driver_, kTable};
  int32_t first_[4] = {1, 2, 3, 4};
  int32_t result_[4] = {-1, -1, -1, -1};
  int32_t table_[1] = {100};
};

TEST(ImagesTest, TheNewestCubinOfTheSameMajorVersionIsBest) {
  const auto name = [](int capability) {
    const Image* image = FindImage(kTable, "m", capability);
    return std::string(image != nullptr ? image->name : "none");
  };
  EXPECT_EQ(name(70), "none");
  EXPECT_EQ(name(75), "m.sm_75.cubin");
  EXPECT_EQ(name(80), "m.sm_80.cubin");
  EXPECT_EQ(name(86), "m.sm_86.cubin");
  EXPECT_EQ(name(87), "m.sm_86.cubin");
  EXPECT_EQ(name(90), "m.sm_90a.cubin");
  EXPECT_EQ(name(100), "m.compute_80.ptx") << "90a runs on 9.0 only";
  EXPECT_EQ(name(130), "m.compute_80.ptx");
  EXPECT_EQ(FindImage(kTable, "unknown", 80), nullptr);
}

TEST(DriverTest, AMissingLibraryIsNamed) {
  Driver driver;
  const Status status = OpenDriver("libcuda_that_is_not_there.so.1", &driver);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("the CUDA driver cannot be loaded: "
                                  "libcuda_that_is_not_there.so.1"),
            std::string::npos)
      << status.message();
}

TEST(DriverTest, ALibraryWithoutTheFunctionsIsNoDriver) {
  Driver driver;
  const Status status = OpenDriver("libm.so.6", &driver);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(status.message(),
            "the CUDA driver libm.so.6 lacks cuInit: a driver of version 525 "
            "or later has it");
}

TEST_F(LaunchTest, AFailedInitialisationIsNotKept) {
  FAKE(fake_cuda_fail)("cuInit", 100, 0, 1);
  Driver driver;
  const Status status = OpenDriver("libcuda.so.1", &driver);
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_EQ(status.message(),
            "cuInit: no CUDA-capable device is detected "
            "(CUDA_ERROR_NO_DEVICE)");
  EXPECT_TRUE(OpenDriver("libcuda.so.1", &driver).ok());
}

TEST_F(LaunchTest, TheDeviceIsDescribedByTheCodeThatWillRun) {
  FAKE(fake_cuda_set_device)(8, 7, 16, 166912);
  DeviceInfo info;
  const Status status = launcher_.Describe(nullptr, &info);
  ASSERT_TRUE(status.ok()) << status.message();
  // n has an image for 8.0 only, and m one for 8.6.
  EXPECT_EQ(info.compute_capability, 80);
  EXPECT_EQ(info.multiprocessors, 16);
  EXPECT_EQ(info.shared_bytes_per_block, 166912);
}

TEST_F(LaunchTest, WgmmaIsUsedWhereItsImageHasKernelsAndNobodyMinds) {
  const char* const none[] = {nullptr};
  const Image images[] = {{"gemm_wgmma.sm_80.cubin", "gemm_wgmma", 80, false,
                           false, none, kCubin, sizeof(kCubin)},
                          {"gemm_wgmma.sm_90a.cubin", "gemm_wgmma", 90, true,
                           false, kOne, kCubin, sizeof(kCubin)}};
  bool always = false;
  const auto wgmma = [&](int major) {
    FAKE(fake_cuda_set_device)(major, 0, 132, 232448);
    Launcher launcher(&driver_, {images, 2});
    DeviceInfo info;
    const Status status = launcher.Describe(nullptr, &info);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_LE(info.wgmma_always, info.wgmma);
    always = info.wgmma_always;
    return info.wgmma;
  };
  EXPECT_FALSE(wgmma(8));
  EXPECT_TRUE(wgmma(9));
  setenv("CONV_TRANSPOSE_ND_WGMMA", "0", 1);
  EXPECT_FALSE(wgmma(9));
  setenv("CONV_TRANSPOSE_ND_WGMMA", "1", 1);
  EXPECT_TRUE(wgmma(9));
  EXPECT_FALSE(always);
  setenv("CONV_TRANSPOSE_ND_WGMMA", "always", 1);
  EXPECT_TRUE(wgmma(9));
  EXPECT_TRUE(always);
  EXPECT_FALSE(wgmma(8));
  unsetenv("CONV_TRANSPOSE_ND_WGMMA");
}

TEST_F(LaunchTest, ADeviceWithoutCodeIsUnimplemented) {
  FAKE(fake_cuda_set_device)(7, 0, 80, 98304);
  DeviceInfo info;
  const Status status = launcher_.Describe(nullptr, &info);
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented);
  EXPECT_EQ(status.message(),
            "no device code for a GPU of compute capability 7.0; built for "
            "7.5, 8.0, 8.6, 9.0 and, compiled by the driver, what follows "
            "8.0");
}

TEST_F(LaunchTest, ArgumentsTablesAndGeometryArrive) {
  FAKE(fake_cuda_set_runner)(Emulate);
  Program program = Of(Call("double_it", "m", 3));
  program.launches[0].grid[1] = 7;
  program.workspace_bytes = 4;
  const int32_t table = 5;
  program.constants.assign(reinterpret_cast<const char*>(&table),
                           reinterpret_cast<const char*>(&table + 1));
  ASSERT_TRUE(launcher_.Upload(program, table_, nullptr).ok());
  const Status status = Run(program);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(std::vector<int32_t>(result_, result_ + 4),
            (std::vector<int32_t>{8, 11, 14, 17}));
  ASSERT_EQ(FAKE(fake_cuda_launches)(), 1);
  EXPECT_STREQ(FAKE(fake_cuda_kernel)(0), "double_it");
}

TEST_F(LaunchTest, LaunchesKeepTheirOrder) {
  Program program = Of(Call());
  program.launches.push_back(Call("triple_it", "n"));
  program.launches.push_back(Call("wide"));
  ASSERT_TRUE(Run(program).ok());
  ASSERT_EQ(FAKE(fake_cuda_launches)(), 3);
  EXPECT_STREQ(FAKE(fake_cuda_kernel)(1), "triple_it");
  EXPECT_STREQ(FAKE(fake_cuda_kernel)(2), "wide");
}

TEST_F(LaunchTest, NothingIsLoadedTwice) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Run(Of(Call())).ok());
    ASSERT_TRUE(Run(Of(Call("wide"))).ok());
  }
  EXPECT_EQ(Calls("cuModuleLoadData"), 1);
  EXPECT_EQ(Calls("cuModuleGetFunction"), 2);
  EXPECT_EQ(Calls("cuDeviceGetAttribute"), 4);
  EXPECT_EQ(Calls("cuLaunchKernel"), 6);
}

TEST_F(LaunchTest, EveryContextHasItsOwnModule) {
  for (const intptr_t context : {0x1000, 0x2000, 0x1000, 0x2000}) {
    FAKE(fake_cuda_set_context)(reinterpret_cast<void*>(context));
    // The driver refuses a function of another context.
    const Status status = Run(Of(Call()));
    ASSERT_TRUE(status.ok()) << status.message();
  }
  EXPECT_EQ(Calls("cuModuleLoadData"), 2);
}

TEST_F(LaunchTest, WithoutACurrentContextTheStreamsIsUsedAndLeft) {
  int stream_memory = 0;
  void* const stream = &stream_memory;
  FAKE(fake_cuda_set_context)(nullptr);
  FAKE(fake_cuda_set_stream_context)(stream, reinterpret_cast<void*>(0x3000));
  const Status status = launcher_.Run(Of(Call()), {}, table_, stream);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(Calls("cuCtxPushCurrent_v2"), 1);
  EXPECT_EQ(Calls("cuCtxPopCurrent_v2"), 1);
  FAKE(fake_cuda_fail)("cuLaunchKernel", 700, 0, 1);
  EXPECT_FALSE(launcher_.Run(Of(Call()), {}, table_, stream).ok());
  EXPECT_EQ(Calls("cuCtxPopCurrent_v2"), 2) << "left after an error, too";
}

TEST_F(LaunchTest, WithoutAnyContextTheErrorSaysSo) {
  FAKE(fake_cuda_set_context)(nullptr);
  const Status status = Run(Of(Call()));
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_EQ(status.message(),
            "no CUDA context is current on the calling thread, and the stream "
            "has none");
}

TEST_F(LaunchTest, SharedMemoryIsAskedForOnce) {
  Launch launch = Call("wide");
  launch.shared_bytes = 100 << 10;
  ASSERT_TRUE(Run(Of(launch)).ok());
  ASSERT_TRUE(Run(Of(launch)).ok());
  launch.shared_bytes = 64 << 10;
  ASSERT_TRUE(Run(Of(launch)).ok());
  EXPECT_EQ(FAKE(fake_cuda_shared_limit)("wide"), 100 << 10);
  EXPECT_EQ(Calls("cuFuncSetAttribute"), 1);
  launch.shared_bytes = 120 << 10;
  ASSERT_TRUE(Run(Of(launch)).ok());
  EXPECT_EQ(Calls("cuFuncSetAttribute"), 2);
}

TEST_F(LaunchTest, MoreSharedMemoryThanThereIsFailsWithTheKernelsName) {
  Launch launch = Call("wide");
  launch.shared_bytes = 200 << 10;
  const Status status = Run(Of(launch));
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_EQ(status.message(),
            "kernel wide: 204800 bytes of shared memory: unknown error "
            "(CUresult 1)");
}

struct Fault {
  const char* function;
  int result;
  StatusCode code;
  const char* message;
};

class FaultTest : public LaunchTest,
                  public ::testing::WithParamInterface<Fault> {};

TEST_P(FaultTest, IsReportedAndDoesNotLast) {
  const Fault& fault = GetParam();
  Launch launch = Call("wide");
  launch.shared_bytes = 64 << 10;
  FAKE(fake_cuda_fail)(fault.function, fault.result, 0, 1);
  const Status status = Run(Of(launch));
  EXPECT_EQ(status.code(), fault.code);
  EXPECT_EQ(status.message(), fault.message);
  const Status again = Run(Of(launch));
  EXPECT_TRUE(again.ok()) << again.message();
}

INSTANTIATE_TEST_SUITE_P(
    All, FaultTest,
    ::testing::Values(
        Fault{"cuCtxGetCurrent", 700, StatusCode::kInternal,
              "cuCtxGetCurrent: an illegal memory access was encountered "
              "(CUDA_ERROR_ILLEGAL_ADDRESS)"},
        Fault{"cuCtxGetId", 700, StatusCode::kInternal,
              "cuCtxGetId: an illegal memory access was encountered "
              "(CUDA_ERROR_ILLEGAL_ADDRESS)"},
        Fault{"cuCtxGetDevice", 999, StatusCode::kInternal,
              "cuCtxGetDevice: unknown error (CUresult 999)"},
        Fault{"cuDeviceGetAttribute", 999, StatusCode::kInternal,
              "cuDeviceGetAttribute: unknown error (CUresult 999)"},
        Fault{"cuModuleLoadData", 2, StatusCode::kResourceExhausted,
              "kernel wide: loading m.sm_80.cubin: out of memory "
              "(CUDA_ERROR_OUT_OF_MEMORY)"},
        Fault{"cuModuleGetFunction", 500, StatusCode::kInternal,
              "kernel wide: cuModuleGetFunction in m.sm_80.cubin: unknown "
              "error (CUresult 500)"},
        Fault{"cuFuncSetAttribute", 999, StatusCode::kInternal,
              "kernel wide: 65536 bytes of shared memory: unknown error "
              "(CUresult 999)"},
        Fault{"cuLaunchKernel", 700, StatusCode::kInternal,
              "kernel wide with a grid of (1, 1, 1), blocks of (1, 1, 1) and "
              "65536 bytes of shared memory: an illegal memory access was "
              "encountered (CUDA_ERROR_ILLEGAL_ADDRESS)"}),
    [](const auto& info) { return std::string(info.param.function); });

TEST_F(LaunchTest, AFailedCopyIsReported) {
  FAKE(fake_cuda_fail)("cuMemcpyHtoDAsync_v2", 2, 0, 1);
  Program program;
  program.constants.resize(12);
  const Status status = launcher_.Upload(program, table_, nullptr);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(),
            "copying 12 bytes of tables to the device: out of memory "
            "(CUDA_ERROR_OUT_OF_MEMORY)");
  program.constants.clear();
  EXPECT_TRUE(launcher_.Upload(program, nullptr, nullptr).ok());
  EXPECT_EQ(Calls("cuMemcpyHtoDAsync_v2"), 1);
}

TEST_F(LaunchTest, TablesAreCopiedOnTheDevice) {
  Program program;
  const int32_t tables[] = {7, 8, 9};
  const char* const bytes = reinterpret_cast<const char*>(tables);
  program.constants.assign(bytes, bytes + sizeof(tables));
  int32_t kept[3] = {}, workspace[4] = {0, 0, 0, -1};
  EXPECT_TRUE(launcher_.Upload(program, kept, nullptr).ok());
  EXPECT_TRUE(launcher_.CopyTables(program, kept, workspace, nullptr).ok());
  EXPECT_EQ(std::memcmp(workspace, tables, sizeof(tables)), 0);
  EXPECT_EQ(workspace[3], -1);
  FAKE(fake_cuda_fail)("cuMemcpyDtoDAsync_v2", 2, 0, 1);
  EXPECT_EQ(launcher_.CopyTables(program, kept, workspace, nullptr).message(),
            "copying 12 bytes of tables on the device: out of memory "
            "(CUDA_ERROR_OUT_OF_MEMORY)");
}

TEST_F(LaunchTest, AKernelThatIsNotInTheImageIsUnimplemented) {
  for (const auto& [kernel, module, message] :
       std::vector<std::array<std::string, 3>>{
           {"gone", "m", "kernel gone of m.cu is not compiled for 8.0; "},
           {"wide", "gone",
            "kernel wide of gone.cu is not compiled for 8.0"}}) {
    const Status status = Run(Of(Call(kernel.c_str(), module.c_str())));
    EXPECT_EQ(status.code(), StatusCode::kUnimplemented);
    EXPECT_EQ(status.message().find(message), 0u) << status.message();
  }
  EXPECT_EQ(Calls("cuModuleLoadData"), 0);
}

TEST_F(LaunchTest, ImpossibleLaunchesDoNotReachTheDriver) {
  Launch launch = Call();
  launch.grid[1] = 65536;
  Status status = Run(Of(launch));
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented);
  EXPECT_EQ(status.message(),
            "kernel double_it needs a grid of at most (2147483647, 65535, "
            "65535) blocks, got (1, 65536, 1)");
  launch = Call();
  launch.block[0] = 1025;
  EXPECT_EQ(Run(Of(launch)).message(),
            "kernel double_it needs a block of 1 to 1024 threads, got (1025, "
            "1, 1)");
  launch.block[0] = 0;
  EXPECT_EQ(Run(Of(launch)).code(), StatusCode::kInternal);
  launch = Call();
  launch.params.resize(4096);
  EXPECT_EQ(Run(Of(launch)).message(),
            "kernel double_it takes at most 4056 bytes of parameters, got "
            "4096");
  EXPECT_EQ(Calls("cuLaunchKernel"), 0);
}

TEST_F(LaunchTest, AProgramWithoutLaunchesCallsNothing) {
  EXPECT_TRUE(Run(Program()).ok());
  EXPECT_EQ(Calls("cuCtxGetCurrent"), 0);
}

TEST_F(LaunchTest, ManyThreadsLoadOnce) {
  FAKE(fake_cuda_set_runner)(Emulate);
  constexpr int kThreads = 16, kRounds = 50;
  std::vector<std::thread> threads;
  std::vector<std::array<int32_t, 4>> results(kThreads);
  std::vector<std::string> errors(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        Launch launch = Call("double_it", "m", t);
        launch.shared_bytes = (round % 3) * (40 << 10);
        const Status status = launcher_.Run(
            Of(launch), {first_, nullptr, nullptr, results[t].data()}, table_,
            nullptr);
        if (!status.ok()) errors[t] = status.message();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < kThreads; ++t) {
    EXPECT_EQ(errors[t], "");
    EXPECT_EQ(results[t], (std::array<int32_t, 4>{t + 100, 2 * t + 100,
                                                  3 * t + 100, 4 * t + 100}));
  }
  EXPECT_EQ(Calls("cuModuleLoadData"), 1);
  EXPECT_EQ(Calls("cuLaunchKernel"), kThreads * kRounds);
}

}  // namespace
}  // namespace gpu
}  // namespace conv_transpose_nd
