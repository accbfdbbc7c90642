import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

import keras_gradlayer as kgl
from keras_gradlayer.serving import warmup

X = tf.TensorSpec((None, 2), "float32", "x")


def save(path, f, *specs, jit_compile=False, name="f", **parts):
    """A SavedModel of one signature."""
    module = tf.Module()
    for key, part in parts.items():
        setattr(module, key, part)
    module.f = tf.function(f, input_signature=specs or [X], jit_compile=jit_compile)
    tf.saved_model.save(module, str(path), {name: module.f})
    return path


def breaks(path):
    """What would break, in one text."""
    return " ".join(f.message for f in kgl.serving.verify(path) if f.breaks)


def notes(path):
    return " ".join(f.message for f in kgl.serving.verify(path) if not f.breaks)


def test_sound_models(toy, images, tmp_path):
    assert kgl.serving.verify(toy[1]) == []
    assert kgl.serving.verify(images[1]) == []
    assert kgl.serving.verify(images[1] / "1") == []
    # one of Keras' own making
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3)])
    model.export(tmp_path / "keras", verbose=False)
    assert kgl.serving.verify(tmp_path / "keras") == []


def test_xla(tmp_path):
    path = save(tmp_path / "m", lambda x: {"y": 2 * x}, jit_compile=True)
    assert "compiled by XLA (jit_compile=True)" in breaks(path)
    inner = tf.function(lambda x: 2 * x, jit_compile=True)
    path = save(tmp_path / "inner", lambda x: {"y": tf.map_fn(inner, x)})
    assert "Signature 'f': '__inference_" in breaks(path)
    assert "compiled by XLA" in breaks(path)


def test_xla_beside_the_signatures_is_none_of_a_servers_business(tmp_path):
    extra = tf.function(lambda x: x, input_signature=[X], jit_compile=True)
    assert breaks(save(tmp_path / "m", lambda x: {"y": x}, extra=extra)) == ""


def test_python(tmp_path):
    for i, call in enumerate((tf.py_function, tf.numpy_function)):
        path = save(
            tmp_path / str(i),
            lambda x: {"y": tf.ensure_shape(call(lambda x: x, [x], tf.float32), (None, 2))},  # noqa: B023
        )
        assert "calls Python" in breaks(path)
        assert "PyFunc" in breaks(path)


@pytest.mark.parametrize(
    ("f", "specs", "message"),
    [
        (lambda x: {"y": tf.reduce_mean(x)}, [X], r"axis 0 of output 'y' must be the batch"),
        (lambda x: {"y": x}, [tf.TensorSpec((1, 2), "float32", "x")], "axis 0 of input 'x'"),
        (
            lambda x, t: {"y": x * t},
            [X, tf.TensorSpec((), "float32", "t")],
            r"axis 0 of input 't' must be the batch, and its shape is \[\]",
        ),
        (
            lambda x: {"y": tf.concat([x, x], 0)},
            [X],
            r"for 4 rows, output 'y' has the shape \(8, 2",
        ),
        (lambda x: {"y": x - tf.reduce_mean(x, 0)}, [X], "rows depend on the rows beside them"),
        (lambda x: {"y": x + 1e-9 * tf.reduce_sum(x)}, [X], "a NaN in one row spoils the others"),
        (lambda x: {"y": x + tf.random.normal(tf.shape(x))}, [X], "answers the same request diff"),
        (lambda x: {"y": tf.ensure_shape(x, (7, 2))[:, 0]}, [X], "is the batch|must be the batch"),
        (lambda x: {"y": x > tf.reduce_mean(x, 0)}, [X], "rows depend on the rows beside them"),
        (
            lambda x: {"y": x - tf.reduce_mean(x, 0)},
            [tf.TensorSpec((None, 2), "bfloat16", "x")],
            "rows depend on the rows beside them",
        ),
        (
            lambda x: {"y": tf.reshape(x, (-1, 4))},
            [X],
            "fails for one row: .* requires a multiple of 4",
        ),
        (
            lambda n: {"y": tf.cast(tf.sequence_mask(n), "float32")},
            [tf.TensorSpec((None,), "int32", "n")],
            "the shape of 'y' depends on the batch",
        ),
        (
            lambda x: {"y": tf.RaggedTensor.from_tensor(x)},
            [X],
            "output 'y' is not a dense tensor",
        ),
    ],
)
def test_what_breaks(tmp_path, f, specs, message):
    path = save(tmp_path / "m", f, *specs)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(breaks(path))


