"""The graph of a Keras model, call by call, and the kinds of layers that it ends with."""

import re
from typing import NamedTuple

import keras
from keras import layers, tree

# Classes of Keras, layers and operations alike. All others may hide an activation.
_SELECT = (  # select values or spread them out: an activation may stand before them
    r"Reshape|Flatten|Permute|Identity|Rescaling|Resizing|CenterCrop|RepeatVector|Concatenate"
    r"|(Cropping|ZeroPadding|UpSampling|SpatialDropout|(Global)?(Max|Average)Pooling)[123]D"
    r"|(Gaussian|Alpha)?Dropout|GaussianNoise|ActivityRegularization|Masking|StopGradient|Cast"
    r"|Transpose|Squeeze|ExpandDims|GetItem|Ravel|Swapaxes|Moveaxis|Stack|Split|Unstack|Repeat"
    r"|Tile|BroadcastTo|Flip|Roll|Rot90|Resize|Pad|PadImages|CropImages|MaxPool|AveragePool"
)
_FUSED = r"(Einsum)?Dense|(Depthwise|Separable)?Conv[123]D(Transpose)?"
_MERGE = r"Add|Subtract|Multiply|Average|Maximum|Minimum|Dot|TrueDivide"
_LINEAR = r"(Batch|Layer|Group|RMS)?Normalization|Embedding|MultiHeadAttention|GradientLayer\w*"
_ACTIVATION = "(?i)activation|prelu|" + "|".join(dir(keras.activations)).replace("_", "")


class Call(NamedTuple):
    """One call of a layer or operation."""

    layer: keras.Operation
    arguments: tuple[tuple, dict]
    outputs: list[keras.KerasTensor]

    @property
    def inputs(self):
        """The tensors among the arguments."""
        return [x for x in tree.flatten(self.arguments) if isinstance(x, keras.KerasTensor)]


class Graph:
    """The calls of a model's own layers, in order, made anew from `inputs` to one `output`."""

    def __init__(self, model: keras.Model):
        self.calls: list[Call] = []

        def record(layer, *args, **kwargs):
            output = layer(*args, **kwargs)
            self.calls.append(Call(layer, (args, kwargs), tree.flatten(output)))
            return output

        inputs = model.input if isinstance(model, keras.Function) else model.inputs[0]
        again = keras.models.clone_model(
            keras.Model(inputs, model.outputs),
            clone_function=lambda layer: layer,
            call_function=record,
        )
        self.name, self.inputs, self.output = model.name, again.input, again.outputs[0]
        self._made_by = {id(x): call for call in self.calls for x in call.outputs}

    def call_of(self, tensor: keras.KerasTensor) -> Call | None:
        """The call that gave a tensor; `None` for inputs."""
        return self._made_by.get(id(tensor))

    def depends(self, tensor: keras.KerasTensor, x: keras.KerasTensor) -> bool:
        """Whether a tensor is made from `x`."""
        made = {id(x)}
        for call in self.calls:
            if any(id(y) in made for y in call.inputs):
                made.update(map(id, call.outputs))
        return id(tensor) in made

    def replay(self, known: dict[int, keras.KerasTensor]) -> keras.KerasTensor | None:
        """The output, given other tensors for those of these ids; `None` if it needs more."""
        known = dict(known)
        for call in self.calls:
            if id(call.outputs[0]) not in known and all(id(x) in known for x in call.inputs):
                args, kwargs = tree.map_structure(lambda x: known.get(id(x), x), call.arguments)
                again = tree.flatten(call.layer(*args, **kwargs))
                known.update(zip(map(id, call.outputs), again, strict=True))
        return known.get(id(self.output))

    def ends(self, tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
        """What a tensor's values are selected from: itself, if its layer does more than that."""
        call = self.call_of(tensor)
        if call is None or not _passes(call):
            return [tensor]
        return list({id(x): x for y in call.inputs for x in self.ends(y)}.values())

    def kind(self, tensor: keras.KerasTensor) -> str:
        """Whether a tensor's values come from an "activation", "linear" or "unknown" layer."""
        call = self.call_of(tensor)
        if call is None:
            return "linear"
        if _passes(call):
            kinds = {self.kind(x) for x in self.ends(tensor)}
            return max(kinds, key=("linear", "activation", "unknown").index)
        if _is_a(_MERGE, call.layer):  # without bounds, if one of its inputs is
            return "linear" if "linear" in map(self.kind, call.inputs) else "unknown"
        return _kind_of_layer(call.layer)


def _kind_of_layer(layer):
    if is_graph(layer) and len(layer.outputs) == 1:
        graph = Graph(layer)
        return graph.kind(graph.output)
    if isinstance(layer, layers.TimeDistributed):
        return "unknown" if is_activation(layer.layer) else _kind_of_layer(layer.layer)
    if isinstance(layer, layers.SpectralNormalization):
        return "linear" if _kind_of_layer(layer.layer) == "linear" else "unknown"
    if _is_a(_LINEAR, layer) or (_is_a(_FUSED, layer) and _without_activation(layer)):
        return "linear"
    return "activation" if _is_a(_FUSED, layer) or is_activation(layer) else "unknown"


def is_graph(model: keras.Operation) -> bool:
    """Whether a model is all told by its graph: a built Functional or Sequential one."""
    known = isinstance(model, (keras.Sequential, keras.Function)) and _of_keras(type(model).call)
    return known and bool(getattr(model, "outputs", None))


def is_activation(operation: keras.Operation) -> bool:
    """Whether it is an activation and nothing else."""
    return _is_a(_ACTIVATION, operation)


def selects(operation: keras.Operation) -> bool:
    """Whether it only selects values, spreads them out or rescales them."""
    linear = isinstance(operation, layers.Activation) and _without_activation(operation)
    return linear or _is_a(_SELECT, operation)


def _passes(call):
    """Whether a call only selects values, or moves and scales them by a constant."""
    affine = _is_a("Add|Subtract|Multiply|TrueDivide", call.layer) and len(call.inputs) == 1
    inverse = _is_a("TrueDivide", call.layer) and call.arguments[0][:1] != tuple(call.inputs)
    return selects(call.layer) or (affine and not inverse)


def _is_a(names, operation):
    """Whether it is of a Keras class of such a name, with a `call` of Keras."""
    classes = type(operation).__mro__ if _of_keras(type(operation).call) else ()
    return any(re.fullmatch(names, c.__name__) for c in classes if _of_keras(c))


def _of_keras(thing):
    return getattr(thing, "__module__", "").split(".")[0] in ("keras", "keras_gradlayer")


def _without_activation(layer):
    return layer.activation is keras.activations.linear
