"""What the right answer is: functions with closed forms, finite differences, a NumPy critic."""

import keras
import numpy as np
import tensorflow as tf

import keras_gradlayer as kgl


@keras.saving.register_keras_serializable("tests")
class Linear(keras.layers.Layer):
    """f(x) = a·x over all axes; its gradient is a everywhere."""

    def __init__(self, a, **kwargs):
        super().__init__(**kwargs)
        self.a = np.asarray(a, "float64")
        self.kernel = self.add_weight(
            shape=self.a.shape, initializer=lambda shape, dtype: tf.cast(self.a, dtype)
        )
        self.built = True

    def call(self, x):
        return tf.reduce_sum(x * self.kernel, axis=tuple(range(1, x.shape.rank)))

    def get_config(self):
        return {**super().get_config(), "a": self.a.tolist()}


@keras.saving.register_keras_serializable("tests")
class Quadratic(keras.layers.Layer):
    """f(x) = -½ Σ curvature (x − center)²; the flow runs straight to the center."""

    def __init__(self, center, curvature=1.0, **kwargs):
        super().__init__(**kwargs)
        self.center, self.curvature = np.asarray(center, "float64"), curvature
        self.target = self.add_weight(
            shape=self.center.shape, initializer=lambda shape, dtype: tf.cast(self.center, dtype)
        )
        self.built = True

    def call(self, x):
        squares = tf.square(x - self.target) * tf.cast(self.curvature, x.dtype)
        return -0.5 * tf.reduce_sum(squares, axis=tuple(range(1, x.shape.rank)))

    def get_config(self):
        return {
            **super().get_config(),
            "center": self.center.tolist(),
            "curvature": self.curvature,
        }


def smooth_critic(input_shape, dtype="float32", units=8):
    """A small tanh network: smooth, so that finite differences apply."""
    return keras.Sequential(
        [
            keras.layers.Input(input_shape, dtype=dtype),
            keras.layers.Flatten(dtype=dtype),
            keras.layers.Dense(units, "tanh", dtype=dtype, kernel_initializer="random_normal"),
            keras.layers.Dense(1, dtype=dtype),
        ]
    )


def numpy_scores(weights, x):
    """The scores of `smooth_critic` in float64, from its weights."""
    w1, b1, w2, b2 = (np.asarray(w, "float64") for w in weights)
    return (np.tanh(x.reshape(len(x), -1) @ w1 + b1) @ w2 + b2)[:, 0]


def finite_difference(f, x, eps=1e-6):
    """Central differences of a scalar function of a float64 array, in its shape."""
    x = np.array(x, "float64")
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + eps
        above = f(x)
        x[i] = kept - eps
        below = f(x)
        x[i] = kept
        gradient[i] = (above - below) / (2 * eps)
    return gradient


def numpy_input_gradient(weights, x):
    """Gradient of each row's score, by finite differences in float64."""
    return finite_difference(lambda x: numpy_scores(weights, x).sum(), x)


def points(n=64, seed=0):
    """Points in the plane within the range of tanh, float32."""
    return np.random.default_rng(seed).uniform(-0.8, 0.8, (n, 2)).astype("float32")


def point_generator():
    """A small generator of points, latent of 3."""
    return keras.Sequential(
        [
            keras.layers.Input((3,)),
            keras.layers.Dense(8, "relu", name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(2, "tanh", name="out"),
        ]
    )


def weights_of(model):
    """All variable values of a model, as arrays."""
    return [np.asarray(v) for v in model.variables]


def quadratic_tuner(target, **kwargs):
    """The critic is known, and its optimizer stands still: Algorithm 3."""
    critic = keras.Sequential([keras.layers.Input((2,)), Quadratic(target)])
    arguments = {"step_size": 0.1, "max_layers": 50, "output_activation": None, **kwargs}
    tuner = kgl.FineTuner(None, critic, **arguments)
    tuner.compile(critic_optimizer=keras.optimizers.SGD(0.0), jit_compile=True)
    return tuner


def split_mix(x):
    """SplitMix64's output for each state, in NumPy."""
    mask = 2**64 - 1

    def one(state):
        z = (int(state) + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    return [one(state) for state in x]


def row_seeds(x):
    """What noise is seeded with where no seeds are given: the rows' float32 entries."""
    bits = np.asarray(x, "float32").reshape(len(x), -1).view("uint32")
    return [sum(split_mix(int(b) + (j << 32) for j, b in enumerate(row))) % 2**64 for row in bits]


def noise(seeds, shape, *steps):
    """The normal numbers of a layer's rows at a step, or at a stack's layer and step."""
    for step in steps:
        seeds = split_mix(s + step for s in split_mix(seeds))
    size, rows = int(np.prod(shape)), []
    for key in split_mix(seeds):
        words = split_mix((key + j * 0x9E3779B97F4A7C15) % 2**64 for j in range(size))
        high, low = (np.array([w >> 32 for w in words]), np.array([w % 2**32 for w in words]))
        radius = np.sqrt(-2 * np.log((high + 0.5) / 2**32))
        rows.append((radius * np.cos(2 * np.pi * low / 2**32)).reshape(shape))
    return np.array(rows)
