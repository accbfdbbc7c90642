"""Kernel distance, sliced Wasserstein, precision and recall against plain NumPy."""

import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer._tfgan import _load, classifier_metrics


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 4)), 1.3 * rng.normal(size=(200, 4)) + 0.5


def mmd(a, b):
    """The unbiased estimate over all pairs."""

    def k(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    n, m = len(a), len(b)
    own = [(k(x, x).sum() - np.trace(k(x, x))) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return own[0] + own[1] - 2 * k(a, b).sum() / (n * m)


def test_kernel_distance_against_numpy(clouds):
    assert kgl.metrics.kernel_distance(*clouds) == pytest.approx(mmd(*clouds), rel=1e-4)
    # 2,100 rows are three blocks of 700
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2100, 3)), rng.normal(size=(2100, 3)) + 0.2
    x, y = (np.random.default_rng(0).permutation(rows) for rows in (a, b))
    expected = np.mean([mmd(x[i : i + 700], y[i : i + 700]) for i in (0, 700, 1400)])
    assert kgl.metrics.kernel_distance(a, b) == pytest.approx(expected, rel=1e-4)
    # blocks of uneven sizes are those of TF-GAN
    a, b = a[:2099], b[:2051]
    x, y = (tf.constant(np.random.default_rng(0).permutation(rows)) for rows in (a, b))
    theirs = classifier_metrics.kernel_classifier_distance_from_activations(x, y)
    assert kgl.metrics.kernel_distance(a, b) == pytest.approx(float(theirs), rel=1e-9)
    with pytest.raises(ValueError, match=r"6 rows or more. Received: \(2099, 3\) and \(5, 3\)"):
        kgl.metrics.kernel_distance(a, b[:5])
    with pytest.raises(ValueError, match=r"two rows each. Received: \(300, 4\) and \(200, 3\)"):
        kgl.metrics.kernel_distance(clouds[0], clouds[1][:, :3])


def test_sliced_wasserstein_against_numpy(clouds):
    a, b = clouds[0][:200], clouds[1]
    u = np.random.default_rng(0).normal(size=(256, 4))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    expected = np.abs(np.sort(a @ u.T, axis=0) - np.sort(b @ u.T, axis=0)).mean()
    assert kgl.metrics.sliced_wasserstein(a, b) == pytest.approx(expected, rel=1e-5)  # float32
    # A shift by s moves each projection by s·u: the mean of |s·u| over the circle is 2‖s‖/π.
    square = clouds[0][:, :2]
    found = kgl.metrics.sliced_wasserstein(square, square + [3.0, 4.0], projections=4000)
    assert found == pytest.approx(2 * 5 / np.pi, rel=0.03)  # 4,000 directions: 0.8% stddev
    # TF-GAN's distance between patches, of the same matrices; both over 4,000 directions
    (tfgan,) = _load("eval.sliced_wasserstein")
    theirs = float(tfgan._sliced_wasserstein(a.astype("float32"), b.astype("float32"), 1, 4000))
    ours = kgl.metrics.sliced_wasserstein(a, b, projections=4000)
    assert ours == pytest.approx(theirs, rel=0.03)
    # as many of one as of the other, or not: each row twice is the same distribution
    twice = kgl.metrics.sliced_wasserstein(np.repeat(a, 2, axis=0), b)
    assert twice == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match=r"one shape.*Received: \(300, 4\) and \(200, 3\)"):
        kgl.metrics.sliced_wasserstein(clouds[0], clouds[1][:, :3])


def test_precision_recall_against_numpy(clouds):
    real, fake = clouds
    k = 5

    def distances(x, y):
        return np.linalg.norm(x[:, None] - y[None], axis=-1)

    reach = np.sort(distances(real, real), axis=1)[:, k]
    fake_reach = np.sort(distances(fake, fake), axis=1)[:, k]
    d = distances(fake, real)
    expected = kgl.metrics.PrecisionRecall(
        (d <= reach).any(axis=1).mean(),
        (d <= fake_reach[:, None]).any(axis=0).mean(),
        (d <= reach).sum(axis=1).mean() / k,
        (d <= reach).any(axis=0).mean(),
    )
    found = kgl.metrics.precision_recall(real, fake)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert 0 < found.recall < 1
    assert 0 < found.precision < 1
    # far from the origin, too, where squares lose their digits
    far = kgl.metrics.precision_recall(real + 1e5, fake + 1e5)
    np.testing.assert_allclose(far, expected, atol=1e-6)
    with pytest.raises(ValueError, match="6 rows or more"):
        kgl.metrics.precision_recall(real[:5], fake)


@pytest.mark.parametrize("metric", ["precision_recall", "frechet_distance"])
def test_by_blocks(clouds, monkeypatch, metric):
    """However few rows at a time, the same."""
    distance = getattr(kgl.metrics, metric)
    expected = distance(*clouds)
    monkeypatch.setattr(
        sys.modules[f"keras_gradlayer.metrics.{metric}"],
        "blocks",
        lambda rows, *size: [slice(i, i + 7) for i in range(0, rows, 7)],
    )
    assert distance(*clouds) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["precision_recall", "frechet_distance", "kernel_distance"])
def test_numbers_that_are_none(clouds, name):
    """They would pass for good ones: a row of NaN is near to nothing, and to all."""
    a, b = clouds[0].astype("float32"), clouds[1]
    for value in (np.nan, np.inf):
        broken = b.copy()
        broken[[3, 7], 1] = value
        with pytest.raises(ValueError, match=r"must be finite.*in 2 of 200 rows, \[3 7\]"):
            getattr(kgl.metrics, name)(a, broken)


def test_precision_recall_tells_quality_from_variety():
    rng = np.random.default_rng(0)
    modes = np.repeat([[0.0, 0.0], [10.0, 0.0]], 100, axis=0)
    real = modes + rng.normal(size=(200, 2))
    one_mode = kgl.metrics.precision_recall(real, rng.normal(size=(200, 2)))
    assert one_mode.precision > 0.9
    assert max(one_mode.recall, one_mode.coverage) < 0.55
    noisy = kgl.metrics.precision_recall(real, modes + 4 * rng.normal(size=(200, 2)))
    assert noisy.precision < 0.75 < 0.9 < noisy.recall


def test_split_classifier_score_against_numpy():
    logits = np.random.default_rng(0).normal(scale=2, size=(200, 7))

    def score(x):
        p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
        return np.exp(np.mean(np.sum(p * (np.log(p) - np.log(p.mean(0))), axis=1)))

    parts = [score(part) for part in np.split(logits, 10)]
    found = kgl.metrics.split_classifier_score(logits)
    np.testing.assert_allclose(found, [np.mean(parts), np.std(parts)], rtol=1e-4)
    with pytest.raises(ValueError, match="at most 200 rows. Received: splits=201"):
        kgl.metrics.split_classifier_score(logits, 201)
