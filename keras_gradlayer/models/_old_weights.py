"""Configs and weights in the files of Keras 2, and ways to call what they hold."""

import io
import json
import pathlib
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator

import h5py
import keras
import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from keras_gradlayer.models._old_configs import Node, Refused


def text(value: str | bytes) -> str:
    """An attribute of an HDF5 file."""
    return value.decode() if isinstance(value, bytes) else value


def open_source(path: pathlib.Path) -> "_H5 | _Folder | _Zip":
    """What reads a file or folder."""
    kind = _Folder if path.is_dir() else _Zip if zipfile.is_zipfile(path) else _H5
    return kind(path)


class _H5:
    """An `.h5` file: for each layer a group, of a model with those that are trained first."""

    def __init__(self, path):
        self.path = path
        with h5py.File(path, "r") as file:
            self.config = _decoded(text(file.attrs["model_config"]))

    def place(self, root: Node):
        with h5py.File(self.path, "r") as file:
            groups = file["model_weights"]
            for part in root.parts:
                leaves = [leaf.layer for leaf in part.leaves()]
                variables = [v for layer in leaves for v in layer.trainable_weights]
                variables += [v for layer in leaves for v in layer.non_trainable_weights]
                group = groups.get(part.name, {})
                names = _names(group) if len(group) else []
                _assign(part.name, variables, [(n, np.asarray(group[n])) for n in names])

    def calls(self) -> Iterator[Callable]:
        """By Keras 3 itself, where it reads the file."""
        if _sequential_in_functional(self.config):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is old
            try:
                twin = keras.saving.load_model(self.path, compile=False)
            except Exception:  # of any kind, for what it cannot read
                return
        yield lambda x: keras.tree.flatten(twin(x if len(x) > 1 else x[0], training=False))


def _sequential_in_functional(config):
    """Whether Keras 3 lacks a call of the graph, for which Keras 3.13 looks without end."""
    inner = config.get("config")
    layers = inner.get("layers", ()) if isinstance(inner, dict) else inner or ()
    layers = [layer for layer in layers if isinstance(layer, dict)]
    here = config.get("class_name") in ("Functional", "Model") and any(
        layer.get("class_name") == "Sequential" for layer in layers
    )
    return here or any(map(_sequential_in_functional, layers))


class _Zip:
    """A `.keras` file of Keras 2: groups of numbered weights, named after the layers' classes."""

    def __init__(self, path):
        self.path = path
        with zipfile.ZipFile(path) as archive:
            self.config = _decoded(archive.read("config.json"))
            self._weights = archive.read("model.weights.h5")

    def place(self, root: Node):
        with h5py.File(io.BytesIO(self._weights), "r") as file:
            self._place(root, file)

    def _place(self, node, group):
        names = ("layers", "_layer_checkpoint_dependencies")
        layers = next((group[n] for n in names if n in group), {})
        used = {}
        for part in node.parts:
            key = _snake_case(part.kind)
            used[key] = used.get(key, -1) + 1
            key = f"{key}_{used[key]}" if used[key] else key
            found = layers.get(key, {})
            if part.parts:
                self._place(part, found)
                continue
            held = _held(found)
            if len(held) > 1:
                raise Refused(f"the weights of '{part.name}' are in parts; save it as .h5")
            values = [held[0][str(i)] for i in range(len(held[0]))] if held else []
            variables = part.layer.trainable_weights + part.layer.non_trainable_weights
            _assign(part.name, variables, [("", np.asarray(x)) for x in values])

    def calls(self):
        return iter(())


class _Folder:
    """A SavedModel with the config of a Keras model beside it."""

    def __init__(self, path):
        saved = _metadata().FromString((path / "keras_metadata.pb").read_bytes())
        facts = next((_decoded(n.metadata) for n in saved.nodes if n.node_path == "root"), {})
        if not facts.get("is_graph_network") or "config" not in facts:
            raise Refused(
                f"it holds a {facts.get('class_name', 'model')}, which is neither Sequential nor "
                "Functional"
            )
        self.config = {"class_name": facts["class_name"], "config": facts["config"]}
        self._model = tf.saved_model.load(str(path))

    def place(self, root: Node):
        leaves = [leaf.layer for leaf in root.leaves()]
        variables = [v for x in leaves for v in x.trainable_weights + x.non_trainable_weights]
        _assign(root.name, variables, [(v.name, v.numpy()) for v in self._model.variables])

    def calls(self):
        """By TensorFlow."""
        yield lambda x: tf.nest.flatten(self._model(x if len(x) > 1 else x[0], training=False))


def _decoded(config):
    """A config from JSON, with lists for tuples and shapes, which are written as objects."""

    def plain(value):
        known = value.get("class_name") in ("__tuple__", "TensorShape")
        return value["items"] if known else value

    return json.loads(config, object_hook=plain)


def _assign(name, variables, values):
    """Set variables to values of the same shapes, in order; names tell those that are known."""
    if len(variables) != len(values):
        raise Refused(f"'{name}' has {len(variables)} weights, and the file {len(values)}")
    known = {v.name for v in variables}
    for v, (old, value) in zip(variables, values):
        old = old.split("/")[-1].split(":")[0]
        if tuple(v.shape) != value.shape or (old in known and old != v.name):
            raise Refused(
                f"'{name}' has the weight {v.name} of shape {tuple(v.shape)} where the file has "
                f"{old or 'one'} of shape {value.shape}"
            )
        v.assign(value)


def _names(group):
    """Names of weights, which long lists have in several attributes."""
    keys = sorted(k for k in group.attrs if re.fullmatch(r"weight_names\d*", k))
    keys.sort(key=lambda k: int(k.removeprefix("weight_names") or 0))
    return [text(n) for k in keys for n in group.attrs[k]]


def _held(group):
    """The groups of weights in a layer's group, its own and those of layers in it."""
    found = [group["vars"]] if "vars" in group and len(group["vars"]) else []
    inner = [group[k] for k in group if k != "vars" and hasattr(group[k], "keys")]
    return found + [x for g in inner for x in _held(g)]


def _snake_case(name):
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _metadata():
    """The message in keras_metadata.pb: nodes with a path and a config."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="keras_gradlayer/old_metadata.proto", package="keras_gradlayer", syntax="proto3"
    )
    node, saved = file.message_type.add(name="OldNode"), file.message_type.add(name="OldMetadata")
    for i, name in ((3, "node_path"), (5, "metadata")):
        node.field.add(name=name, number=i, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    saved.field.add(
        name="nodes",
        number=1,
        type=kind.TYPE_MESSAGE,
        label=kind.LABEL_REPEATED,
        type_name=".keras_gradlayer.OldNode",
    )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("keras_gradlayer.OldMetadata")
    )
