"""The graph of a Keras model, call by call, and where its output activation is."""

import re
from typing import NamedTuple

import keras
from keras import layers, tree

# Classes of Keras, layers and operations alike, by what they do to an output activation before
# them. All others may hide one.
_SELECT = re.compile(  # select values or spread them out
    r"Reshape|Flatten|Permute|Identity|Rescaling|Resizing|CenterCrop|RepeatVector|Concatenate"
    r"|(Cropping|ZeroPadding|UpSampling|SpatialDropout|(Global)?(Max|Average)Pooling)[123]D"
    r"|((Gaussian|Alpha)?Dropout)|GaussianNoise|ActivityRegularization|Masking"
    r"|Transpose|Squeeze|ExpandDims|GetItem|Ravel|Swapaxes|Moveaxis|Stack|Split|Unstack|Repeat"
    r"|Tile|BroadcastTo|Flip|Roll|Rot90|Resize|Pad|PadImages|CropImages|MaxPool|AveragePool"
    r"|Cast|StopGradient"
)
_FUSED = re.compile(r"(Einsum)?Dense|(Depthwise|Separable)?Conv[123]D(Transpose)?")
_MERGE = re.compile(r"Add|Subtract|Multiply|Average|Maximum|Minimum|Dot|TrueDivide")
_LINEAR = re.compile(
    r"(Batch|Layer|Group|RMS)?Normalization|Embedding|MultiHeadAttention|GradientLayer(Stack)?"
)
_ACTIVATION = re.compile(
    "|".join(["activation", "prelu", *(n.replace("_", "") for n in dir(keras.activations))]),
    re.IGNORECASE,
)


class Call(NamedTuple):
    """One call of a layer or operation."""

    layer: keras.Operation
    args: tuple
    kwargs: dict
    outputs: list[keras.KerasTensor]

    @property
    def inputs(self):
        """The tensors among the arguments."""
        return [x for x in tree.flatten((self.args, self.kwargs)) if _is_tensor(x)]


class Graph:
    """The calls of a model with one output, made anew on inputs of their own.

    The layers are the model's.
    """

    def __init__(self, model: keras.Model):
        self.calls = []

        def record(layer, *args, **kwargs):
            output = layer(*args, **kwargs)
            self.calls.append(Call(layer, args, kwargs, tree.flatten(output)))
            return output

        functional = isinstance(model, keras.Function)  # else Sequential
        ends = (model.input if functional else model.inputs[0]), model.outputs
        again = keras.models.clone_model(
            keras.Model(*ends), clone_function=lambda layer: layer, call_function=record
        )
        self.model, self.inputs, self.output = model, again.input, again.outputs[0]
        self._made_by = {id(x): call for call in self.calls for x in call.outputs}

    def call_of(self, tensor: keras.KerasTensor) -> Call | None:
        """The call that gave a tensor; `None` for inputs."""
        return self._made_by.get(id(tensor))

    def replay(self, known: dict[int, keras.KerasTensor]) -> keras.KerasTensor | None:
        """The output, with these in the place of the tensors of those ids.

        `None` if it takes more than they give.
        """
        known = dict(known)
        for layer, args, kwargs, outputs in self.calls:
            arguments = (args, kwargs)
            needed = [id(x) for x in tree.flatten(arguments) if _is_tensor(x)]
            if id(outputs[0]) in known or not all(i in known for i in needed):
                continue
            args, kwargs = tree.map_structure(lambda x: known.get(id(x), x), arguments)
            again = tree.flatten(layer(*args, **kwargs))
            known.update(zip(map(id, outputs), again, strict=True))
        return known.get(id(self.output))

    def tail(self) -> list[keras.KerasTensor]:
        """The output, and back from it what it only selects from or spreads out."""
        found, waiting = {}, [self.output]
        while waiting:
            x = waiting.pop(0)
            if id(x) not in found and self.is_selected(x):
                waiting = self.call_of(x).inputs + waiting
            found[id(x)] = x
        return list(found.values())

    def is_selected(self, tensor: keras.KerasTensor) -> bool:
        """Whether a layer made the tensor by selecting values or spreading them out."""
        call = self.call_of(tensor)
        return call is not None and _selects(call.layer)

    def kind(self, tensor: keras.KerasTensor) -> str:
        """Whether a tensor's values come from an "activation", "linear" or "unknown" layer."""
        call = self.call_of(tensor)
        if call is None:
            return "linear"
        if self.is_selected(tensor):
            kinds = {self.kind(x) for x in call.inputs}
            return max(kinds, key=("linear", "activation", "unknown").index)
        if _is_a(_MERGE, call.layer):  # without bounds, if one of its inputs is
            return "linear" if "linear" in map(self.kind, call.inputs) else "unknown"
        return _kind_of_layer(call.layer)


def _kind_of_layer(layer):
    if is_graph(layer):
        graph = Graph(layer) if len(layer.outputs) == 1 else None
        return graph.kind(graph.output) if graph else "unknown"
    if isinstance(layer, layers.TimeDistributed):
        return "unknown" if is_activation(layer.layer) else _kind_of_layer(layer.layer)
    if isinstance(layer, layers.SpectralNormalization):
        return "linear" if _kind_of_layer(layer.layer) == "linear" else "unknown"
    if _is_a(_FUSED, layer):
        return "linear" if _is_linear(layer) else "activation"
    if _is_a(_LINEAR, layer):
        return "linear"
    return "activation" if is_activation(layer) else "unknown"


def is_graph(model: keras.Operation | None) -> bool:
    """Whether a model is all told by its graph: a built Functional or Sequential one."""
    known = isinstance(model, (keras.Sequential, keras.Function)) and _origin(type(model).call)
    return known and bool(getattr(model, "outputs", None))


def _is_a(names, operation):
    """Whether it is of a Keras class of such a name, with a `call` of Keras."""
    classes = type(operation).__mro__ if _origin(type(operation).call) else ()
    return any(names.fullmatch(c.__name__) for c in classes if _origin(c))


def is_activation(operation: keras.Operation) -> bool:
    """Whether it is an activation and nothing else."""
    return _is_a(_ACTIVATION, operation)


def _origin(thing):
    """Whether Keras, or this package, made it."""
    return getattr(thing, "__module__", "").split(".")[0] in ("keras", "keras_gradlayer")


def _is_linear(layer):
    return layer.activation is keras.activations.linear


def _is_tensor(x):
    return isinstance(x, keras.KerasTensor)


def _selects(operation):
    linear = isinstance(operation, layers.Activation) and _is_linear(operation)
    return linear or _is_a(_SELECT, operation)
