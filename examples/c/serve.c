// Runs a SavedModel that holds the op, without Python.
//
//   serve LIBRARY MODEL INPUT OUTPUT HEIGHT WIDTH CHANNELS < input > output
//
// LIBRARY is what conv_transpose_nd.sysconfig.get_lib() names; INPUT and OUTPUT
// are tensors as `saved_model_cli show` names them ("serving_default_x:0").
// One picture of float32 [1, height, width, channels] is read; the shape of its
// result goes to standard error. What is allocated ends with the process.
#include <stdio.h>
#include <stdlib.h>

#include "tensorflow/c/c_api.h"

static TF_Status* status;

static void Check(int ok, const char* what) {
  if (ok && TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

// "name:1" -> output 1 of the operation `name`.
static TF_Output Find(TF_Graph* graph, const char* tensor) {
  char name[256] = "";
  int index = 0;
  sscanf(tensor, "%255[^:]:%d", name, &index);
  TF_Output output = {TF_GraphOperationByName(graph, name), index};
  Check(output.oper != NULL, tensor);
  return output;
}

int main(int argc, char** argv) {
  status = TF_NewStatus();
  Check(argc == 8, "serve LIBRARY MODEL INPUT OUTPUT HEIGHT WIDTH CHANNELS");
  TF_LoadLibrary(argv[1], status);  // before the model: it names the op
  Check(1, argv[1]);
  TF_Graph* graph = TF_NewGraph();
  TF_Session* session = TF_LoadSessionFromSavedModel(
      TF_NewSessionOptions(), NULL, argv[2], (const char*[]){"serve"}, 1, graph,
      NULL, status);
  Check(1, argv[2]);

  const int64_t dims[] = {1, atoll(argv[5]), atoll(argv[6]), atoll(argv[7])};
  const size_t bytes = sizeof(float) * (size_t)(dims[1] * dims[2] * dims[3]);
  TF_Tensor* input = TF_AllocateTensor(TF_FLOAT, dims, 4, bytes);
  Check(fread(TF_TensorData(input), 1, bytes, stdin) == bytes,
        "input too short");

  const TF_Output feed = Find(graph, argv[3]), fetch = Find(graph, argv[4]);
  TF_Tensor* output = NULL;
  TF_SessionRun(session, NULL, &feed, &input, 1, &fetch, &output, 1, NULL, 0,
                NULL, status);
  Check(1, "run");
  for (int d = 0; d < TF_NumDims(output); ++d) {
    fprintf(stderr, "%s%lld", d ? " " : "", (long long)TF_Dim(output, d));
  }
  fprintf(stderr, "\n");
  fwrite(TF_TensorData(output), 1, TF_TensorByteSize(output), stdout);
}
