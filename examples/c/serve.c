// Runs a SavedModel that holds the op, without Python.
//
//   serve LIBRARY MODEL INPUT OUTPUT HEIGHT WIDTH CHANNELS < input > output
//
// LIBRARY is what conv_transpose_nd.sysconfig.get_lib() names; INPUT and OUTPUT
// are tensors as `saved_model_cli show` names them ("serving_default_x:0").
// Standard input is one picture of float32 [1, height, width, channels];
// standard output its result, its shape on standard error.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static TF_Status* status;

static void Check(const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

// "name:1" -> output 1 of the operation `name`.
static TF_Output Find(TF_Graph* graph, const char* tensor) {
  char name[256];
  snprintf(name, sizeof name, "%s", tensor);
  char* colon = strrchr(name, ':');
  const int index = colon != NULL ? atoi(colon + 1) : 0;
  if (colon != NULL) *colon = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, name), index};
  if (output.oper == NULL) {
    fprintf(stderr, "the model has no operation %s\n", name);
    exit(1);
  }
  return output;
}

int main(int argc, char** argv) {
  if (argc != 8) {
    fprintf(stderr,
            "usage: serve LIBRARY MODEL INPUT OUTPUT HEIGHT WIDTH CHANNELS\n");
    return 2;
  }
  status = TF_NewStatus();
  TF_LoadLibrary(argv[1], status);  // before the model: it names the op
  Check(argv[1]);

  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[2], tags, 1, graph, NULL, status);
  Check(argv[2]);

  const int64_t dims[] = {1, atoll(argv[5]), atoll(argv[6]), atoll(argv[7])};
  const size_t bytes = sizeof(float) * (size_t)(dims[1] * dims[2] * dims[3]);
  TF_Tensor* input = TF_AllocateTensor(TF_FLOAT, dims, 4, bytes);
  if (fread(TF_TensorData(input), 1, bytes, stdin) != bytes) {
    fprintf(stderr, "standard input has fewer than %zu bytes\n", bytes);
    return 1;
  }

  const TF_Output feed = Find(graph, argv[3]), fetch = Find(graph, argv[4]);
  TF_Tensor* output = NULL;
  TF_SessionRun(session, NULL, &feed, &input, 1, &fetch, &output, 1, NULL, 0,
                NULL, status);
  Check("run");

  for (int d = 0; d < TF_NumDims(output); ++d) {
    fprintf(stderr, d == 0 ? "%lld" : " %lld", (long long)TF_Dim(output, d));
  }
  fprintf(stderr, "\n");
  const size_t size = TF_TensorByteSize(output);
  if (fwrite(TF_TensorData(output), 1, size, stdout) != size) return 1;

  TF_DeleteTensor(input);
  TF_DeleteTensor(output);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteGraph(graph);
  TF_DeleteSessionOptions(options);
  TF_DeleteStatus(status);
  return 0;
}