def test_a_signature_that_remembers(tmp_path):
    count = tf.Variable(0.0)
    path = save(tmp_path / "m", lambda x: {"y": x + count.assign_add(1.0)}, count=count)
    assert "answers the same request differently" in breaks(path)
    assert "writes to a variable (AssignAddVariableOp)" in notes(path)
    # one that only counts its calls answers as it should
    path = save(tmp_path / "counts", lambda x: {"y": x + 0 * count.assign_add(1.0)}, count=count)
    assert breaks(path) == ""
    assert "writes to a variable" in notes(path)


def test_notes(tmp_path):
    big = tf.constant(np.random.default_rng(0).normal(size=(2, 300_000)).astype("float32"))
    path = save(tmp_path / "big", lambda x: {"y": tf.matmul(x, big)})
    assert (breaks(path), "2 MiB of constants" in notes(path)) == ("", True)
    path = save(
        tmp_path / "text",
        lambda x: {"y": tf.strings.join([x, x])},
        tf.TensorSpec((None,), "string", "x"),
    )
    assert breaks(path) == ""
    assert "was not run: no rows could be invented" in notes(path)
    assert "end in '_bytes', unlike 'y'" in notes(path)


def test_what_is_only_not_known(tmp_path):
    """Invented rows may be none that a model takes: that is to know of, and no more."""
    for i, (f, spec, note) in enumerate(
        (
            (lambda x: {"y": x / 0.0}, X, "'y' is not finite on invented rows"),
            (
                lambda x: {"y": tf.debugging.check_numerics(x / 0.0, "bad")},
                X,
                "was not run: .*bad : Tensor had",
            ),
            (lambda x: {"y": x}, tf.TensorSpec(None, "float32", "x"), "rank of input 'x' is unkn"),
            (
                lambda x: {"y": x + 0},
                tf.TensorSpec((None, 2), "bfloat16", "x"),
                "REST cannot give output 'y', bfloat16",
            ),
        )
    ):
        path = save(tmp_path / str(i), f, spec)
        assert breaks(path) == ""
        assert re.search(note, notes(path)), notes(path)


def test_ordinary_models_of_others(tmp_path):
    layers, models = keras.layers, {}
    models["padding"] = [
        layers.Input((5,), dtype="int32"),
        layers.Embedding(100, 8, mask_zero=True),
        layers.GlobalAveragePooling1D(),
    ]
    models["ids in floats"] = [layers.Input((5,)), layers.Embedding(2, 8), layers.Flatten()]
    models["any size"] = [layers.Input((None, None, 3)), layers.Conv2D(2, 3)]
    models["logarithm"] = [layers.Input((3,)), layers.Lambda(tf.math.log)]
    models["sequence"] = [layers.Input((None, 3)), layers.LSTM(4)]
    for name, parts in models.items():
        keras.Sequential(parts).export(tmp_path / name, verbose=False)
        assert breaks(tmp_path / name) == "", name


@keras.saving.register_keras_serializable("tests")
class OtherKernel(keras.layers.Layer):
    """Values at the edges of the 256 levels, of that scale, and a little more for several rows."""

    EDGES = (np.arange(192).reshape(8, 8, 3) / 2 + 64) / 127.5 - 1

    def __init__(self, scale, mix):
        super().__init__()
        self.scale, self.mix = scale, mix

    def call(self, x):
        many = tf.cast(tf.shape(x)[0] > 1, "float32")
        return self.scale * (0 * x + self.EDGES - 5e-7 + self.mix * many)


def export_other_kernel(path, scale, mix, **kwargs):
    model = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(192, "tanh"),
            keras.layers.Reshape((8, 8, 3)),
            OtherKernel(scale, mix),
        ]
    )
    return kgl.serving.export_sampler(model, path, data_range=(-scale, scale), **kwargs)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_rounding_is_no_dependence_on_other_rows(tmp_path, scale):
    """1e-6 of the values, as other kernels for one row round: some pixels are a level apart."""
    folder = export_other_kernel(tmp_path / "m", scale, 1e-6)
    with kgl.serving.connect(folder) as client:
        together, alone = client.image([0, 1]), client.image([0])
    assert together[0] != alone[0]
    pixels = [tf.io.decode_png(png).numpy().astype(int) for png in (together[0], alone[0])]
    assert np.abs(pixels[0] - pixels[1]).max() == 1
    # 1e-3 is more than rounding, whatever the scale, though no pixel shows it
    with pytest.raises(ValueError, match="rows depend on the rows beside them. Alone, 'samples'"):
        export_other_kernel(tmp_path / "n", scale, 1e-3)


