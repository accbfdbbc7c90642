"""Samples of a GAN as it is, with their log ratios: what the selection methods select from."""

from typing import NamedTuple

import numpy as np

from keras_gradlayer import _checks
from keras_gradlayer._chunking import chunk_rows
from keras_gradlayer.models.sampler import Sampler
from keras_gradlayer.rivals.calibration import Calibration, calibrate
from keras_gradlayer.trainers._parts import make_flow


class Candidates(NamedTuple):
    """A frozen GAN, and what its critic's scores mean."""

    flow: Sampler
    calibration: Calibration
    real: np.ndarray
    seed: int

    @classmethod
    def of(cls, generator, critic, real, latent, output_activation, seed):
        """Copies of the models, calibrated on held-out data and as many samples.

        Raises:
            ValueError: for data of another shape than samples, and conditional models.
        """
        seed = _checks.positive_int("seed", seed, zero_ok=True)
        models = generator, critic, "top", latent, output_activation, "auto"
        _, flow, _ = make_flow(*models, step_size=1.0, max_layers=1)
        without_conditions(flow)
        real = np.asarray(real, "float32")
        if real.shape[1:] != flow.sample_shape or not len(real):
            raise ValueError(
                "`real` must be held-out data in the shape of the samples, "
                f"(n, {', '.join(map(str, flow.sample_shape))}). Received: {real.shape}"
            )
        fake = draw(flow, len(real), (seed, 0))[1]
        return cls(flow, calibrate(scores(flow, real), fake), real, seed)

    def draw(self, n, part):
        """Samples and their log ratios; each `part`, an integer, has others."""
        samples, found = draw(self.flow, n, (self.seed, 1 + part))
        return samples, self.calibration(found)


def draw(flow, n, seed):
    """Samples (n, ...) and their scores (n,); `seed` is a tuple of integers."""
    seed = int(np.random.default_rng(seed).integers(2**62))
    samples = flow.predict(flow.latent.sample(n, seed), verbose=0)
    return samples, scores(flow, samples)


def scores(flow, samples):
    """The critic's scores, float64 of shape (n,)."""
    rows = chunk_rows(flow.sample_shape)
    parts = (samples[start : start + rows] for start in range(0, len(samples), rows))
    found = [np.reshape(flow.stack.score(part), -1) for part in parts]
    return np.concatenate(found).astype("float64")


def without_conditions(flow):
    """Refuse a conditional GAN."""
    if flow.condition_spec is not None:
        raise ValueError(
            "Expected a generator and critic without conditions. Received: models that take one, "
            f"of shape {tuple(flow.condition_spec.shape[1:])}"
        )
