"""Models rebuilt from configs of Keras 2."""

import inspect
import logging
from typing import NamedTuple

import keras

_log = logging.getLogger(__name__)
_MODELS = ("Functional", "Model", "Sequential")
_FUNCTIONS = ("Lambda", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod")
_RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
}
_IGNORED = ("implementation", "input_length", "fused", "experimental_autocast", "batch_input_shape")


class Refused(ValueError):
    """Why a model cannot be converted."""


class Node(NamedTuple):
    """A layer, and if it is a model those in it, in the order of the old config."""

    name: str
    kind: str  # the old class
    layer: keras.layers.Layer
    parts: list["Node"]

    def leaves(self) -> list["Node"]:
        """The layers that are no models."""
        return [leaf for p in self.parts for leaf in p.leaves()] if self.parts else [self]


def build(config: dict) -> Node:
    """The model or layer of a config."""
    kind, settings = config["class_name"], config["config"]
    if isinstance(settings, list):  # Keras 2.1 and before
        settings = {"name": "sequential", "layers": settings}
    name = settings.get("name", kind)
    if kind in _MODELS and "layers" in settings:
        model, parts = (_sequential if kind == "Sequential" else _functional)(settings)
        return Node(name, kind, model, parts)
    return Node(name, kind, _layer(kind, name, settings), [])


def _sequential(settings):
    first, *_ = settings["layers"]
    shape = first["config"].get("batch_input_shape", settings.get("build_input_shape"))
    dtype = first["config"].get("dtype") if first["class_name"] == "InputLayer" else None
    parts = [build(c) for c in settings["layers"] if c["class_name"] != "InputLayer"]
    if shape is None and parts and parts[0].parts:
        shape = parts[0].layer.input_shape
    if shape is None:
        raise Refused(f"'{settings.get('name')}' has no input shape, and so no weights")
    start = keras.Input(batch_shape=shape, dtype=_dtype(dtype))
    model = keras.Sequential([start, *(p.layer for p in parts)], name=settings.get("name"))
    return model, parts


def _functional(settings):
    """Inputs are fed, and each other layer called, as soon as what it is called on is known."""
    known, parts, waiting = {}, [], []
    # A model's first call in a config is 1, after the one that made it, and a layer's is 0.
    used = [settings["output_layers"], *(config["inbound_nodes"] for config in settings["layers"])]
    first = {name: i for name, i, _ in sorted(_references(used), reverse=True)}
    for config in settings["layers"]:
        name = config.get("name", config["config"].get("name"))
        if config["class_name"] == "InputLayer":
            known[name, 0] = [_input(name, config["config"])]
            continue
        parts.append(build(config))
        calls = enumerate(config["inbound_nodes"], first.get(name, 0))
        waiting += [(parts[-1], i, call) for i, call in calls]
    while waiting:
        ready = [c for c in waiting if all(ref[:2] in known for ref in _references(c[2]))]
        if not ready:
            raise Refused(f"the graph of '{settings.get('name')}' does not come together")
        for part, i, call in ready:
            known[part.name, i] = keras.tree.flatten(_called(part.layer, call, known))
        waiting = [c for c in waiting if (c[0].name, c[1]) not in known]
    ends = (_tensors(settings[f"{side}_layers"], known) for side in ("input", "output"))
    return keras.Model(*ends, name=settings.get("name")), parts


def _input(name, settings):
    shape = settings.get("batch_input_shape", settings.get("batch_shape"))
    return keras.Input(batch_shape=shape, dtype=_dtype(settings.get("dtype")), name=name)


def _references(value):
    """The (layer, call, output) that stand anywhere in a config."""
    if _is_reference(value):
        yield tuple(value[:3])
        value = value[3:]
    if isinstance(value, (dict, list)):
        for x in value.values() if isinstance(value, dict) else value:
            yield from _references(x)


def _is_reference(value):
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(type(i) is int and i >= 0 for i in value[1:3])
    )


