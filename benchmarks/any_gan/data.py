"""The data of the table of other people's GANs: images, halves of digits, series, a table."""

import numpy as np
import tensorflow_datasets as tfds


def images(name, split="train"):
    """Images in [-1, 1], and their classes."""

    x, y = tfds.as_numpy(tfds.load(name, split=split, batch_size=-1, as_supervised=True))
    return x.astype("float32") / 127.5 - 1, y.astype("int32")


def halves(split):
    """Lower halves of digits, and the upper halves that they are to be drawn to."""
    x, _ = images("mnist", split)
    return x[:, 14:], x[:, :14]


def waves(count, seed):
    """Two sines of random frequency, phase and height: series of 64 values in [-1, 1]."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 2 * np.pi, 64)
    slow = np.sin(rng.choice([1, 2], (count, 1)) * t + rng.uniform(0, 2 * np.pi, (count, 1)))
    fast = np.sin(rng.choice([4, 6], (count, 1)) * t + rng.uniform(0, 2 * np.pi, (count, 1)))
    height = rng.uniform(0.1, 0.4, (count, 1))
    return (0.55 * slow + height * fast).astype("float32")[..., None]


def rows(count, seed):
    """Rows of a table: three numbers in [-1, 1], a category of four, a category of two."""
    rng = np.random.default_rng(seed)
    category = rng.choice(4, count, p=[0.4, 0.3, 0.2, 0.1])
    centers = np.array([[-0.6, -0.5, 0.3], [0.5, -0.4, -0.3], [0.0, 0.6, 0.6], [0.6, 0.5, -0.6]])
    numbers = centers[category] + rng.normal(0, [0.12, 0.08, 0.15], (count, 3))
    other = (numbers[:, 0] + rng.normal(0, 0.3, count) > 0).astype(int)
    table = [np.clip(numbers, -1, 1), np.eye(4)[category], np.eye(2)[other]]
    return np.concatenate(table, axis=1).astype("float32")