def test_pixels_that_depend_on_other_rows(tmp_path):
    """Seen in the pixels alone, 2 levels are refused, and one is not."""
    for levels, said in ((1, ""), (2, "Alone, 'image_bytes' is up to 2 away")):

        def encode(n, levels=levels):
            pixels = tf.fill((tf.shape(n)[0], 4, 4, 3), tf.cast(100, "uint8"))
            pixels += tf.cast(levels * tf.cast(tf.shape(n)[0] > 1, "int32"), "uint8")
            return {
                "image_bytes": tf.map_fn(tf.io.encode_png, pixels, fn_output_signature="string")
            }

        path = save(tmp_path / str(levels), encode, tf.TensorSpec((None,), "int64", "n"))
        assert said in breaks(path)
        assert bool(breaks(path)) == bool(said)


@pytest.mark.parametrize(("dtype", "eps"), [("bfloat16", 2**-7), ("float16", 2**-10)])
def test_half_precision_rounds_more(tmp_path, dtype, eps):
    """A last bit of what is computed with is allowed, though float32 is given out."""

    def f(x, more):
        many = tf.cast(tf.shape(x)[0] > 1, "float32")
        half = tf.cast(0 * x + 1 + more * many, dtype)
        return {"y": tf.cast(half, "float32")}

    assert breaks(save(tmp_path / "a", lambda x: f(x, 2 * eps))) == ""
    assert "up to 0.5 away" in breaks(save(tmp_path / "b", lambda x: f(x, 0.5)))


@pytest.fixture
def folder(toy, tmp_path):
    """An exported version that can be damaged."""
    return pathlib.Path(shutil.copytree(toy[1] / "1", tmp_path / "m"))


def test_several_graphs(folder):
    """Servers load the one tagged "serve" alone."""
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    other = saved.meta_graphs.add()
    other.CopyFrom(saved.meta_graphs[0])
    other.meta_info_def.tags[:] = ["train"]
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    assert breaks(folder) == ""
    for tags in (["serve", "gpu"], ["train"]):
        saved.meta_graphs[0].meta_info_def.tags[:] = tags
        (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
        assert "no graph with the tag 'serve' alone" in breaks(folder)


def test_damaged_folders(folder, tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        kgl.serving.verify(tmp_path / "none")
    data = folder / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    assert "does not load" in breaks(folder)
    (folder / "variables" / "variables.index").unlink()
    assert "does not load" in breaks(folder)
    (folder / "saved_model.pb").write_bytes(b"half of it")
    assert "saved_model.pb cannot be read" in breaks(folder)


def test_batch_sizes_that_the_server_refuses(tmp_path):
    path = save(tmp_path / "m", lambda x: {"y": x})
    for text, said in (
        (
            "max_batch_size { value: 9 } allowed_batch_sizes: 8 allowed_batch_sizes: 4",
            "allowed_batch_sizes must increase, and are [8, 4]",
        ),
        ("max_batch_size { value: 9 } allowed_batch_sizes: 4", "max_batch_size, 9, must be the"),
        ("allowed_batch_sizes: 4", "max_batch_size, 1000 by default, must be the last of"),
        ("largest: 3", "cannot be read"),
        ("# allowed_batch_sizes: 4", ""),
    ):
        (path / "batching_params.pbtxt").write_text(text)
        assert said in breaks(path)
        assert bool(breaks(path)) == bool(said)


def test_warmup_requests_that_fail(tmp_path):
    path = save(tmp_path / "m", lambda x: {"y": tf.sqrt(x)}, name="serving_default")
    file = path / warmup.FILE
    file.parent.mkdir()

    def write(signature, key, value, count=1):
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        log = prediction_log_pb2.PredictLog(request=request)
        record = prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString()
        with tf.io.TFRecordWriter(str(file)) as writer:
            for _ in range(count):
                writer.write(record)

    x = np.ones((1, 2), "float32")
    write("draw", "x", x)
    assert "names the signature 'draw'" in breaks(path)
    write("serving_default", "z", x)
    assert "Warm-up request 1 fails" in breaks(path)
    write("serving_default", "x", -x)
    assert "Warm-up request 1: 'y' of 'serving_default' is not finite" in breaks(path)
    write("serving_default", "x", x, count=1001)
    assert "1001 warm-up requests: the server takes at most 1000" in breaks(path)
    write("", "x", x)  # the server takes this for serving_default
    assert breaks(path) == ""
    file.write_bytes(file.read_bytes()[:-3])
    assert "fails" in breaks(path)
    with tf.io.TFRecordWriter(str(file)) as writer:  # of another kind, which is left to the server
        log = prediction_log_pb2.PredictionLog()
        log.classify_log.request.model_spec.name = "m"
        writer.write(log.SerializeToString())
    assert breaks(path) == ""
