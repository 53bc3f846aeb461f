// Geometry and plan from arbitrary bytes: right or rejected as rules.h says,
// in words that name a value, without an overflow on the way.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "cc/core/geometry.h"
#include "cc/core/plan.h"
#include "tests/cc/testing/request.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/rules.h"

namespace conv_transpose_nd {
namespace fuzz {
namespace {

[[noreturn]] void Fail(const std::string& what, Operation operation,
                       const Shapes& shapes, const Attributes& attributes) {
  std::fprintf(stderr, "%s\noperation %d of%s\n", what.c_str(),
               static_cast<int>(operation),
               testing::Describe({shapes, attributes}).c_str());
  std::abort();
}

int64_t Length(Bytes* bytes) {
  switch (bytes->Below(8)) {
    case 0:
      return bytes->Any();
    case 1:
      return bytes->Pick({INT64_MIN, INT64_MAX, INT64_MAX - 1, kMaxElements,
                          kMaxElements + 1, int64_t{1} << 62, kUnknown, -2});
    case 2:
      return int64_t{1} << bytes->Below(63);
    case 3:
      return bytes->Next();
    default:
      return bytes->Below(6);
  }
}

int64_t Step(Bytes* bytes) {
  switch (bytes->Below(8)) {
    case 0:
      return bytes->Any();
    case 1:
      return bytes->Pick({0, -1, INT64_MAX, INT64_MIN, int64_t{1} << 31,
                          (int64_t{1} << 31) - 1, 65536, 7});
    default:
      return 1 + bytes->Below(4);
  }
}

// As many dimensions as the rank wants, but one time in sixteen.
int Count(Bytes* bytes, int wanted) {
  return bytes->OneIn(16) ? static_cast<int>(bytes->Below(10)) : wanted;
}

Dims Draw(Bytes* bytes, int count, int64_t (*draw)(Bytes*)) {
  Dims dims(count);
  for (int64_t& dim : dims) dim = draw(bytes);
  return dims;
}

Attributes DrawAttributes(Bytes* bytes, int rank) {
  Attributes attributes;
  attributes.data_format =
      bytes->OneIn(2) ? DataFormat::kChannelsFirst : DataFormat::kChannelsLast;
  const int channel =
      attributes.data_format == DataFormat::kChannelsLast ? rank + 1 : 1;
  // Mostly the 1 that batch and channels need.
  const auto steps = [&] {
    Dims dims = Draw(bytes, Count(bytes, rank + 2), Step);
    if (static_cast<int>(dims.size()) == rank + 2 && !bytes->OneIn(16)) {
      dims[0] = dims[channel] = 1;
    }
    return dims;
  };
  attributes.strides = steps();
  if (bytes->OneIn(2)) attributes.dilations = steps();
  attributes.padding = testing::kPaddings[bytes->Below(4)];
  if ((attributes.padding == Padding::kExplicit) != bytes->OneIn(32)) {
    Dims pads = Draw(bytes, Count(bytes, 2 * rank + 4), Step);
    if (static_cast<int>(pads.size()) == 2 * rank + 4 && !bytes->OneIn(16)) {
      pads[0] = pads[1] = pads[2 * channel] = pads[2 * channel + 1] = 0;
    }
    attributes.explicit_paddings = pads;
  }
  if (bytes->OneIn(4)) {
    attributes.output_padding = Draw(bytes, Count(bytes, rank), Step);
    for (int64_t& value : attributes.output_padding) {
      if (value != INT64_MIN) --value;
    }
  }
  attributes.groups = bytes->OneIn(4) ? Step(bytes) : 1;
  attributes.activation = static_cast<Activation>(bytes->Below(10));
  if (bytes->OneIn(8)) attributes.dtype = DType::kInt32;
  return attributes;
}

// Repairs what a random request rarely gets right, so that the rules behind it
// are reached: channels, batch, and the output length of each axis.
void Repair(Bytes* bytes, const Attributes& attributes, Shapes* shapes) {
  const int rank = static_cast<int>(shapes->filter.size()) - 2;
  if (rank < 1 || shapes->input.size() != shapes->filter.size()) return;
  const int channel =
      attributes.data_format == DataFormat::kChannelsLast ? rank + 1 : 1;
  shapes->filter[rank + 1] = shapes->input[channel];
  Attributes plain = attributes;
  plain.output_padding.clear();
  Shapes open = *shapes;
  open.output.clear();
  open.has_bias = false;
  Shapes resolved;
  if (!Valid(Operation::kConvTranspose, open, plain, &resolved)) return;
  shapes->bias = {resolved.output[channel]};
  if (shapes->output.empty()) return;
  shapes->output = resolved.output;
  int64_t& length = shapes->output[bytes->Below(rank + 2)];
  length += bytes->Pick({0, 0, 1, -1, 2});
}

Dims DimsOf(const ConvTransposeGeometry& geometry, Operation operation) {
  return operation == Operation::kInputGrad    ? geometry.InputDims()
         : operation == Operation::kFilterGrad ? geometry.FilterDims()
                                               : geometry.OutputDims();
}

bool IsKnown(const Shapes& shapes) {
  for (const Dims& dims :
       {shapes.input, shapes.filter, shapes.output, shapes.bias}) {
    for (int64_t dim : dims) {
      if (dim == kUnknown) return false;
    }
  }
  return true;
}

// Plans are made for filters that exist; all else may be as large as a geometry
// can be.
void CheckPlans(Operation operation, const ConvTransposeGeometry& geometry,
                const Shapes& shapes, const Attributes& attributes) {
  for (int a = 0; a < geometry.rank; ++a) {
    if (geometry.axis[a].filter > 64) return;
  }
  if (NumElements(geometry.FilterDims()) > kMaxPlannedFilter) return;
  for (const TargetInfo& target :
       {TargetInfo{"baseline", 16, 16}, TargetInfo{"avx2", 32, 16},
        TargetInfo{"avx512", 64, 32}, TargetInfo{"avx512_bf16", 64, 32, 2}}) {
    for (DType dtype : {DType::kBFloat16, DType::kFloat, DType::kDouble}) {
      const Plan plan = MakePlan(operation, geometry, dtype, target);
      if (plan.units < 0 || plan.shared_bytes < 0 || plan.scratch_bytes < 0 ||
          plan.packed_bytes < 0 || plan.packed_bytes > plan.shared_bytes ||
          plan.WorkspaceBytes(1) < 0 || plan.WorkspaceBytes(64, true) < 0) {
        Fail("negative plan: " + plan.ToString(), operation, shapes,
             attributes);
      }
    }
  }
}

void Check(Operation operation, const Shapes& shapes,
           const Attributes& attributes, Bytes* bytes) {
  ConvTransposeGeometry geometry, inferred;
  const Status early =
      InferShapes(operation, shapes, attributes, true, &inferred);
  if (!IsKnown(shapes)) return;
  const Status status =
      ResolveGeometry(operation, shapes, attributes, &geometry);
  Shapes expected;
  const bool valid = Valid(operation, shapes, attributes, &expected);
  if (valid != status.ok()) {
    Fail(valid ? "rejected: " + status.message() : "accepted", operation,
         shapes, attributes);
  }
  if (!valid) {
    if (status.message().find(" must ") == std::string::npos &&
        status.message().find(" has no valid value ") == std::string::npos) {
      Fail("no rule in: " + status.message(), operation, shapes, attributes);
    }
    if (status.message().find("got ") == std::string::npos) {
      Fail("no value in: " + status.message(), operation, shapes, attributes);
    }
    return;
  }
  if (geometry.InputDims() != expected.input ||
      geometry.FilterDims() != expected.filter ||
      geometry.OutputDims() != expected.output) {
    Fail("other dimensions", operation, shapes, attributes);
  }
  if (!early.ok() || DimsOf(inferred, operation) != DimsOf(geometry, operation))
    Fail("shape inference disagrees: " + early.message(), operation, shapes,
         attributes);
  // What is valid stays so where less is known, and what is still said is so.
  Shapes open = shapes;
  for (Dims* dims : {&open.input, &open.filter, &open.output}) {
    for (int64_t& dim : *dims) {
      if (bytes->OneIn(3)) dim = kUnknown;
    }
  }
  const Status vague =
      InferShapes(operation, open, attributes, true, &inferred);
  if (!vague.ok())
    Fail("rejected while vague: " + vague.message(), operation, open,
         attributes);
  const Dims said = DimsOf(inferred, operation);
  const Dims known = DimsOf(geometry, operation);
  for (size_t d = 0; d < known.size(); ++d) {
    if (said[d] != kUnknown && said[d] != known[d])
      Fail("vague inference is wrong", operation, open, attributes);
  }
  CheckPlans(operation, geometry, shapes, attributes);
}

}  // namespace
}  // namespace fuzz
}  // namespace conv_transpose_nd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conv_transpose_nd;        // NOLINT(build/namespaces)
  using namespace conv_transpose_nd::fuzz;  // NOLINT(build/namespaces)
  Bytes bytes(data, size);
  const int rank = static_cast<int>(bytes.Below(6)) + 1;
  const Operation operation = testing::kOperations[bytes.Below(3)];
  Attributes attributes = DrawAttributes(&bytes, rank);
  // Attributes that the gradient ops do not have.
  if (operation != Operation::kConvTranspose) {
    attributes.output_padding.clear();
    attributes.activation = Activation::kNone;
  }
  Shapes shapes;
  shapes.input = Draw(&bytes, Count(&bytes, rank + 2), Length);
  shapes.filter = Draw(&bytes, Count(&bytes, rank + 2), Length);
  if (operation != Operation::kConvTranspose || !bytes.OneIn(3)) {
    shapes.output = Draw(&bytes, Count(&bytes, rank + 2), Length);
  }
  if (operation == Operation::kConvTranspose && bytes.OneIn(4)) {
    shapes.has_bias = true;
    shapes.bias = Draw(&bytes, Count(&bytes, 1), Length);
  }
  if (!bytes.OneIn(8)) Repair(&bytes, attributes, &shapes);
  if (!shapes.has_bias) shapes.bias.clear();
  if (operation == Operation::kInputGrad) shapes.input.clear();
  Check(operation, shapes, attributes, &bytes);
  return 0;
}
