"""Cutting a generator in two at the place where gradient layers go in."""

import functools
import re
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from keras_gradlayer import _checks
from keras_gradlayer._conditions import call, spec_of
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.models._graph import Graph, is_activation, is_graph, selects


def split(generator: keras.Model, insert: str = "top") -> tuple[keras.Model, keras.Model]:
    """Cut a generator into `base` and `head`, so that `head(base(z)) == generator(z)`.

    Use it to put something between the two, as `FineTuner` does with its gradient layers.

    Source: the insertion points of Nitanda & Suzuki, AISTATS 2018, sections 3.1 and 3.3.

    Args:
        generator: a built Functional or Sequential Keras model with one output, of one input, or
            of [latent, condition].
        insert: where to cut. `"top"`: just before the output activation, also where it is fused
            into the last layer (`Dense(..., activation="tanh")`), ends an inner model, or is
            followed by layers that only select or spread values (reshaping, cropping, padding,
            resizing, pooling). Of concatenated branches with activations, the base gives the
            values before them, side by side in the last axis. Without an activation the head is
            the identity. `"bottom"`: the base is the identity and the head the whole generator,
            any Keras model with a known input shape. Otherwise the base ends with the last call
            of the layer of this name.

    Returns:
        (base, head), which share layers and weights with the generator; only a layer whose fused
        activation was split off is a copy. Of a conditional generator, at a layer, each takes the
        condition as its second input if it uses it.

    Raises:
        ValueError: if the generator has several inputs or outputs, or no graph to cut; if there is
            no layer of that name, or later layers need more than its output; if the generator may
            end with an activation that cannot be seen, such as a recurrent layer's or a `Lambda`.

    Example:
        >>> generator = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(2, "tanh")])
        >>> base, head = split(generator)       # a linear Dense, and tanh
    """
    _checks.instance_of("generator", generator, keras.layers.Layer, "a Keras model")
    check_insert(insert)
    _check_ends(generator)
    if insert == "bottom":
        shape, dtype = generator.inputs[0].shape[1:], generator.variable_dtype
        return _one_layer("base", layers.Identity, shape, dtype), generator
    if not is_graph(generator):
        raise ValueError(
            "Only a built Functional or Sequential generator can be cut at 'top' or at a layer. "
            f"Received: '{generator.name}' of type {type(generator).__name__}. "
            "insert='bottom' takes any generator."
        )
    return _split_top(generator) if insert == "top" else _split_after(generator, insert)


def place_of(generator: keras.Model | None) -> str:
    """Where gradient layers do best: the last feature map of a convolutional generator, or "top".

    That is the output of the last convolution, or layer that enlarges, before the output layer,
    such that everything passes through it.
    """
    if generator is None or not is_graph(generator):
        return "top" if generator is None else "bottom"  # of a class of its own, alone possible
    graph = Graph(generator)
    maps = [c for c in graph.calls if _MAP.match(type(c.layer).__name__)]
    last = [c for c in graph.calls if type(c.layer).__name__.startswith(_CONVOLUTIONS)][-1:]
    for call_ in reversed(maps):
        name = call_.layer.name
        alone = [c.layer.name for c in graph.calls].count(name) == 1
        if last and call_ is not last[0] and alone and _passes(graph, call_.outputs[0]):
            return name
    return "top"


_CONVOLUTIONS = ("Conv", "DepthwiseConv", "SeparableConv")
_MAP = re.compile("(Depthwise|Separable)?Conv|UpSampling")


def _passes(graph, x):
    """Whether all that comes after `x` needs nothing else but the condition."""
    known = {id(x): x}
    if isinstance(graph.inputs, list):
        known[id(graph.inputs[-1])] = graph.inputs[-1]
    return graph.replay(known) is not None


def cut(
    generator: keras.Model | None,
    insert: str,
    latent: Latent,
    output_activation: str | Callable | None,
) -> tuple[keras.Model, keras.Model]:
    """Base and head of a `FineTuner`, from its arguments of these names."""
    auto = _checks.among(output_activation, ("auto",))
    if not auto and insert != "top":
        raise ValueError(
            "`output_activation` goes with insert='top'. Received: "
            f"output_activation={output_activation!r} with insert={insert!r}"
        )
    check_insert(insert)
    _check_ends(generator)
    base: keras.Model = generator
    if generator is None:
        if insert not in ("top", "bottom"):
            raise ValueError(
                "Without a generator there is no layer to insert after. Expected `insert` of 'top' "
                f"or 'bottom'. Received: insert={insert!r}"
            )
        base = _one_layer("base", layers.Identity, latent.shape, None)
    elif insert == "bottom":
        dtype = generator.variable_dtype
        return _one_layer("base", layers.Identity, latent.shape, dtype), generator
    elif auto:
        return split(generator, insert)
    name = "tanh" if auto else output_activation
    values = call(base, keras.KerasTensor((None, *latent.shape)), spec_of(base))
    dtype = keras.backend.result_type(values.dtype, base.variable_dtype)
    try:
        activation = functools.partial(layers.Activation, keras.activations.get(name))
    except (TypeError, ValueError) as e:
        raise ValueError(
            "`output_activation` must be 'auto', None, or an activation of Keras or its name. "
            f"Received: output_activation={name!r}"
        ) from e
    return base, _one_layer("head", activation, values.shape[1:], dtype)


def check_insert(insert: str) -> None:
    """Check that it can name a place."""
    what = "'top', 'bottom' or the name of a layer"
    _checks.instance_of("insert", insert, str, what)


