"""Calls of samplers, stacks, latents, metrics and fits refuse bad arguments, and change nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles
from tests.faults import bad_input as bad
from tests.faults.bad_input import critic, gan, refused, sampler, spoilt, table, tuner

nan, inf = np.nan, np.inf
metrics = kgl.metrics
z = np.zeros((4, 3), "float32")
depth_error = "`depth` must be an integer from 0 to 3"
layer_error = "`layer` must be an integer from 0 to 2"
finite = "must be finite"


def stack():
    return tuner().stack


def positions():
    return np.zeros((4, 2), "float32")


def latent():
    return kgl.latents.Gaussian(3)


def other_stack(max_layers=4, layers=1, shape=(2,)):
    c = kgl.models.mlp_critic(shape, units=4, depth=1)
    made = kgl.layers.GradientLayerStack(c, 0.1, max_layers)
    for _ in range(layers):
        made.append()
    return made


def spoilt_stack():
    """One layer of NaN, as an older version could write it."""
    made = other_stack()
    made.weights[-2 - len(critic().variables)].assign  # noqa: B018
    for v in made.variables:
        if v.name == "history_0":
            v.assign(np.full(v.shape, nan))
    return made


@pytest.fixture(autouse=True)
def _unchanged():
    before = tuner().stack.fingerprint(), tuner().stack.depth
    yield
    assert (tuner().stack.fingerprint(), tuner().stack.depth) == before


@table(
    ("truncate text", lambda: stack().truncate("a"), depth_error),
    ("truncate 0.5", lambda: stack().truncate(0.5), depth_error),
    ("truncate -1", lambda: stack().truncate(-1), depth_error),
    ("truncate 4", lambda: stack().truncate(4), depth_error),
    ("truncate True", lambda: stack().truncate(True), depth_error),
    ("truncate None", lambda: stack().truncate(None), depth_error),
    ("restore text", lambda: stack().restore("a"), layer_error),
    ("restore 0.5", lambda: stack().restore(0.5), layer_error),
    ("restore 3", lambda: stack().restore(3), layer_error),
    ("score text", lambda: stack().score(positions(), "a"), layer_error),
    ("score 0.5", lambda: stack().score(positions(), 0.5), layer_error),
    ("score -1", lambda: stack().score(positions(), -1), layer_error),
    ("rollback text", lambda: tuner().rollback("a"), depth_error),
    ("rollback 0.5", lambda: tuner().rollback(0.5), depth_error),
    ("rollback 9", lambda: tuner().rollback(9), depth_error),
    ("append 1e300", lambda: stack().append(step_size=1e300), "`step_size` must be"),
    ("append -1", lambda: stack().append(step_size=-1), "`step_size` must be"),
    ("append text", lambda: stack().append(step_size="a"), "`step_size` must be"),
    ("append NaN", lambda: stack().append(spoilt(critic)), "finite weights"),
    ("append inf", lambda: stack().append(spoilt(critic, inf)), "finite weights"),
    ("append 5", lambda: stack().append(5), "`potential` must be"),
    ("append shapes", lambda: stack().append(kgl.models.mlp_critic((2,), 5)), "shapes"),
    ("copy onto layers", lambda: stack().copy_history(other_stack()), "stack without layers"),
    ("copy of None", lambda: other_stack(layers=0).copy_history(None), "`other` must be"),
    (
        "copy of shapes",
        lambda: other_stack(layers=0).copy_history(other_stack(shape=(3,))),
        "shape",
    ),
    ("copy too deep", lambda: other_stack(2, 0).copy_history(stack()), "at most 2 layers"),
    ("copy NaN", lambda: other_stack(layers=0).copy_history(spoilt_stack()), "finite"),
    ("tuner step_size", lambda: setattr(tuner(), "step_size", -1), "`step_size` must be"),
)
def test_stacks(call, match):
    refused(call, match)


layers_error = "`layers` must be an integer"


@table(
    ("layers 1.7", lambda: sampler()(z, layers=1.7), layers_error),
    ("layers nan", lambda: sampler()(z, layers=nan), layers_error),
    ("layers True", lambda: sampler()(z, layers=True), layers_error),
    ("layers text", lambda: sampler()(z, layers="a"), layers_error),
    ("layers of two", lambda: sampler()(z, layers=[0, 1]), layers_error + r".*\(4,\)"),
    ("layers floats", lambda: sampler()(z, layers=[0.0, 1, 2, 3]), layers_error),
    ("layers matrix", lambda: sampler()(z, layers=[[0], [1], [2], [3]]), layers_error),
    ("one latent", lambda: sampler()(z[:1], layers=[0, 1, 2, 3]), layers_error),
    ("tuner's layers", lambda: tuner()(z, layers=1.7), layers_error),
    ("first -3", lambda: stack()(positions(), first=-3), "`first` must be an integer"),
    ("first 1.5", lambda: stack()(positions(), first=1.5), "`first` must be an integer"),
    ("first of two", lambda: stack()(positions(), first=[0, 1]), "`first` must be an integer"),
    ("NaN", lambda: sampler()(z + nan), f"Latents {finite}"),
    ("inf", lambda: sampler()(z + inf), f"Latents {finite}"),
    ("complex", lambda: sampler()(z + 1j), "Latents must be floats"),
    ("1e300", lambda: sampler()(z.astype("float64") + 1e300), f"Latents {finite}"),
    ("shape", lambda: sampler()(z[:, :2]), r"Latents must have the shape \(n, 3\)"),
    ("GAN NaN", lambda: gan()(z + nan), f"Latents {finite}"),
    ("predict None", lambda: sampler().predict(None), "`x` must be"),
    ("predict text", lambda: sampler().predict("a"), "`x` must be"),
    ("predict 5", lambda: sampler().predict(5), "`x` must be"),
    ("predict NaN", lambda: sampler().predict(z + nan, verbose=0), f"Latents {finite}"),
    ("predict complex", lambda: sampler().predict(z + 1j, verbose=0), "`x` must be latents"),
    ("predict 1e300", lambda: sampler().predict(z * 1.0 + np.float64(1e300)), f"Latents {finite}"),
    ("predict strings", lambda: sampler().predict(np.array([["a"] * 3])), "`x` must be latents"),
    ("predict scalar", lambda: sampler().predict(np.array(1.0)), "Latents must have the shape"),
    ("predict none", lambda: sampler().predict(z[:0]), "Latents must have the shape"),
    ("predict batch_size", lambda: sampler().predict(z, batch_size=0), "`batch_size` must be"),
    ("a condition", lambda: sampler()(z, condition=[1, 2, 3, 4]), "takes no condition"),
    ("sample -1", lambda: latent().sample(-1), "`n` must be an integer"),
    ("sample 1.5", lambda: latent().sample(1.5), "`n` must be an integer"),
    ("sample text", lambda: latent().sample("a"), "`n` must be an integer"),
    ("sample None", lambda: latent().sample(None), "`n` must be an integer"),
    ("sample True", lambda: latent().sample(True), "`n` must be an integer"),
    ("sample seed 1.5", lambda: latent().sample(2, 1.5), "`seed` must be"),
    ("sample seed 2**63", lambda: latent().sample(2, 2**63), "`seed` must be"),
    ("uniform -1", lambda: kgl.latents.Uniform(3).sample(-1), "`n` must be an integer"),
    ("rows [1.5]", lambda: latent().sample_rows([1.5]), "`seeds` must be integers"),
    ("rows [nan]", lambda: latent().sample_rows([nan]), "`seeds` must be integers"),
    ("rows 5", lambda: latent().sample_rows(5), "`seeds` must be integers"),
    ("rows text", lambda: latent().sample_rows(["a"]), "`seeds` must be integers"),
    ("rows None", lambda: latent().sample_rows(None), "`seeds` must be integers"),
    ("rows ragged", lambda: latent().sample_rows([[1], [1, 2]]), "`seeds` must be integers"),
    ("rows 2**63", lambda: latent().sample_rows([2**63]), "`seeds` must be integers"),
    ("rows 2**70", lambda: latent().sample_rows([2**70]), "`seeds` must be integers"),
)
def test_samples(call, match):
    refused(call, match)


points = oracles.points(8)
eye = np.eye(4)


def scorer(real=None, **kwargs):
    return metrics.Scorer(bad.judge(), bad.images() if real is None else real, **kwargs)


@table(
    ("stddev -1", lambda: metrics.mode_coverage(points, points, -1), "`stddev` must be"),
    ("stddev 0", lambda: metrics.mode_coverage(points, points, 0), "`stddev` must be"),
    ("stddev nan", lambda: metrics.mode_coverage(points, points, nan), "`stddev` must be"),
    ("radius -1", lambda: metrics.mode_coverage(points, points, 1, -1), "`radius` must be"),
    ("samples NaN", lambda: metrics.mode_coverage(points + nan, points, 1), finite),
    ("samples text", lambda: metrics.mode_coverage([["a", "b"]], points, 1), "`samples` must be"),
    ("samples None", lambda: metrics.mode_coverage(None, points, 1), "`samples` must be"),
    ("logits NaN", lambda: metrics.classifier_score(eye + nan), finite),
    ("logits text", lambda: metrics.classifier_score([["a"]]), "`logits` must be"),
    ("logits None", lambda: metrics.classifier_score(None), "`logits` must"),
    ("splits 0", lambda: metrics.split_classifier_score(eye, 0), "`splits` must be"),
    ("frechet NaN", lambda: metrics.frechet_distance(eye, eye + nan), finite),
    ("frechet text", lambda: metrics.frechet_distance(eye, [["a"] * 4] * 4), "`b` must be"),
    ("frechet ragged", lambda: metrics.frechet_distance(eye, [[1], [1, 2]]), "`b` must be"),
    ("frechet complex", lambda: metrics.frechet_distance(eye, eye + 1j), "`b` must be"),
    ("kernel inf", lambda: metrics.kernel_distance(eye + inf, eye), finite),
    ("sliced NaN", lambda: metrics.sliced_wasserstein(points, points + nan), finite),
    ("sliced text", lambda: metrics.sliced_wasserstein("a", points), "`real` must be"),
    ("sliced scalar", lambda: metrics.sliced_wasserstein(1.0, 2.0), "must be samples"),
    ("sliced seed", lambda: metrics.sliced_wasserstein(points, points, seed=-1), "`seed` must be"),
    ("sliced projections", lambda: metrics.sliced_wasserstein(points, points, 0), "`projections`"),
    ("recall neighbors", lambda: metrics.precision_recall(eye, eye, 0), "`neighbors` must be"),
    ("recall text", lambda: metrics.precision_recall("a", "b"), "`real` must be"),
    ("labels floats", lambda: metrics.stacked_mode_coverage([[0.5]]), "`labels` must be"),
    ("labels ragged", lambda: metrics.stacked_mode_coverage([[1], [1, 2]]), "`labels` must be"),
    ("classes 0", lambda: metrics.stacked_mode_coverage([[0]], 0), "`classes` must be"),
    ("classifier None", lambda: metrics.Classifier(None), "`classifier` must be"),
    ("classifier missing", lambda: metrics.Classifier("missing.keras"), "missing.keras"),
    ("scorer range", lambda: scorer(value_range=(1, -1)), "`value_range` must be"),
    ("scorer range 5", lambda: scorer(value_range=5), "`value_range` must be"),
    ("scorer range text", lambda: scorer(value_range=("a", "b")), "`value_range` must be"),
    (
        "scorer range wide",
        lambda: scorer(value_range=(-255, 255)),
        r"`real` must be.*\[-255, 255\]",
    ),
    ("scorer real wide", lambda: scorer(255 * bad.images()), "`real` must be images"),
    ("scorer real NaN", lambda: scorer(bad.images() + nan), "`real` must be images"),
    ("scorer real None", lambda: metrics.Scorer(bad.judge(), None), "`real` must be"),
    ("scorer real text", lambda: scorer("images"), "`real` must be"),
    ("scorer count", lambda: scorer(count=0), "`count` must be"),
    ("scorer samples wide", lambda: scorer()(255 * bad.images()), "`samples` must be images"),
    ("scorer samples text", lambda: scorer()("x"), "`samples` must be"),
    ("scorer samples bytes", lambda: scorer()(np.zeros((4, 8, 8, 3), "uint8")), "float images"),
    ("batches count", lambda: list(metrics.sample_batches(sampler(), 0)), "`count` must be"),
    ("batches layers", lambda: list(metrics.sample_batches(sampler(), 4, layers=1.5)), "`layers`"),
    ("batches None", lambda: list(metrics.sample_batches(None, 4)), "`model` must be"),
)
def test_metrics(call, match, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    refused(call, match)


x = oracles.points(32)


def fit(data=x, model=gan, **kwargs):
    model().fit(data, **{"verbose": 0, **kwargs})


def batches(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]).batch(8)


def dropout_of_none():
    c = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.0), keras.layers.Dense(1)])
    made = kgl.GAN(bad.generator(), c)
    made.compile()
    return made


def nan_scores(samples):
    return {"score": nan}


def room():
    """A tuner of its own, since its fits would stack layers if they began."""
    made = kgl.FineTuner(bad.generator(), critic(), 0.1, max_layers=3)
    made.compile()
    return made


cb = kgl.callbacks


@table(
    ("None", lambda: fit(None), "`x` must be"),
    ("a list", lambda: fit([[1.0, 2.0]]), "`x` must be"),
    ("text", lambda: fit("data"), "`x` must be"),
    ("strings", lambda: fit(np.array([["a", "b"]] * 32)), "Samples must be floats"),
    ("objects", lambda: fit(np.array([[None, None]] * 32)), "Samples must be floats"),
    ("complex", lambda: fit(x + 1j), "Samples must be floats"),
    ("bool", lambda: fit(x > 0), "Samples must be floats"),
    ("integers", lambda: fit(np.ones((32, 2), int)), "Samples must be floats"),
    ("a scalar", lambda: fit(np.array(1.0)), "`x` must be"),
    ("an empty array", lambda: fit(x[:0]), "`batch_size` must be|`x` must be"),
    ("NaN", lambda: fit(np.full_like(x, nan)), f"Samples {finite}"),
    ("inf", lambda: fit(np.full_like(x, inf)), f"Samples {finite}"),
    ("1e300", lambda: fit(np.full((32, 2), 1e300)), f"Samples {finite}"),
    ("a shape", lambda: fit(np.zeros((32, 3), "float32")), "Samples must have the shape"),
    ("a dataset of strings", lambda: fit(batches(np.array(["a"] * 32))), "Samples must be floats"),
    ("a dataset of a shape", lambda: fit(batches(x[:, :1])), "Samples must have the shape"),
    ("a dataset of NaN", lambda: fit(batches(x + nan)), f"Samples {finite}"),
    ("a dict", lambda: fit({"x": x}), "`x` must be"),
    ("batch_size 1.5", lambda: fit(batch_size=1.5), "`batch_size` must be"),
    ("batch_size 33", lambda: fit(batch_size=33), "`batch_size` must be"),
    ("batch_size beside", lambda: fit(batches(x), batch_size=8), "`batch_size` is for arrays"),
    ("epochs -1", lambda: fit(epochs=-1), "`epochs` must be"),
    ("epochs 1.5", lambda: fit(epochs=1.5), "`epochs` must be"),
    ("initial_epoch", lambda: fit(initial_epoch="a"), "`initial_epoch` must be"),
    ("steps_per_epoch", lambda: fit(steps_per_epoch=0), "`steps_per_epoch` must be"),
    ("shuffle", lambda: fit(shuffle="no"), "True or False"),
    ("callbacks text", lambda: fit(callbacks=["x"]), "`callbacks` must be"),
    ("callbacks 5", lambda: fit(callbacks=5), "`callbacks` must be"),
    ("callbacks class", lambda: fit(callbacks=[cb.GradientPenalty]), "`callbacks` must be"),
    (
        "two penalties",
        lambda: fit(callbacks=[cb.GradientPenalty(1.0), cb.GradientPenalty(10.0)]),
        "Expected one GradientPenalty. Received: 2",
    ),
    ("two loops", lambda: fit(callbacks=[cb.CriticInnerLoop(k) for k in (1, 2)]), "Expected one"),
    ("validation_data", lambda: fit(validation_data=x), "does not take `validation_data`"),
    ("labels to a GAN", lambda: fit(y=5, sample_weight=x), "does not take `sample_weight`"),
    (
        "a dropout of 0",
        lambda: fit(model=dropout_of_none, callbacks=[cb.ConsistencyPenalty()]),
        "rate",
    ),
    ("monitor NaN", lambda: fit(model=room, callbacks=[cb.FlowMonitor(x + nan)]), finite),
    ("monitor text", lambda: fit(model=room, callbacks=[cb.FlowMonitor("x")]), "`validation_data`"),
    ("monitor 5", lambda: fit(model=room, callbacks=[cb.FlowMonitor(5)]), "`validation_data`"),
    (
        "scores NaN",
        lambda: fit(model=room, callbacks=[cb.Scores(nan_scores, restore_best_layers=True)]),
        "finite score",
    ),
    (
        "scores None",
        lambda: fit(model=room, callbacks=[cb.Scores(lambda x: None)]),
        "`scorer` must",
    ),
    (
        "scores text",
        lambda: fit(model=room, callbacks=[cb.Scores(lambda x: {"a": "b"})]),
        "`scorer` must",
    ),
    ("monitor of a GAN", lambda: fit(callbacks=[cb.FlowMonitor()]), "is for a kgl.FineTuner"),
    ("by hand None", lambda: gan().train_on_batch(None), "`x` must be"),
    ("by hand text", lambda: gan().train_on_batch("x"), "`x` must be"),
    ("by hand shape", lambda: gan().train_on_batch(x[:, :1]), "Samples must have the shape"),
)
def test_fits(call, match):
    refused(call, match)
