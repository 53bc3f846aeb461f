"""A SavedModel with the op over many inputs: tf.data on one machine, Apache Beam on many.

    python examples/batch_inference.py MODEL "in/*.npy" OUT            # tf.data
    python examples/batch_inference.py MODEL "in/*.npy" OUT --beam [options of a Beam runner]

Each file is one float32 input without its batch; OUT gets a file of the same name.
"""

import glob
import os
import sys

import numpy as np
import tensorflow as tf

import conv_transpose_nd  # noqa: F401  loads the op, on every worker that imports this file


def load(path):
    """The signature of a SavedModel, as a function from a batch to a batch."""
    model = tf.saved_model.load(path)
    function = model.signatures["serving_default"]
    (name,) = function.structured_input_signature[1]

    def serve(batch):
        return next(iter(function(**{name: tf.constant(batch)}).values())).numpy()

    serve.model = model  # which owns the variables
    return serve


def write(folder, name, output):
    """One result, under the name of its input."""
    np.save(os.path.join(folder, os.path.basename(name)), output)


def with_tf_data(path, files, folder, batch=8):
    """Reads ahead in parallel while the op computes with all cores."""
    function = load(path)
    names = tf.data.Dataset.from_tensor_slices(sorted(files))
    read = names.map(
        lambda name: (name, tf.numpy_function(lambda n: np.load(n.decode()), [name], tf.float32)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    for batch_names, inputs in read.batch(batch).prefetch(2):
        for name, output in zip(batch_names.numpy(), function(inputs), strict=True):
            write(folder, name.decode(), output)


def with_beam(path, files, folder, arguments):
    """The same on any Beam runner; the local one without arguments."""
    import apache_beam as beam
    from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
    from apache_beam.options.pipeline_options import PipelineOptions

    class Servable(ModelHandler):
        def load_model(self):
            return load(path)

        def run_inference(self, batch, model, inference_args=None):
            return model(np.stack(batch))

    with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
        inputs = pipeline | beam.Create(sorted(files)) | beam.Map(lambda n: (n, np.load(n)))
        outputs = inputs | RunInference(KeyedModelHandler(Servable()))
        _ = outputs | beam.MapTuple(lambda name, output: write(folder, name, output))


if __name__ == "__main__":
    saved_model, pattern, output_folder, *rest = sys.argv[1:]
    os.makedirs(output_folder, exist_ok=True)
    if rest[:1] == ["--beam"]:
        with_beam(saved_model, glob.glob(pattern), output_folder, rest[1:])
    else:
        with_tf_data(saved_model, glob.glob(pattern), output_folder)