def _check_ends(generator):
    if not is_graph(generator):
        return
    inputs, outputs = len(generator.inputs), len(generator.outputs)
    if inputs not in (1, 2) or outputs != 1:
        raise ValueError(
            "Expected a generator with one input and one output. Received: "
            f"'{generator.name}' with {inputs} input(s) and {outputs} output(s)"
        )


def _split_after(generator, name):
    graph = Graph(generator)
    cuts = {c.layer.name: c.outputs for c in graph.calls if isinstance(c.layer, layers.Layer)}
    if name not in cuts:
        raise ValueError(
            f"`insert` must be 'top', 'bottom' or the name of a layer of '{generator.name}', one "
            f"of {', '.join(cuts)}. Received: insert={name!r}"
        )
    cut = cuts[name][0]
    x = keras.Input(cut.shape[1:], dtype=cut.dtype)
    output = graph.replay({id(cut): x})
    if output is None and isinstance(graph.inputs, list):
        condition = graph.inputs[-1]
        output = graph.replay({id(cut): x, id(condition): condition})
        x = [x, condition]
    if output is None:
        raise ValueError(
            f"'{generator.name}' cannot be cut after '{name}': later layers need more than its "
            "output. Expected a layer that everything passes through."
        )
    inputs = graph.inputs  # without a condition that comes later: Keras 3.13 rebuilds no such model
    if isinstance(inputs, list) and not graph.depends(cut, inputs[-1]):
        inputs = inputs[0]
    base, head = _model("base", generator, inputs, cut), _model("head", generator, x, output)
    if graph.kind(cut) == "activation" and all(map(selects, head.operations[1:])):
        _checks.warn(
            f"insert={name!r} puts gradient layers behind the output activation of "
            f"'{generator.name}', so that samples may leave its range. Expected insert='top', or "
            "a layer before the activation."
        )
    return base, head


def _split_top(generator, names=("base", "head")):
    graph = Graph(generator)
    if graph.kind(graph.output) == "linear":
        # No output activation: gradient layers go after the last layer.
        shape, dtype = graph.output.shape[1:], graph.output.dtype
        base = _model(names[0], generator, graph.inputs, graph.output)
        return base, _one_layer(names[1], layers.Identity, shape, dtype)
    parts = {}  # of each layer that holds an activation
    places = [_before(graph, end, parts) for end in graph.ends(graph.output)]
    cuts = list({id(cut): cut for cut, _, _ in places}.values())
    joined, starts = cuts[0], []
    if len(cuts) > 1:
        shapes = [x.shape for x in cuts]
        if len({s[:-1] for s in shapes}) > 1 or None in [s[-1] for s in shapes]:
            raise ValueError(
                f"The output activations of '{generator.name}' stand in branches of shapes "
                f"{', '.join(map(str, shapes))}, which do not go into one tensor. Expected "
                "branches that differ in the last axis alone, or another `insert`."
            )
        dtype = keras.backend.result_type(*(x.dtype for x in cuts))
        joined = layers.Concatenate(name="joined", dtype=dtype)(cuts)
        starts = np.cumsum([s[-1] for s in shapes[:-1]]).tolist()
    x = keras.Input(joined.shape[1:], dtype=joined.dtype)
    pieces = dict(zip(map(id, cuts), keras.ops.split(x, starts, axis=-1) if starts else [x]))
    known = {id(y): rest(pieces[id(cut)]) if rest else pieces[id(cut)] for cut, rest, y in places}
    head = _model(names[1], generator, x, graph.replay(known))
    return _model(names[0], generator, graph.inputs, joined), head


def _before(graph, end, parts):
    """(cut, rest, y): the tensor before the activation of `end`, and y = rest(cut)."""
    kind, call = graph.kind(end), graph.call_of(end)
    if kind == "unknown":
        raise ValueError(
            f"'{graph.name}' ends with the {type(call.layer).__name__} '{call.layer.name}', which "
            "may or may not be an output activation, or hold one. Expected a "
            "keras.layers.Activation or an activation of keras.ops, or for a FineTuner the "
            "argument `output_activation` (None if there is none), or another `insert`."
        )
    if kind == "linear":
        return end, None, end
    if is_activation(call.layer):
        (cut,) = call.inputs
        return cut, None, cut
    if id(call.layer) not in parts:
        parts[id(call.layer)] = _split_layer(call.layer)
    (base, head), (args, kwargs) = parts[id(call.layer)], call.arguments
    return base(*args, **kwargs), head, end


def _split_layer(layer):
    """A layer that ends with an activation: what is before that, and the rest."""
    names = f"{layer.name}_base", f"{layer.name}_head"
    if is_graph(layer):
        return _split_top(layer, names)
    policy = layer.dtype_policy
    if isinstance(layer, layers.TimeDistributed):
        parts = zip(_split_layer(layer.layer), names)
        return tuple(layers.TimeDistributed(p, name=name, dtype=policy) for p, name in parts)
    linear = type(layer).from_config(
        {**layer.get_config(), "activation": "linear", "name": names[0]}
    )
    linear.build_from_config(layer.get_build_config())
    linear.set_weights(layer.get_weights())
    return linear, layers.Activation(layer.activation, name=names[1], dtype=policy)


def _model(name, generator, inputs, outputs):
    if any(outputs is x for x in keras.tree.flatten(inputs)):  # a model needs a layer
        outputs = layers.Identity(dtype=outputs.dtype)(outputs)
    model = keras.Model(inputs, outputs, name=name)
    model.dtype_policy = generator.dtype_policy
    return model


def _one_layer(name, layer, shape, dtype):
    model = keras.Sequential([layers.Input(shape, dtype=dtype), layer(dtype=dtype)], name=name)
    model.dtype_policy = dtype or keras.config.dtype_policy()
    return model
