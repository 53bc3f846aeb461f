// Runs a SavedModel that holds the op, without Python, on TensorFlow's C++
// interface.
//
//   serve LIBRARY MODEL HEIGHT WIDTH CHANNELS < input > output
//
// As examples/c/serve.c, but the signature "serving_default" says what goes in
// and what comes out.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/public/session.h"

namespace tf = tensorflow;

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status << "\n";
  std::exit(1);
}

int main(int argc, char** argv) {
  if (argc != 6) {
    std::cerr << "usage: serve LIBRARY MODEL HEIGHT WIDTH CHANNELS\n";
    return 2;
  }
  void* library = nullptr;  // before the model: it registers the op
  Check(tf::Env::Default()->LoadDynamicLibrary(argv[1], &library));
  tf::SavedModelBundle model;
  Check(tf::LoadSavedModel({}, {}, argv[2], {"serve"}, &model));
  const auto& signature = model.GetSignatures().at("serving_default");

  tf::Tensor input(tf::DT_FLOAT, {1, std::atoll(argv[3]), std::atoll(argv[4]),
                                  std::atoll(argv[5])});
  const std::streamsize bytes = input.TotalBytes();
  if (!std::cin.read(static_cast<char*>(input.data()), bytes)) {
    std::cerr << "standard input has fewer than " << bytes << " bytes\n";
    return 1;
  }
  std::vector<tf::Tensor> outputs;
  Check(model.GetSession()->Run(
      {{signature.inputs().begin()->second.name(), input}},
      {signature.outputs().begin()->second.name()}, {}, &outputs));
  for (const auto& dim : outputs[0].shape()) std::cerr << dim.size << " ";
  std::cerr << "\n";
  std::cout.write(static_cast<const char*>(outputs[0].data()),
                  outputs[0].TotalBytes());
  return std::cout.good() ? 0 : 1;
}
