#include "cc/kernels/gpu/c_api.h"

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "cc/kernels/gpu/launch.h"

using conv_transpose_nd::Attributes;
using conv_transpose_nd::ConvTransposeGeometry;
using conv_transpose_nd::DataFormat;
using conv_transpose_nd::Dims;
using conv_transpose_nd::DType;
using conv_transpose_nd::InvalidArgument;
using conv_transpose_nd::kMaxRank;
using conv_transpose_nd::OkStatus;
using conv_transpose_nd::Operation;
using conv_transpose_nd::Padding;
using conv_transpose_nd::Shapes;
using conv_transpose_nd::Status;
using conv_transpose_nd::StatusCode;
namespace gpu = conv_transpose_nd::gpu;

struct conv_transpose_nd_gpu_program {
  gpu::Launcher* launcher = nullptr;
  gpu::Program program;
  Dims result_dims;
  bool aligned = true;
};

namespace {

// Short enough to stay without memory of its own where there is none.
constexpr char kNoMemory[] = "no memory";

std::string& LastError() {
  thread_local std::string message;
  return message;
}

// Runs `body`, which returns a Status, and turns what comes of it into a code.
template <typename Body>
int Guard(const Body& body) {
  try {
    const Status status = body();
    if (status.ok()) return 0;
    LastError() = status.message();
    return static_cast<int>(status.code());
  } catch (const std::bad_alloc&) {
    LastError().assign(kNoMemory);
    return static_cast<int>(StatusCode::kResourceExhausted);
  }
}

template <typename Value>
struct Named {
  const char* name;
  Value value;
};

template <typename Value, size_t count>
Status Parse(const char* argument, const char* text,
             const Named<Value> (&table)[count], Value* value) {
  std::string names;
  for (const Named<Value>& entry : table) {
    if (text != nullptr && std::string(text) == entry.name) {
      *value = entry.value;
      return OkStatus();
    }
    names += (names.empty() ? "'" : ", '") + std::string(entry.name) + "'";
  }
  return InvalidArgument(std::string(argument) + " must be one of " + names +
                         ", got " +
                         (text != nullptr ? "'" + std::string(text) + "'"
                                          : std::string("a null pointer")));
}

constexpr Named<Operation> kOperations[] = {
    {"conv_transpose", Operation::kConvTranspose},
    {"input_grad", Operation::kInputGrad},
    {"filter_grad", Operation::kFilterGrad}};
constexpr Named<DType> kDTypes[] = {{"half", DType::kHalf},
                                    {"bfloat16", DType::kBFloat16},
                                    {"float", DType::kFloat},
                                    {"double", DType::kDouble}};
constexpr Named<Padding> kPaddings[] = {{"VALID", Padding::kValid},
                                        {"SAME", Padding::kSame},
                                        {"SAME_LOWER", Padding::kSameLower},
                                        {"EXPLICIT", Padding::kExplicit}};
constexpr Named<DataFormat> kDataFormats[] = {
    {"CHANNELS_LAST", DataFormat::kChannelsLast},
    {"CHANNELS_FIRST", DataFormat::kChannelsFirst}};

Status Read(const conv_transpose_nd_gpu_call& call, Operation* operation,
            Attributes* attributes, Shapes* shapes) {
  CT_RETURN_IF_ERROR(
      Parse("operation", call.operation, kOperations, operation));
  CT_RETURN_IF_ERROR(Parse("dtype", call.dtype, kDTypes, &attributes->dtype));
  CT_RETURN_IF_ERROR(
      Parse("padding", call.padding, kPaddings, &attributes->padding));
  CT_RETURN_IF_ERROR(Parse("data_format", call.data_format, kDataFormats,
                           &attributes->data_format));
  if (call.activation == nullptr ||
      !conv_transpose_nd::ParseActivation(call.activation,
                                          &attributes->activation)) {
    return InvalidArgument("activation must be the name of one, got " +
                           (call.activation
                                ? "'" + std::string(call.activation) + "'"
                                : std::string("a null pointer")));
  }
  if (call.rank < 1 || call.rank > kMaxRank) {
    return InvalidArgument("rank must be 1 to 6, got " +
                           std::to_string(call.rank));
  }
  const int64_t dims = call.rank + 2;
  const auto list = [dims](const int64_t* values, int64_t factor = 1) {
    return Dims(values, values + factor * dims);
  };
  attributes->groups = call.groups;
  attributes->strides = list(call.strides);
  attributes->dilations = list(call.dilations);
  if (attributes->padding == Padding::kExplicit) {
    attributes->explicit_paddings = list(call.explicit_paddings, 2);
  }
  if (*operation != Operation::kInputGrad) shapes->input = list(call.input);
  shapes->filter = list(call.filter);
  if (call.has_output) shapes->output = list(call.output);
  shapes->has_bias = call.has_bias != 0;
  return OkStatus();
}

Status Create(const conv_transpose_nd_gpu_call& call, void* stream,
              conv_transpose_nd_gpu_program* made) {
  Operation operation;
  Attributes attributes;
  Shapes shapes;
  CT_RETURN_IF_ERROR(Read(call, &operation, &attributes, &shapes));
  if (shapes.has_bias) {
    // Its length is what the filter says: the caller has none to be checked.
    const int64_t columns = shapes.filter[call.rank];
    shapes.bias = {columns * std::max<int64_t>(call.groups, 1)};
  }
  ConvTransposeGeometry geometry;
  CT_RETURN_IF_ERROR(ResolveGeometry(operation, shapes, attributes, &geometry));
  CT_RETURN_IF_ERROR(gpu::GetLauncher(&made->launcher));
  gpu::DeviceInfo device;
  CT_RETURN_IF_ERROR(made->launcher->Describe(stream, &device));
  made->aligned = call.aligned != 0;
  made->program = gpu::MakeProgram(operation, geometry, attributes.dtype,
                                   device, call.allow_tf32 != 0, made->aligned);
  made->result_dims = ResultDims(operation, geometry);
  return OkStatus();
}

Status CheckAligned(const char* name, const void* pointer, uintptr_t bytes) {
  if (reinterpret_cast<uintptr_t>(pointer) % bytes == 0) return OkStatus();
  return InvalidArgument(std::string(name) + " must be aligned to " +
                         std::to_string(bytes) + " bytes, got address " +
                         std::to_string(reinterpret_cast<uintptr_t>(pointer)));
}

Status CheckOperands(const conv_transpose_nd_gpu_program& program,
                     const gpu::LaunchOperands& operands,
                     const void* workspace) {
  if (program.program.workspace_bytes > 0 && workspace == nullptr) {
    return InvalidArgument("workspace must hold " +
                           std::to_string(program.program.workspace_bytes) +
                           " bytes, got a null pointer");
  }
  CT_RETURN_IF_ERROR(CheckAligned("workspace", workspace, 256));
  if (!program.aligned) return OkStatus();
  CT_RETURN_IF_ERROR(CheckAligned("first", operands.first, 16));
  CT_RETURN_IF_ERROR(CheckAligned("second", operands.second, 16));
  CT_RETURN_IF_ERROR(CheckAligned("bias", operands.bias, 16));
  return CheckAligned("result", operands.result, 16);
}

}  // namespace