def _called(layer, call, known):
    """The result of a call, whose keyword arguments stand beside its first tensor."""
    first = call
    while not _is_reference(first):
        first = next(iter(first.values() if isinstance(first, dict) else first))
        if not isinstance(first, (dict, list)):
            raise Refused(f"'{layer.name}' is called on a constant")
    given = first[3] if len(first) == 4 else {}
    return layer(_tensors(call, known), **{k: _tensors(x, known) for k, x in given.items()})


def _tensors(value, known):
    """Tensors in the place of references; a list of one is that one."""
    if _is_reference(value):
        return known[value[0], value[1]][value[2]]
    if isinstance(value, dict):
        return {key: _tensors(x, known) for key, x in value.items()}
    if isinstance(value, list):
        found = [_tensors(x, known) for x in value]
        return found[0] if len(found) == 1 and _is_reference(value[0]) else found
    return value


def _layer(kind, name, settings):
    if kind in _FUNCTIONS:
        what = settings.get("function", "")
        what = f" ({what})" if isinstance(what, str) and what else ""
        raise Refused(f"'{name}' is a {kind}{what}, a function that is not a layer of Keras")
    cls = getattr(keras.layers, _RENAMED.get(kind, kind), None)
    cls = cls or keras.saving.get_registered_object(kind)
    if cls is None:
        raise Refused(f"'{name}' is of the class {kind}, which is neither Keras' nor registered")
    settings = dict(settings)
    if kind == "LeakyReLU" and "alpha" in settings:
        settings["negative_slope"] = float(settings.pop("alpha"))
    if kind == "SyncBatchNormalization":
        settings["synchronized"], cls = True, keras.layers.BatchNormalization
    settings = {k: _setting(name, k, v) for k, v in settings.items()}
    for key in settings.keys() - _parameters(cls):
        value = settings.pop(key)
        plain = value is None or value is False or value == [] or type(value) is int and value == 1
        if not (plain or key in _IGNORED or key.endswith("_initializer")):
            raise Refused(f"'{name}', a {kind}, has {key}={value!r}, which Keras 3 does not have")
    return cls(**settings)


def _parameters(cls):
    """The names of all that a layer's constructor takes."""
    return {
        name
        for base in cls.__mro__
        if issubclass(base, keras.layers.Layer)
        for name in inspect.signature(base.__init__).parameters
    }


def _setting(name, key, value):
    """A value of a config as Keras 3 takes it."""
    if key == "dtype":
        return _dtype(value)
    if key.endswith("activation"):
        return _activation(name, value)
    if key in ("layer", "backward_layer", "cell") and isinstance(value, dict):
        return build(value).layer
    if key == "axis" and isinstance(value, list) and len(value) == 1:
        return value[0]
    for kind in ("initializer", "regularizer", "constraint"):
        if key.endswith(f"_{kind}") and isinstance(value, dict):
            return _object(name, kind, value)
    return value


def _dtype(value):
    """A policy's name."""
    return value["config"]["name"] if isinstance(value, dict) else value


def _activation(name, value):
    if isinstance(value, dict) and value["class_name"] != "function":
        return build(value).layer
    value = value["config"] if isinstance(value, dict) else value
    if value == "hard_sigmoid":
        raise Refused(f"'{name}' has the activation hard_sigmoid, which is another one in Keras 3")
    try:
        keras.activations.get(value)
    except (TypeError, ValueError) as e:
        raise Refused(f"'{name}' has the activation {value!r}, which is not one of Keras") from e
    return value


def _object(name, kind, value):
    settings = {k: v for k, v in value["config"].items() if k != "dtype"}
    try:
        found = {"class_name": value["class_name"], "config": settings}
        return getattr(keras, f"{kind}s").get(found)
    except (TypeError, ValueError):
        _log.warning("'%s' loses its %s %s.", name, kind, value["class_name"])
        return "zeros" if kind == "initializer" else None
