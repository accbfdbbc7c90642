"""Cutting a generator in two at the place where gradient layers go in."""

import keras
from keras import layers

# Layers that rearrange or rescale values: the output activation may stand before them.
_REARRANGING = (
    layers.Reshape,
    layers.Flatten,
    layers.Permute,
    layers.Identity,
    layers.Rescaling,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
)
_REARRANGING_OPS = ("Reshape", "Transpose", "Squeeze", "ExpandDims", "GetItem")
_ACTIVATIONS = (
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Softmax,
)
# Layers whose `activation` argument is applied to their output.
_FUSED = (
    layers.Dense,
    layers.EinsumDense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)


def split(generator: keras.Model, insert: str = "top") -> tuple[keras.Model, keras.Model]:
    """Cut a generator into `base` and `head`, so that `head(base(z)) == generator(z)`.

    Use it to put something between the two, as `FineTuner` does with its gradient layers.

    Source: the insertion points of Nitanda & Suzuki, AISTATS 2018, sections 4 and 5.

    Args:
        generator: a built Functional or Sequential Keras model with one input and one output.
        insert: where to cut. `"top"`: just before the output activation, also where it is fused
            into the last layer (`Dense(..., activation="tanh")`) or followed by layers that only
            reshape; without one the head is linear. `"bottom"`: the base is the identity and the
            head the whole generator (here any Keras model with a known input shape will do).
            Otherwise the name of a layer: the base ends with that layer.

    Returns:
        (base, head), two Keras models. They share their layers and weights with the generator,
        save for a layer whose fused activation was split off, which is a copy.

    Raises:
        ValueError: if there is no layer of that name (the names are listed), or the layers after
            the cut need more than the cut layer's output, or the generator has no graph to cut.

    Example:

    >>> generator = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(2, "tanh")])
    >>> base, head = split(generator)       # a linear Dense, and tanh
    """
    if insert == "bottom":
        return _identity(generator.input_shape[1:]), generator
    z, _ = _ends(generator)
    if insert == "top":
        return _split_top(generator)
    names = [layer.name for layer in generator.layers]
    if insert not in names:
        raise ValueError(
            f"`insert` must be 'top', 'bottom' or the name of a layer of '{generator.name}', one "
            f"of {', '.join(names)}. Received: insert={insert!r}"
        )
    cut = _output_of(generator, generator.get_layer(insert))
    return keras.Model(z, cut), _after(generator, cut)


def _split_top(generator):
    z, end = _ends(generator)
    out = end
    while _rearranges(_maker(out)[0]):
        out = _maker(out)[1]
    layer, before = _maker(out)
    if isinstance(layer, keras.Model):
        # The end of the graph is a model of its own: cut that one.
        inner_base, inner_head = _split_top(layer)
        base, heads = inner_base(before), [inner_head]
    elif isinstance(layer, _ACTIVATIONS) or _is_activation_op(layer):
        return keras.Model(z, before), _after(generator, before)
    elif not _without_activation(layer):
        raise ValueError(
            f"'{generator.name}' ends with the {type(layer).__name__} '{layer.name}', which may or "
            "may not be an output activation. Expected a keras.layers.Activation or an activation "
            "of keras.ops, or for a FineTuner the argument `output_activation`."
        )
    elif isinstance(layer, _FUSED) and layer.activation is not keras.activations.linear:
        linear = type(layer).from_config({**layer.get_config(), "activation": "linear"})
        base = linear(before)
        linear.set_weights(layer.get_weights())
        activation = layers.Activation(layer.activation, dtype=layer.dtype_policy)
        heads = [activation]
    else:
        # No output activation: gradient layers go after the last layer.
        return generator, _identity(generator.output_shape[1:])
    if out is not end:
        heads.append(_after(generator, out))
    cut = x = keras.Input(base.shape[1:], dtype=base.dtype)
    for part in heads:
        x = part(x)
    return keras.Model(z, base), keras.Model(cut, x)


def _is_activation_op(operation):
    """Whether this is an activation called as a function, such as `keras.ops.tanh(x)`."""
    names = {name.replace("_", "") for name in dir(keras.activations)}
    return _is_op(operation) and type(operation).__name__.lower() in names


def _is_op(operation):
    return not isinstance(operation, layers.Layer)


def _rearranges(operation):
    name = type(operation).__name__
    return isinstance(operation, _REARRANGING) or (_is_op(operation) and name in _REARRANGING_OPS)


def _without_activation(operation):
    """Whether it holds no activation that could be an output's: no function, no wrapped layer."""
    if isinstance(operation, layers.Wrapper):
        activation = getattr(operation.layer, "activation", keras.activations.linear)
        return activation is keras.activations.linear
    return not (_is_op(operation) or isinstance(operation, layers.Lambda))


def _maker(tensor):
    """The layer that made a tensor of a graph, and the tensor that it was given."""
    history = tensor._keras_history
    inputs = history.operation._inbound_nodes[history.node_index].input_tensors
    return history.operation, inputs[0] if len(inputs) == 1 else None


def _output_of(generator, layer):
    """The tensor that a layer gives in this graph; it may stand in others, too."""
    _, out = _ends(generator)
    waiting = [out]
    while waiting:
        tensor = waiting.pop()
        history = tensor._keras_history
        if history.operation is layer:
            return tensor
        waiting += history.operation._inbound_nodes[history.node_index].input_tensors
    raise ValueError(f"The output of '{generator.name}' does not depend on '{layer.name}'.")


def _after(generator, cut):
    """What a generator does with the tensor `cut`."""
    _, x = _ends(generator)
    if cut is x:
        return _identity(cut.shape[1:])
    try:
        return keras.Model(cut, x)
    except ValueError as e:
        raise ValueError(
            f"'{generator.name}' cannot be cut after '{_maker(cut)[0].name}': later layers need "
            "more than its output. Expected a layer that everything passes through."
        ) from e


def _identity(shape):
    return keras.Sequential([layers.Input(shape), layers.Identity()])


def _ends(generator):
    """The input and output tensor of a generator's graph."""
    inputs = getattr(generator, "inputs", None) or []
    outputs = getattr(generator, "outputs", None) or []
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            "Only a built Functional or Sequential generator with one input and one output can be "
            f"cut at 'top' or at a layer. Received: '{generator.name}' of type "
            f"{type(generator).__name__}. insert='bottom' takes any generator."
        )
    return inputs[0], outputs[0]


def cut(generator, insert, latent, output_activation):
    """TEMPORARY until the merge."""
    from keras_gradlayer.trainers._cutting import cut as f

    return f(generator, insert, latent, output_activation)