#define CT_EXPORT __attribute__((visibility("default")))

extern "C" {

CT_EXPORT int conv_transpose_nd_gpu_create(
    const conv_transpose_nd_gpu_call* call, void* stream,
    conv_transpose_nd_gpu_program** program) {
  *program = nullptr;
  return Guard([&] {
    auto made = std::make_unique<conv_transpose_nd_gpu_program>();
    CT_RETURN_IF_ERROR(Create(*call, stream, made.get()));
    *program = made.release();
    return OkStatus();
  });
}

CT_EXPORT void conv_transpose_nd_gpu_destroy(
    conv_transpose_nd_gpu_program* program) {
  delete program;
}

CT_EXPORT int64_t conv_transpose_nd_gpu_workspace_bytes(
    const conv_transpose_nd_gpu_program* program) {
  return program->program.workspace_bytes;
}

CT_EXPORT int conv_transpose_nd_gpu_result_dims(
    const conv_transpose_nd_gpu_program* program, int64_t* dims) {
  std::copy(program->result_dims.begin(), program->result_dims.end(), dims);
  return static_cast<int>(program->result_dims.size());
}

CT_EXPORT const char* conv_transpose_nd_gpu_reason(
    const conv_transpose_nd_gpu_program* program) {
  return program->program.reason.c_str();
}

CT_EXPORT const char* conv_transpose_nd_gpu_kernel(
    const conv_transpose_nd_gpu_program* program, int i) {
  const auto& launches = program->program.launches;
  const bool exists = i >= 0 && static_cast<size_t>(i) < launches.size();
  return exists ? launches[i].kernel : nullptr;
}

CT_EXPORT int conv_transpose_nd_gpu_prepare(
    const conv_transpose_nd_gpu_program* program, void* workspace,
    void* stream) {
  return Guard([&] {
    return program->launcher->Upload(program->program, workspace, stream);
  });
}

CT_EXPORT int conv_transpose_nd_gpu_run(
    const conv_transpose_nd_gpu_program* program, const void* first,
    const void* second, const void* bias, void* result, void* workspace,
    void* stream) {
  return Guard([&] {
    const gpu::LaunchOperands operands{first, second, bias, result};
    CT_RETURN_IF_ERROR(CheckOperands(*program, operands, workspace));
    return program->launcher->Run(program->program, operands, workspace,
                                  stream);
  });
}

CT_EXPORT const char* conv_transpose_nd_gpu_error(void) {
  return LastError().c_str();
}

}  // extern "C"
