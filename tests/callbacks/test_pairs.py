"""Any two callbacks that go together make one compiled step, with the sum of their terms."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer import _random
from tests import oracles

MAKERS = {
    "inner_loop": lambda: kgl.callbacks.CriticInnerLoop(2),
    "two_sided": lambda: kgl.callbacks.GradientPenalty(10.0),
    "one_sided": lambda: kgl.callbacks.GradientPenalty(3.0, one_sided=True, target=0.0),
    "dragan": lambda: kgl.callbacks.DRAGANPenalty(5.0),
    "r1": lambda: kgl.callbacks.R1Penalty(4.0),
    "r2": lambda: kgl.callbacks.R2Penalty(2.0),
    "consistency": lambda: kgl.callbacks.ConsistencyPenalty(2.0),
    "clipping": lambda: kgl.callbacks.WeightClipping(0.01),
    "noise": lambda: kgl.callbacks.InstanceNoise(0.1, decay_epochs=10),
    "layers": lambda: kgl.callbacks.GradientLayers(0.5),
    "regularizer": lambda: kgl.callbacks.GeneratorGradientRegularizer(0.5),
}
PENALTIES = {"two_sided", "one_sided", "dragan", "r1", "r2"}


@pytest.fixture
def known_randomness(monkeypatch):
    """Random numbers that are a function of their shape, and two masks of dropout in turn."""
    calls = [0]

    def fixed(shape, *args, dtype="float32", **kwargs):
        shape = tf.get_static_value(tf.convert_to_tensor(shape))
        draws = np.random.default_rng(len(shape)).random(shape)
        return tf.constant(draws, dtype)

    def dropout(inputs, *args, **kwargs):
        calls[0] += 1
        mask = np.random.default_rng(calls[0] % 2).integers(0, 2, inputs.shape[-1])
        return inputs * tf.constant(2.0 * mask, inputs.dtype)

    monkeypatch.setattr(_random, "uniform", fixed)
    monkeypatch.setattr(_random, "normal", fixed)
    monkeypatch.setattr("keras.src.backend.random.dropout", dropout)
    return calls


def make(dropout):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    critic = keras.Sequential(
        [
            layers.Input((2,)),
            layers.Dense(16, "tanh"),
            layers.Dropout(0.5) if dropout else layers.Identity(),
            layers.Dense(1),
        ]
    )
    critic.set_weights([3 * w for w in critic.get_weights()])
    generator = keras.Sequential([layers.Input((3,)), layers.Dense(2, "tanh")])
    gan = kgl.GAN(generator, critic)
    # updates too small to see: both terms are those of the models as they are
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(1e-12),
        critic_optimizer=keras.optimizers.SGD(1e-12),
        jit_compile=False,
    )
    return gan


@pytest.mark.parametrize("names", itertools.combinations(MAKERS, 2), ids="-".join)
def test_pair(names, known_randomness):
    gan, real = make("consistency" in names), tf.constant(oracles.points(16))
    callbacks = [MAKERS[name]() for name in names]
    data = tf.data.Dataset.from_tensors(real).repeat(2)
    twice = set(names) == {"two_sided", "one_sided"}
    if twice or ("clipping" in names and PENALTIES & set(names)):
        match = "Expected one GradientPenalty" if twice else "do the same in different ways"
        with pytest.raises(ValueError, match=match):
            gan.fit(data, callbacks=callbacks, verbose=0)
        return
    if "clipping" in names:  # whose effect is not a term
        gan.critic.set_weights([np.clip(w, -0.01, 0.01) for w in gan.critic.get_weights()])

    # each term by itself, on what the critic sees
    for callback in callbacks:
        callback.set_model(gan)
    gan.loop.callbacks = callbacks
    fake = gan.generate(16)
    moved = np.abs(fake - gan.generator(gan.latent.sample(16))).max()
    assert (moved > 1e-5) == ("layers" in names)
    seen = [gan.critic_inputs(x) for x in (real, fake)]
    known_randomness[0] = 0
    scores = [gan.scores(x) for x in seen]
    terms = [c.critic_loss(*seen) for c in callbacks]
    penalty = sum(float(t) for t in terms if t is not None)
    value = float(gan.objective.value(*scores))
    free = float(gan.generator_loss(*seen))
    terms = [c.generator_loss(*seen) for c in callbacks]
    regularizer = sum(float(t) for t in terms if t is not None)
    assert (penalty > 0) == any(n in PENALTIES | {"consistency"} for n in names)
    assert (regularizer > 0) == ("regularizer" in names)
    gan.loop.callbacks = []

    known_randomness[0] = 0
    callbacks = [MAKERS[name]() for name in names]
    logs = {k: v[0] for k, v in gan.fit(data, callbacks=callbacks, verbose=0).history.items()}
    # compiled against eager arithmetic
    np.testing.assert_allclose(logs["penalty"], penalty, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logs["critic_loss"], penalty - value, rtol=1e-4, atol=1e-6)
    if "consistency" not in names:  # with whose dropout the masks are at another turn
        np.testing.assert_allclose(logs["generator_loss"], free + regularizer, rtol=1e-4)
    moves = int(gan.generator_optimizer.iterations)
    assert moves == (1 if "inner_loop" in names else 2)
