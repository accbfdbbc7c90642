"""Every step compiles by XLA with shapes that are known and nothing left on the host.

Accelerators that take whole programs, TPUs above all, refuse the rest.
"""

import keras
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles

callbacks = kgl.callbacks


def generator():
    return keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, "tanh")])


def critic(dropout=False):
    middle = [keras.layers.Dropout(0.5)] if dropout else []
    return keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.Dense(8, "relu"), *middle, keras.layers.Dense(1)]
    )


def gan(**kwargs):
    return kgl.GAN(generator(), critic(kwargs.pop("dropout", False)), **kwargs)


STEPS = {
    "WGAN": (gan, [callbacks.WeightClipping()]),
    "WGAN-GP": (gan, [callbacks.GradientPenalty(), callbacks.CriticInnerLoop(2)]),
    "DRAGAN": (lambda: gan(objective="minimax"), [callbacks.DRAGANPenalty()]),
    "CT": (lambda: gan(dropout=True), [callbacks.ConsistencyPenalty()]),
    "noise": (gan, [callbacks.InstanceNoise(0.1)]),
    "regularised": (
        lambda: gan(simultaneous=True, objective="minimax"),
        [callbacks.GeneratorGradientRegularizer()],
    ),
    "layers": (gan, [callbacks.GradientLayers(0.1)]),
    "unrolled": (lambda: kgl.UnrolledGAN(generator(), critic(), steps=2), []),
    "dualing": (lambda: kgl.DualingGAN(generator(), critic(), "cost"), []),
    "fine-tuning": (lambda: kgl.FineTuner(generator(), critic(), 0.1), []),
    "exact": (lambda: kgl.FineTuner(generator(), critic(), 0.1, particles=None), []),
}


@pytest.mark.parametrize("name", STEPS)
def test_static(name):
    make, joined = STEPS[name]
    model = make()
    model.compile(jit_compile=True)
    model.fit(oracles.points(32), batch_size=16, callbacks=joined, verbose=0)
    numbers = [tf.constant(i) for i in (0, 2, 0, 2)]
    programs = [(model.loop.programs.updates, (tf.ones((2, 16, 2)), *numbers))]
    if isinstance(model, kgl.FineTuner):
        programs.append((model.loop.programs.move, (tf.ones((16, 2)), tf.constant(0.1))))
    for program, arguments in programs:
        hlo = program.experimental_get_compiler_ir(*arguments)(stage="hlo")
        assert "<=" not in hlo  # a dimension with a bound in the place of a size
        for host in ("outfeed", "infeed", "SendToHost", "RecvFromHost", "xla_python"):
            assert host not in hlo
        graph = program.get_concrete_function(*arguments).graph
        operations = {op.type for op in graph.get_operations()}
        operations |= {
            node.op for f in graph.as_graph_def().library.function for node in f.node_def
        }
        assert not operations & {"PyFunc", "PyFuncStateless", "EagerPyFunc", "Print", "Where"}
