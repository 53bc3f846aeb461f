"""What a SavedModel holds beside functions: TF1 graphs, tables, assets, text."""

import pytest
import tensorflow as tf
from accelerate_cases import INPUTS, QUICK, STOCK, WHAT, Forms, close, digest, message, nodes, ops
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

import conv_transpose_nd as ct


def tensorflow_1(folder, frozen):
    """As TF1 wrote them: no functions, a signature, an asset; constants or variables."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4, 4, 3], "pictures")
        value = Forms.array(3, 3, 4, 3)
        w = tf.constant(value) if frozen else v1.get_variable("w", initializer=value)
        shape = tf.stack([tf.shape(x)[0], 8, 8, 4])
        y = v1.nn.conv2d_transpose(x, w, shape, 2, name="up")
        y = tf.nn.tanh(tf.nn.bias_add(y, Forms.array(4)), name="result")
        session.run(v1.global_variables_initializer())
        path = folder.parent / "words.txt"
        path.write_text("a\nb\n")
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(path)))
        info = v1.saved_model.build_tensor_info
        signature = v1.saved_model.signature_def_utils.build_signature_def(
            {"pictures": info(x)}, {"result": info(y)}, "tensorflow/serving/predict"
        )
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"upscale": signature},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        )
        builder.save()
    return folder


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "variables"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorflow_1(tmp_path, frozen):
    stock = tensorflow_1(tmp_path / "stock", frozen)
    report = ct.saved_model.accelerate(stock, tmp_path / "ours", **QUICK)
    filters = "constant filter" if frozen else "filter that may change"
    assert [op.what for op in report.ops] == [f"ConvTransposeND, 2-D, bias, tanh, {filters}"]
    (op,) = (node for node in nodes(tmp_path / "ours") if node.op == "ConvTransposeND")
    assert op.name == "result"
    assert op.attr["filter_is_constant"].b == frozen
    assert not ops(tmp_path / "ours") & STOCK
    assert (tmp_path / "ours/assets/words.txt").read_text() == "a\nb\n"
    results = []
    for folder in (stock, tmp_path / "ours"):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            model = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
            signature = model.signature_def["upscale"]
            feed = {signature.inputs["pictures"].name: Forms.array(2, 4, 4, 3)}
            results.append(session.run(signature.outputs["result"].name, feed))
    close(results[1], results[0], 28, 10.0)


def test_tables_assets_and_random_outputs(tmp_path):
    """A table read from an asset, and a function that draws numbers: not compared, and said so."""
    tf.random.set_seed(None)  # with the seed of another test both models draw the same
    (tmp_path / "words.txt").write_text("a\nb\nc\n")
    module = tf.Module()
    module.asset = tf.saved_model.Asset(str(tmp_path / "words.txt"))
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            module.asset,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.string, name="words")])
    def speak(words):
        x = tf.one_hot(module.table.lookup(words), 3)
        shape = tf.stack([tf.shape(x)[0], 8, 5])
        return tf.nn.conv1d_transpose(x, Forms.array(3, 5, 3), shape, 2)

    @tf.function(input_signature=[tf.TensorSpec([2, 4, 3])])
    def dropped(x):
        return tf.nn.dropout(tf.nn.conv1d_transpose(x, Forms.array(3, 5, 3), [2, 8, 5], 2), 0.5)

    module.speak, module.dropped = speak, dropped
    tf.saved_model.save(module, str(tmp_path / "stock"), signatures=speak)
    with pytest.raises(ValueError, match="signature serving_default rejects the random inputs"):
        ct.saved_model.accelerate(tmp_path / "stock", tmp_path / "ours", **QUICK)
    given = {"serving_default": {"words": [["a", "c", "?", "b"]]}}
    lines = []
    ct.saved_model.accelerate(
        tmp_path / "stock", tmp_path / "ours", inputs=given, seconds=0, report=lines.append
    )
    assert "dropped: not compared, for equal inputs give it different outputs" in lines
    assert (tmp_path / "ours/assets/words.txt").read_text() == "a\nb\nc\n"
    words = tf.constant([["b", "b", "a", "c"]])
    close(tf.saved_model.load(str(tmp_path / "ours")).speak(words), speak(words), 9, 16.0)


def test_text_format(forms, tmp_path):
    """A SavedModel may be text: saved_model.pbtxt."""
    (tmp_path / "stock").mkdir()
    for path, _ in digest(forms[0] / "stock"):
        (tmp_path / "stock" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "stock" / path).write_bytes((forms[0] / "stock" / path).read_bytes())
    text = text_format.MessageToString(message(tmp_path / "stock"))
    (tmp_path / "stock/saved_model.pbtxt").write_text(text)
    for name in ("saved_model.pb", "fingerprint.pb"):
        (tmp_path / "stock" / name).unlink()
    report = ct.saved_model.accelerate(
        tmp_path / "stock", tmp_path / "ours", inputs=INPUTS, **QUICK
    )
    assert report.rewritten == len(WHAT)
    written = text_format.Parse(
        (tmp_path / "ours/saved_model.pbtxt").read_text(), saved_model_pb2.SavedModel()
    )
    assert written == message(forms[0] / "ours")
