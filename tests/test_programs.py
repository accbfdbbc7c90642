"""Programs of many objects."""

import keras
import numpy as np

import keras_gradlayer as kgl


def test_many_tuners_and_samplers_are_no_retracing(caplog):
    """Each moves z to z + 2(1, 0) in programs of its own: a search doubles the step of 1 once."""
    critic = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    critic.set_weights([np.array([[1.0], [0.0]])])
    for _ in range(6):  # TensorFlow warns from the fifth on
        rule = kgl.step_rules.LineSearch(lambda x: {"left": -x[:, 0].mean()}, 1.0, 1, samples=8)
        tuner = kgl.FineTuner(None, critic, rule, output_activation=None, max_layers=1)
        tuner.compile(critic_optimizer=keras.optimizers.SGD(0.0))
        tuner.fit(np.zeros((32, 2), "float32"), verbose=0)
        z = tuner.latent.sample(4, seed=1).numpy()
        np.testing.assert_allclose(tuner.sampler().predict(z), z + [2.0, 0.0], atol=1e-5)
        assert [x.shape for x in kgl.metrics.sample_batches(tuner, 4)] == [(4, 2)]
    assert "retracing" not in caplog.text
