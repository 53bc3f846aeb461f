// conv_transpose_nd.core: geometry, plan and the three operations on NumPy
// arrays, without TensorFlow. Arrays that are contiguous and of a supported
// dtype are used in place.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "cc/kernels/cpu/conv_transpose.h"
#include "cc/pybind/arguments.h"
#include "cc/pybind/descriptions.h"
#include "cc/pybind/memory.h"
#include "cc/pybind/operations.h"
#include "cc/pybind/prepared.h"
#include "cc/pybind/prepared_filter_grad.h"

namespace py = pybind11;

namespace conv_transpose_nd {
namespace {

void SetTarget(const std::string& name) {
  if (ChooseTarget(name)) return;
  std::string known;
  for (const std::string& target : SupportedTargets()) known += " " + target;
  Invalid("target must be one of" + known + ", got " + name);
}

void SetFamily(const std::optional<std::string>& name) {
  if (!name) return ForceFamily(KernelFamily::kNone);
  for (KernelFamily family :
       {KernelFamily::kChannelLanes, KernelFamily::kPixelLanes,
        KernelFamily::kPixelTiles, KernelFamily::kTapLanes,
        KernelFamily::kWinograd, KernelFamily::kChannelwise,
        KernelFamily::kCopiedRows, KernelFamily::kPositions}) {
    if (*name == KernelFamilyName(family)) return ForceFamily(family);
  }
  Invalid(
      "family must be None, 'channel_lanes', 'pixel_lanes', 'pixel_tiles', "
      "'tap_lanes', 'winograd', 'channelwise', 'copied_rows' or 'positions', "
      "got '" +
      *name + "'");
}

Arguments Pack(Steps strides, PaddingArgument padding,
               std::optional<Steps> output_padding, Steps dilations,
               int64_t groups, std::string data_format,
               std::string activation) {
  return {std::move(strides),
          std::move(padding),
          std::move(output_padding),
          std::move(dilations),
          groups,
          std::move(data_format),
          std::move(activation)};
}

void DefineConvTranspose(py::module_& m, const char* name, bool reference,
                         const char* doc) {
  m.def(
      name,
      [reference](const py::array& input, const py::array& filter,
                  const py::object& output_shape, Steps strides,
                  PaddingArgument padding, std::optional<Steps> output_padding,
                  Steps dilations, int64_t groups, std::string data_format,
                  const std::optional<py::array>& bias, std::string activation,
                  int num_threads) {
        return ConvTranspose(Pack(strides, padding, output_padding, dilations,
                                  groups, data_format, activation),
                             input, filter, output_shape, bias, num_threads,
                             reference);
      },
      py::arg("input"), py::arg("filter"), py::kw_only(),
      py::arg("output_shape") = py::none(), py::arg("strides") = 1,
      py::arg("padding") = "SAME", py::arg("output_padding") = py::none(),
      py::arg("dilations") = 1, py::arg("groups") = 1,
      py::arg("data_format") = "CHANNELS_LAST", py::arg("bias") = py::none(),
      py::arg("activation") = "none", py::arg("num_threads") = 0, doc);
}

void DefineInputGrad(py::module_& m, const char* name, bool reference,
                     const char* doc) {
  m.def(
      name,
      [reference](const py::array& output_grad, const py::array& filter,
                  Steps strides, PaddingArgument padding, Steps dilations,
                  int64_t groups, std::string data_format, int num_threads) {
        return InputGrad(
            Pack(strides, padding, {}, dilations, groups, data_format, "none"),
            output_grad, filter, num_threads, reference);
      },
      py::arg("output_grad"), py::arg("filter"), py::kw_only(),
      py::arg("strides") = 1, py::arg("padding") = "SAME",
      py::arg("dilations") = 1, py::arg("groups") = 1,
      py::arg("data_format") = "CHANNELS_LAST", py::arg("num_threads") = 0,
      doc);
}

void DefineFilterGrad(py::module_& m, const char* name, bool reference,
                      const char* doc) {
  m.def(
      name,
      [reference](const py::array& input, const py::object& filter_shape,
                  const py::array& output_grad, Steps strides,
                  PaddingArgument padding, Steps dilations, int64_t groups,
                  std::string data_format, int num_threads) {
        return FilterGrad(
            Pack(strides, padding, {}, dilations, groups, data_format, "none"),
            input, filter_shape, output_grad, num_threads, reference);
      },
      py::arg("input"), py::arg("filter_shape"), py::arg("output_grad"),
      py::kw_only(), py::arg("strides") = 1, py::arg("padding") = "SAME",
      py::arg("dilations") = 1, py::arg("groups") = 1,
      py::arg("data_format") = "CHANNELS_LAST", py::arg("num_threads") = 0,
      doc);
}

void DefinePrepared(py::module_& m) {
  py::class_<PreparedCall>(
      m, "PreparedCall",
      "A call whose filter never changes; prepare_conv_transpose and "
      "prepare_input_grad make it.")
      .def("__call__", &PreparedCall::operator(), py::arg("array"),
           "The result for this input or output_grad, of any batch and size.");
  m.def(
      "prepare_conv_transpose",
      [](const py::array& filter, const py::object& output_shape, Steps strides,
         PaddingArgument padding, std::optional<Steps> output_padding,
         Steps dilations, int64_t groups, std::string data_format,
         const std::optional<py::array>& bias, std::string activation,
         int num_threads) {
        return std::make_unique<PreparedCall>(
            Operation::kConvTranspose,
            Pack(strides, padding, output_padding, dilations, groups,
                 data_format, activation),
            filter, output_shape, bias, num_threads);
      },
      py::arg("filter"), py::kw_only(), py::arg("output_shape") = py::none(),
      py::arg("strides") = 1, py::arg("padding") = "SAME",
      py::arg("output_padding") = py::none(), py::arg("dilations") = 1,
      py::arg("groups") = 1, py::arg("data_format") = "CHANNELS_LAST",
      py::arg("bias") = py::none(), py::arg("activation") = "none",
      py::arg("num_threads") = 0,
      "conv_transpose as a callable of input: a copy of filter is packed at "
      "the "
      "first call, for all that follow.");
  m.def(
      "prepare_input_grad",
      [](const py::array& filter, Steps strides, PaddingArgument padding,
         Steps dilations, int64_t groups, std::string data_format,
         int num_threads) {
        return std::make_unique<PreparedCall>(
            Operation::kInputGrad,
            Pack(strides, padding, {}, dilations, groups, data_format, "none"),
            filter, py::none(), std::nullopt, num_threads);
      },
      py::arg("filter"), py::kw_only(), py::arg("strides") = 1,
      py::arg("padding") = "SAME", py::arg("dilations") = 1,
      py::arg("groups") = 1, py::arg("data_format") = "CHANNELS_LAST",
      py::arg("num_threads") = 0,
      "input_grad as a callable of output_grad, likewise.");
  py::class_<PreparedFilterGrad>(
      m, "PreparedFilterGrad",
      "filter_grad of one layer; prepare_filter_grad makes it.")
      .def("__call__", &PreparedFilterGrad::operator(), py::arg("input"),
           py::arg("output_grad"),
           "The gradient for this input and output_grad, of any batch and "
           "size.");
  m.def(
      "prepare_filter_grad",
      [](const py::object& filter_shape, Steps strides, PaddingArgument padding,
         Steps dilations, int64_t groups, std::string data_format,
         int num_threads) {
        return std::make_unique<PreparedFilterGrad>(
            Pack(strides, padding, {}, dilations, groups, data_format, "none"),
            filter_shape, num_threads);
      },
      py::arg("filter_shape"), py::kw_only(), py::arg("strides") = 1,
      py::arg("padding") = "SAME", py::arg("dilations") = 1,
      py::arg("groups") = 1, py::arg("data_format") = "CHANNELS_LAST",
      py::arg("num_threads") = 0,
      "filter_grad as a callable of input and output_grad, which reads all "
      "other arguments once.");
}

void DefineDescriptions(py::module_& m) {
  m.def(
      "geometry",
      [](const Dims& input_shape, const Dims& filter_shape,
         const std::optional<Dims>& output_shape, Steps strides,
         PaddingArgument padding, std::optional<Steps> output_padding,
         Steps dilations, int64_t groups, std::string data_format) {
        return GeometryDict(Pack(strides, padding, output_padding, dilations,
                                 groups, data_format, "none"),
                            input_shape, filter_shape, output_shape);
      },
      py::arg("input_shape"), py::arg("filter_shape"), py::kw_only(),
      py::arg("output_shape") = py::none(), py::arg("strides") = 1,
      py::arg("padding") = "SAME", py::arg("output_padding") = py::none(),
      py::arg("dilations") = 1, py::arg("groups") = 1,
      py::arg("data_format") = "CHANNELS_LAST",
      "Resolved lengths, pads and phases of a call with these shapes, as a "
      "dict.");
  m.def(
      "plan",
      [](const Dims& input_shape, const Dims& filter_shape,
         const std::optional<Dims>& output_shape, Steps strides,
         PaddingArgument padding, std::optional<Steps> output_padding,
         Steps dilations, int64_t groups, std::string data_format,
         std::string operation, std::string dtype) {
        return PlanDict(Pack(strides, padding, output_padding, dilations,
                             groups, data_format, "none"),
                        input_shape, filter_shape, output_shape, operation,
                        dtype);
      },
      py::arg("input_shape"), py::arg("filter_shape"), py::kw_only(),
      py::arg("output_shape") = py::none(), py::arg("strides") = 1,
      py::arg("padding") = "SAME", py::arg("output_padding") = py::none(),
      py::arg("dilations") = 1, py::arg("groups") = 1,
      py::arg("data_format") = "CHANNELS_LAST",
      py::arg("operation") = "conv_transpose", py::arg("dtype") = "float32",
      "Kernel family, blocks, memory in bytes and the reason for a call, as a "
      "dict.");
  m.def("machine", &MachineDict, py::arg("num_threads") = 1,
        "Measures, for about a second, what this many threads can do at most: "
        "'gflops' by dtype, 'copy' as pairs of bytes and GB/s, 'isa'.");
  m.def("targets", &SupportedTargets,
        "Instruction sets that this machine runs, best first.");
  m.def(
      "target", [] { return std::string(ChosenTarget().name); },
      "The instruction set in use; see CONV_TRANSPOSE_ND_TARGET.");
  m.def("force_family", &SetFamily, py::arg("family"),
        "Uses this kernel family wherever it can run, None: the fastest. For "
        "tests.");
  m.def("release_memory", &FreeKeptBlocks,
        "Frees the memory that is kept for the next results, up to 512 MB; "
        "returns how many bytes that was.");
  m.def("set_target", &SetTarget, py::arg("name"),
        "Uses this instruction set from now on. ValueError where the machine "
        "lacks it.");
}

}  // namespace
}  // namespace conv_transpose_nd

PYBIND11_MODULE(core, m, py::mod_gil_not_used()) {
  using namespace conv_transpose_nd;  // NOLINT(build/namespaces)
  m.doc() =
      "Transposed convolution of NumPy arrays, its gradients, and how they are "
      "computed.";
  DefineConvTranspose(
      m, "conv_transpose", false,
      "Transposed convolution: output[n, o, co] = activation(bias[co] + sum of "
      "input[n, i, ci] * filter[k, co, ci] over o + pad_before = i * stride + "
      "k * "
      "dilation).");
  DefineConvTranspose(m, "reference_conv_transpose", true,
                      "conv_transpose by plain loops with sums in double.");
  DefineInputGrad(m, "input_grad", false,
                  "Gradient of conv_transpose with respect to input: a strided "
                  "convolution.");
  DefineInputGrad(m, "reference_input_grad", true,
                  "input_grad by plain loops, sums in double.");
  DefineFilterGrad(m, "filter_grad", false,
                   "Gradient of conv_transpose with respect to filter.");
  DefineFilterGrad(m, "reference_filter_grad", true,
                   "filter_grad by plain loops with sums in double.");
  DefinePrepared(m);
  DefineDescriptions(m);
}
