import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer._tfgan import classifier_metrics


def test_mode_coverage():
    centers = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    samples = [[0.01, 0.0], [0.0, 0.05], [1.03, 0.0], [0.8, 0.0]]
    found = kgl.metrics.mode_coverage(samples, centers, stddev=0.01)
    np.testing.assert_array_equal(found.shares, [0.5, 0.5, 0.0])
    assert found.modes == 2  # 0.01 and 0.03 are within 4 stddev; 0.05 and 0.2 are not
    assert found.within == 0.5
    assert kgl.metrics.mode_coverage(samples, centers, 0.01, radius=2).modes == 1
    with pytest.raises(ValueError, match=r"shapes \(n, d\).*Received: \(4,\) and \(3, 2\)"):
        kgl.metrics.mode_coverage(np.zeros(4), centers, 0.1)
    with pytest.raises(ValueError, match=r"Received: \(0, 2\) and \(3, 2\)"):
        kgl.metrics.mode_coverage(np.zeros((0, 2)), centers, 0.1)
    with pytest.raises(ValueError, match="`samples` must be finite"):
        kgl.metrics.mode_coverage([[np.nan, 0.0]], centers, 0.1)


def test_classifier_score_against_numpy():
    logits = np.random.default_rng(0).normal(scale=2, size=(200, 7))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp(np.mean(np.sum(p * (np.log(p) - np.log(p.mean(0))), axis=1)))
    assert kgl.metrics.classifier_score(logits) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match=r"shape \(n, classes\). Received: \(3,\)"):
        kgl.metrics.classifier_score(np.zeros(3))


def frechet(a, b):
    """The trace from the eigenvalues of Σ_a Σ_b, which are those of a matrix of few samples, too.

    With centred rows A of n samples, Σ_a = AᵀA/(n − 1), and the trace of the root is the sum of
    the singular values of A Bᵀ/√((n − 1)(m − 1)).
    """
    da, db = a - a.mean(0), b - b.mean(0)
    values = np.linalg.svd(da @ db.T, compute_uv=False) / np.sqrt((len(a) - 1) * (len(b) - 1))
    traces = sum((d**2).sum() / (len(d) - 1) for d in (da, db))
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + traces - 2 * values.sum()


@pytest.mark.parametrize("scale", [1e-4, 3e-3, 1.0, 1e4])
@pytest.mark.parametrize(("rows", "features"), [(100, 4), (200, 32), (20, 64)])
def test_frechet_distance_against_numpy(rows, features, scale):
    """Whatever the unit of the features, and with fewer samples than features."""
    rng = np.random.default_rng(0)
    a = scale * rng.normal(size=(rows, features))
    b = scale * (1.5 * rng.normal(size=(rows - 5, features)) + 1)
    assert kgl.metrics.frechet_distance(a, b) == pytest.approx(frechet(a, b), rel=1e-9)
    assert kgl.metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9 * scale**2 * features)
    # features as classifiers give them
    a, b = a.astype("float32"), b.astype("float32")
    found = kgl.metrics.frechet_distance(a, b)
    assert found == pytest.approx(frechet(a.astype("float64"), b.astype("float64")), rel=1e-6)


def test_frechet_distance_against_tf_gan():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 4)), 1.5 * rng.normal(size=(200, 4)) + 1
    theirs = classifier_metrics.frechet_classifier_distance_from_activations(a, b)
    assert kgl.metrics.frechet_distance(a, b) == pytest.approx(float(theirs), rel=1e-6)
    with pytest.raises(ValueError, match=r"Received: \(300, 4\) and \(1, 4\)"):
        kgl.metrics.frechet_distance(a, b[:1])


TWO_SETS = {
    "frechet_distance": kgl.metrics.frechet_distance,
    "kernel_distance": kgl.metrics.kernel_distance,
    "precision_recall": kgl.metrics.precision_recall,
    "sliced_wasserstein": kgl.metrics.sliced_wasserstein,
    "mode_coverage": lambda a, b: kgl.metrics.mode_coverage(a, b[:3], 0.5)[1:],
    "classifier_score": lambda a, b: kgl.metrics.classifier_score(a),
}


@pytest.mark.parametrize("name", TWO_SETS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_precisions(name, dtype):
    """Each is that of the same numbers in float64, be they arrays or tensors."""
    rng = np.random.default_rng(0)
    sets = [tf.cast(rng.normal(size=(40, 4)) + shift, dtype) for shift in (0, 0.5)]
    expected = TWO_SETS[name](*(tf.cast(x, "float64").numpy() for x in sets))
    for given in (sets, [x.numpy() for x in sets]):
        np.testing.assert_allclose(TWO_SETS[name](*given), expected, rtol=1e-5)


def test_stacked_mode_coverage():
    every = np.stack(np.meshgrid(*[range(10)] * 3), axis=-1).reshape(-1, 3)
    assert kgl.metrics.stacked_mode_coverage(every) == (1000, pytest.approx(0.0, abs=1e-12))
    one = np.zeros((7, 3), int)
    assert kgl.metrics.stacked_mode_coverage(one) == (1, pytest.approx(3 * np.log(10)))
    # half of the modes, evenly
    half = kgl.metrics.stacked_mode_coverage(every[every[:, 0] < 5])
    assert half == (500, pytest.approx(np.log(2)))
    # two modes of shares 3/4 and 1/4, of four
    labels = [[0, 0]] * 3 + [[1, 1]]
    expected = 0.75 * np.log(0.75 / 0.25) + 0.25 * np.log(0.25 / 0.25)
    found = kgl.metrics.stacked_mode_coverage(labels, classes=2)
    assert found == (2, pytest.approx(expected))
    for bad in ([1, 2], [[0.5, 1.0]], [[1, 10]], [[-1, 1]], np.zeros((0, 3), int)):
        with pytest.raises(ValueError, match="integers from 0 to 9 of shape"):
            kgl.metrics.stacked_mode_coverage(bad)
