import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles


class Seen(keras.callbacks.Callback):
    """The largest weight after each update."""

    def __init__(self):
        super().__init__()
        self.largest = []

    def on_train_batch_end(self, batch, logs=None):
        weights = self.model.critic.trainable_variables
        self.largest.append(max(float(np.abs(v).max()) for v in weights))


def make(**kwargs):
    gan = kgl.GAN(oracles.point_generator(), kgl.models.mlp_critic((2,), units=8))
    gan.compile(
        generator_optimizer=keras.optimizers.RMSprop(5e-5),
        critic_optimizer=keras.optimizers.RMSprop(5e-5),
        **kwargs,
    )
    return gan


@pytest.mark.parametrize("mode", [{"jit_compile": True}, {"jit_compile": False}])
def test_within_the_limit_after_every_update(mode):
    gan, seen = make(**mode), Seen()
    callbacks = [kgl.callbacks.CriticInnerLoop(5), kgl.callbacks.WeightClipping(0.01), seen]
    gan.fit(oracles.points(64), batch_size=8, epochs=2, callbacks=callbacks, verbose=0)
    assert len(seen.largest) == 16
    assert max(seen.largest) <= np.float32(0.01)
    assert seen.largest[0] == np.float32(0.01)  # it was larger before
    # without it the weights are free again
    gan.fit(oracles.points(64), batch_size=8, epochs=2, callbacks=[seen], verbose=0)
    assert max(seen.largest) > 0.01


def test_it_is_a_clip_of_the_plain_step():
    """What lies within the limit is left as the optimizer made it."""
    weights = []
    for callbacks in ([], [kgl.callbacks.WeightClipping(0.1)]):
        keras.utils.set_random_seed(3)
        gan = make()
        gan.fit(oracles.points(8), batch_size=8, shuffle=False, callbacks=callbacks, verbose=0)
        weights.append(gan.critic.get_weights())
    for free, clipped in zip(*weights, strict=True):
        np.testing.assert_array_equal(clipped, np.clip(free, -0.1, 0.1))


def test_a_fine_tuner_clips_its_critic_too():
    tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,), units=8), 0.1, max_layers=2)
    tuner.compile()
    tuner.fit(oracles.points(), callbacks=[kgl.callbacks.WeightClipping(0.05)], verbose=0)
    assert max(np.abs(w).max() for w in tuner.critic.get_weights()) <= np.float32(0.05)


@pytest.mark.parametrize("penalty", [kgl.callbacks.GradientPenalty, kgl.callbacks.DRAGANPenalty])
def test_not_beside_a_gradient_penalty(penalty):
    gan = make()
    before = gan.get_weights()
    callbacks = [penalty(), kgl.callbacks.WeightClipping()]
    with pytest.raises(ValueError, match=f"WeightClipping and {penalty.__name__} do the same"):
        gan.fit(oracles.points(), callbacks=callbacks, verbose=0)
    for a, b in zip(before, gan.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("limit", [0, -1, float("nan"), "1"])
def test_bad_arguments(limit):
    with pytest.raises(ValueError, match="`limit` must be a positive finite number"):
        kgl.callbacks.WeightClipping(limit)
