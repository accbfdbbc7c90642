"""A step-size rule on the critic's own objective."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._gradients import input_gradient
from keras_gradlayer.callbacks._followed import Followed
from keras_gradlayer.callbacks.step_callback import StepCallback


class Backtracking(StepCallback):
    """Halves the step of a layer until the critic's own objective rises enough.

    Use it with a large η: the step then is as long as the critic is near to linear along it. The
    mean score of samples from latents that no training sees has to rise by half of what its slope
    promises, E f(g1(G_η(z))) − E f(g1(z)) ≥ ½ η E‖∇(f∘g1)(z)‖². Where no step does, no layer is
    stacked, and the critic trains on. `tuner.stack.step_sizes` says which η were taken.

    Source: Armijo's rule (1966); Nitanda & Suzuki (2018) take a fixed η.

    Args:
        halvings: how often the step is halved at most.
        samples: how many samples to measure on.
        seed: integer that their latents follow from.

    Raises:
        TypeError: for another model than a `FineTuner`.
        ValueError: for numbers out of range.

    Example: `tuner.fit(data, epochs=20, callbacks=[Backtracking(), GradientPenalty(10.0)])`
    """

    def __init__(self, halvings: int = 3, samples: int = 1000, seed: int = 2):
        super().__init__()
        self.seed = seed
        self.halvings = _checks.positive_int("halvings", halvings, zero_ok=True)
        self.samples = _checks.positive_int("samples", samples)

    def set_model(self, model: keras.Model) -> None:
        """Check that the model stacks layers, and follow the latents through them."""
        super().set_model(model)
        if not hasattr(model, "rollback"):
            raise TypeError(
                f"Backtracking is for a kgl.FineTuner. Received: a {type(model).__name__}"
            )
        self._followed = Followed(model, self.samples, self.seed)

        def program(step):
            return tf.function(
                step, jit_compile=model.jit_compile, reduce_retracing=True, autograph=False
            )

        self._slope = program(lambda z: _slope(model, z))
        self._rise = program(
            lambda z, eta: tf.reduce_sum(
                _potential(model, model.stack.move(z, step_size=eta)) - _potential(model, z)
            )
        )

    def layer_step(self, step_size: float, real: tf.Tensor) -> float:
        """The largest of η, η/2, η/4 … that raises the score enough, or 0."""
        chunks = self._followed.positions()
        slope = sum(float(self._slope(z)) for z in chunks)
        for halving in range(self.halvings + 1):
            eta = step_size / 2**halving
            step = tf.constant(eta, "float32")
            if sum(float(self._rise(z, step)) for z in chunks) >= eta * slope / 2 > 0:
                return eta
        return 0.0

    def trace_key(self) -> tuple:
        """It traces nothing into the step."""
        return (type(self),)


def _potential(model, z):
    return tf.reshape(model.stack.score(model.head(z, training=False)), [-1])


def _slope(model, z):
    """The sum of ‖∇(f∘g1)‖²."""
    return tf.reduce_sum(tf.square(input_gradient(lambda z: _potential(model, z), z)))
