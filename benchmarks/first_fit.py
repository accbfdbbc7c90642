"""What the default `jit_compile="auto"` costs in the first fit, tracing and compiling included.

    python benchmarks/first_fit.py

Prints, for an MLP, a DCGAN and a GRU critic, the seconds of a first short fit of a FineTuner by
"auto" over those without XLA and those with it. Each fit is of a model of its own.
"""

import keras
import numpy as np
from keras import layers
from timing import ratio, timed, use_all_cores

import keras_gradlayer as kgl


def mlp():
    """Points in the plane."""
    return kgl.models.mlp_critic((2,))


def dcgan():
    """Images of CIFAR-10's size."""
    return kgl.models.dcgan_critic((32, 32, 3), width=16)


def gru():
    """Series of 16 steps."""
    return keras.Sequential([layers.Input((16, 2)), layers.GRU(16), layers.Dense(1)])


def first_fit(make, jit_compile):
    """The time of a first fit."""
    critic = make()
    shape = critic.input_shape[1:]
    x = np.random.default_rng(0).uniform(-1, 1, (128, *shape)).astype("float32")

    def fit():
        tuner = kgl.FineTuner(None, critic, 0.1, max_layers=1)
        tuner.compile(jit_compile=jit_compile)
        penalty = [kgl.callbacks.GradientPenalty()]
        tuner.fit(x, batch_size=32, callbacks=penalty, verbose=0)
        return tuner.jit_compile

    return timed(fit)


def main(rounds=3):
    """Print the ratios."""
    use_all_cores()
    for make in (mlp, dcgan, gru):
        took = {jit: [] for jit in ("auto", False, True)}
        for i in range(rounds + 1):  # the first round is a warm-up of TensorFlow itself
            for jit in took:
                try:
                    seconds, chosen = first_fit(make, jit)
                except Exception as e:
                    print(f"{make.__name__}: jit_compile={jit}: {type(e).__name__}")
                    seconds, chosen = np.full(2, np.nan), jit
                if jit == "auto":
                    found = chosen
                if i:
                    took[jit].append(seconds)
        wall, cpu = np.median(took["auto"], axis=0)
        print(
            f"{make.__name__}: XLA {'on' if found else 'off'}, {wall:.1f} s ({cpu:.1f} s of CPU); "
            f"over none {ratio(took['auto'], took[False])}, over XLA "
            f"{ratio(took['auto'], took[True])}"
        )


if __name__ == "__main__":
    main()
