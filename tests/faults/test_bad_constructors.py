"""Constructors and functions that make things refuse bad arguments."""

import keras
import numpy as np

import keras_gradlayer as kgl
from tests.faults.bad_input import critic, generator, refused, spoilt, table

nan, inf = np.nan, np.inf
layers, latents, models = kgl.layers, kgl.latents, kgl.models
callbacks, rules = kgl.callbacks, kgl.step_rules
number = "must be a positive finite number"
at_least_0 = "must be a non-negative finite number"
whole = "must be an integer (of at least|from) 1"


def stack(**kwargs):
    return layers.GradientLayerStack(critic(), **{"step_size": 0.1, "max_layers": 3, **kwargs})


def tune(g=None, c=None, **kwargs):
    return kgl.FineTuner(g, c or critic(), **{"step_size": 0.1, "max_layers": 3, **kwargs})


@table(
    ("step_size -1", lambda: layers.GradientLayer(critic(), -1), number),
    ("step_size 0", lambda: layers.GradientLayer(critic(), 0), number),
    ("step_size nan", lambda: layers.GradientLayer(critic(), nan), number),
    ("step_size 1e300", lambda: layers.GradientLayer(critic(), 1e300), number),
    ("step_size 1e-300", lambda: layers.GradientLayer(critic(), 1e-300), number),
    ("step_size text", lambda: layers.GradientLayer(critic(), "0.1"), number),
    ("step_size True", lambda: layers.GradientLayer(critic(), True), number),
    ("step_size None", lambda: layers.GradientLayer(critic(), None), number),
    ("step_size complex", lambda: layers.GradientLayer(critic(), 1j), number),
    ("step_size list", lambda: layers.GradientLayer(critic(), [0.1]), number),
    ("potential None", lambda: layers.GradientLayer(None, 0.1), "`potential` must be"),
    ("potential text", lambda: layers.GradientLayer("critic", 0.1), "`potential` must be"),
    ("stack step_size 1e300", lambda: stack(step_size=1e300), number),
    (
        "compressed stack",
        lambda: layers.CompressedStack(critic(), 0.1, 3, precision=8),
        "`precision`",
    ),
    ("stack max_layers 0", lambda: stack(max_layers=0), whole),
    ("stack max_layers 1.5", lambda: stack(max_layers=1.5), whole),
    ("stack max_layers True", lambda: stack(max_layers=True), whole),
    ("stack max_layers 10**9", lambda: stack(max_layers=10**9), "`max_layers`.*memory"),
    ("stack max_layers 10**30", lambda: stack(max_layers=10**30), r"`max_layers`.*below 2\*\*63"),
    ("stack steps_per_layer 0", lambda: stack(steps_per_layer=0), "`steps_per_layer` must be"),
    ("stack steps_per_layer 10**6", lambda: stack(steps_per_layer=10**6), "from 1 to 10000"),
    ("stack head 5", lambda: stack(head=5), "`head` must be"),
    ("stack objective", lambda: stack(objective="x"), "`objective` must be one of"),
    ("stack objective list", lambda: stack(objective=[]), "`objective` must be one of"),
)
def test_layers(call, match):
    refused(call, match)


@table(
    ("Gaussian True", lambda: latents.Gaussian(True), "`shape` must be"),
    ("Gaussian 1.5", lambda: latents.Gaussian(1.5), "`shape` must be"),
    ("Gaussian None", lambda: latents.Gaussian(None), "`shape` must be"),
    ("Gaussian -1", lambda: latents.Gaussian(-1), "`shape` must be"),
    ("Gaussian ()", lambda: latents.Gaussian(()), "`shape` must be"),
    ("Gaussian text", lambda: latents.Gaussian("ab"), "`shape` must be"),
    ("Gaussian (2.0,)", lambda: latents.Gaussian((2.0,)), "`shape` must be"),
    ("Gaussian (True,)", lambda: latents.Gaussian((True,)), "`shape` must be"),
    ("Gaussian stddev 0", lambda: latents.Gaussian(2, 0), number),
    ("Gaussian stddev nan", lambda: latents.Gaussian(2, nan), number),
    ("Gaussian stddev 1e300", lambda: latents.Gaussian(2, 1e300), number),
    ("Uniform low nan", lambda: latents.Uniform(2, nan, 1), "`low` must be below"),
    ("Uniform low above", lambda: latents.Uniform(2, 1, -1), "`low` must be below"),
    ("Uniform text", lambda: latents.Uniform(2, "a", "b"), "`low` must be"),
    ("Uniform 1e300", lambda: latents.Uniform(2, -1, 1e300), "`low` must be below"),
    ("Uniform True", lambda: latents.Uniform(True), "`shape` must be"),
)
def test_latents(call, match):
    refused(call, match)


@table(
    ("latent_dim 0", lambda: models.dcgan_generator((8, 8, 3), latent_dim=0), whole),
    ("latent_dim 1.5", lambda: models.dcgan_generator((8, 8, 3), latent_dim=1.5), whole),
    ("width 0", lambda: models.dcgan_generator((8, 8, 3), width=0), whole),
    ("width -1", lambda: models.dcgan_critic((8, 8, 3), width=-1), whole),
    ("image_shape of two", lambda: models.dcgan_critic((8, 8)), "`image_shape` must be"),
    ("image_shape odd", lambda: models.dcgan_generator((7, 7, 3)), "`image_shape` must be"),
    ("image_shape text", lambda: models.dcgan_generator("8x8"), "`image_shape` must be"),
    ("image_shape None", lambda: models.dcgan_generator(None), "`image_shape` must be"),
    ("image_shape floats", lambda: models.dcgan_critic((8.0, 8.0, 3)), "`image_shape` must be"),
    ("image_shape 0", lambda: models.dcgan_generator((8, 8, 0)), "`image_shape` must be"),
    ("depth -1", lambda: models.mlp_critic((2,), depth=-1), "`depth` must be an integer"),
    ("depth 0.5", lambda: models.mlp_critic((2,), depth=0.5), "`depth` must be an integer"),
    ("units 0", lambda: models.mlp_critic((2,), units=0), whole),
    ("input_shape None", lambda: models.mlp_critic(None), "`input_shape` must be"),
    ("input_shape 0", lambda: models.mlp_critic((0,)), "`input_shape` must be"),
    ("input_shape text", lambda: models.mlp_critic("ab"), "`input_shape` must be"),
    ("split None", lambda: models.split(None), "`generator` must be"),
    ("split text", lambda: models.split("g.keras"), "`generator` must be"),
    ("split at None", lambda: models.split(generator(), None), "`insert` must be"),
    ("split nowhere", lambda: models.split(generator(), "nowhere"), "nowhere"),
    ("convert None", lambda: models.convert(None), "`path` must be"),
    ("convert missing", lambda: models.convert("missing.h5"), "missing.h5"),
    ("refine steps 0", lambda: kgl.refine(None, critic(), 0.1, steps=0), "`steps` must be"),
    ("refine steps 10**9", lambda: kgl.refine(None, critic(), 0.1, steps=10**9), "`steps` must be"),
    ("refine step_size inf", lambda: kgl.refine(None, critic(), inf, 1), number),
    ("refine insert 3", lambda: kgl.refine(generator(), critic(), 0.1, 1, insert=3), "`insert`"),
    ("refine critic", lambda: kgl.refine(None, "critic", 0.1, 1), "`critic` must be"),
)
def test_models(call, match):
    refused(call, match)


@table(
    ("step_size 1e300", lambda: tune(step_size=1e300), number),
    ("step_size text", lambda: tune(step_size="fast"), "`step_size` must be"),
    ("step_size None", lambda: tune(step_size=None), number),
    ("step_size list", lambda: tune(step_size=[0.1]), number),
    ("particles 10**13", lambda: tune(particles=10**13), "`particles`.*memory"),
    ("particles 0", lambda: tune(particles=0), whole),
    ("particles text", lambda: tune(particles="many"), "`particles` must be"),
    ("particles list", lambda: tune(particles=[1]), "`particles` must be"),
    ("refresh 2", lambda: tune(refresh=2), "`refresh`.* 0 to 1"),
    ("refresh nan", lambda: tune(refresh=nan), "`refresh`"),
    ("particle_dtype", lambda: tune(particle_dtype="int8"), "`particle_dtype` must be"),
    ("max_layers -1", lambda: tune(max_layers=-1), whole),
    ("max_layers 10**12", lambda: tune(max_layers=10**12), "`max_layers`.*memory"),
    ("insert nowhere", lambda: tune(generator(), insert="nowhere"), "nowhere"),
    ("insert 3", lambda: tune(generator(), insert=3), "`insert` must be"),
    ("objective", lambda: tune(objective="x"), "`objective` must be one of"),
    ("critic None", lambda: kgl.FineTuner(None, None), "`critic` must be a Keras model"),
    ("critic text", lambda: kgl.FineTuner(None, "c.keras"), "`critic` must be a Keras model"),
    ("critic NaN", lambda: tune(None, spoilt(critic)), "`critic` must have finite weights"),
    ("critic inf", lambda: tune(None, spoilt(critic, inf)), "`critic` must have finite weights"),
    ("generator text", lambda: tune("g.keras"), "`generator` must be a Keras model"),
    ("generator NaN", lambda: tune(spoilt(generator)), "`generator` must have finite weights"),
    ("latent tuple", lambda: tune(latent=(2,)), "`latent` must be"),
    ("latent shape", lambda: tune(generator(), latent=latents.Gaussian(5)), r"`generator`.*\(5,\)"),
    ("output_activation", lambda: tune(insert="top", output_activation="x"), "`output_activation`"),
    ("copy no", lambda: tune(copy="no"), "`copy` must be True or False"),
    ("GAN generator None", lambda: kgl.GAN(None, critic()), "`generator` must be a Keras model"),
    ("GAN generator NaN", lambda: kgl.GAN(spoilt(generator), critic()), "must have finite weights"),
    ("GAN critic NaN", lambda: kgl.GAN(generator(), spoilt(critic)), "must have finite weights"),
    ("GAN objective", lambda: kgl.GAN(generator(), critic(), None), "`objective` must be one of"),
    ("GAN latent", lambda: kgl.GAN(generator(), critic(), latent=3), "`latent` must be"),
    ("GAN reversed", lambda: kgl.GAN(critic(), generator()), "`critic`"),
    (
        "GAN simultaneous",
        lambda: kgl.GAN(generator(), critic(), simultaneous="no"),
        "True or False",
    ),
    ("Unrolled steps 0", lambda: kgl.UnrolledGAN(generator(), critic(), steps=0), whole),
    ("Unrolled steps 1.5", lambda: kgl.UnrolledGAN(generator(), critic(), steps=1.5), whole),
    ("Unrolled eta", lambda: kgl.UnrolledGAN(generator(), critic(), step_size=0), number),
    ("Dualing variant", lambda: kgl.DualingGAN(generator(), critic(), "x"), "`variant` must be"),
    ("Dualing variant 5", lambda: kgl.DualingGAN(generator(), critic(), []), "`variant` must be"),
    ("Dualing decay", lambda: kgl.DualingGAN(generator(), critic(), weight_decay=-1), number),
    ("Concave name", lambda: kgl.objectives.Concave("nope"), "`f` must be"),
    ("Concave 5", lambda: kgl.objectives.Concave(5), "`f` must be"),
    ("Concave None", lambda: kgl.objectives.Concave(None), "`f` must be"),
)
def test_trainers(call, match):
    refused(call, match)


@table(
    ("inner loop 0", lambda: callbacks.CriticInnerLoop(0), whole),
    ("inner loop 1.5", lambda: callbacks.CriticInnerLoop(1.5), whole),
    ("penalty weight -1", lambda: callbacks.GradientPenalty(-1), at_least_0),
    ("penalty weight 1e300", lambda: callbacks.GradientPenalty(1e300), at_least_0),
    ("penalty one_sided", lambda: callbacks.GradientPenalty(one_sided="no"), "True or False"),
    ("penalty target", lambda: callbacks.GradientPenalty(target=None), at_least_0),
    ("dragan noise", lambda: callbacks.DRAGANPenalty(noise="x"), "`noise` must be"),
    ("r1 nan", lambda: callbacks.R1Penalty(nan), at_least_0),
    ("consistency stddev", lambda: callbacks.ConsistencyPenalty(stddev=0), number),
    ("consistency margin", lambda: callbacks.ConsistencyPenalty(margin=-1), at_least_0),
    ("clipping 0", lambda: callbacks.WeightClipping(0), number),
    ("noise text", lambda: callbacks.InstanceNoise("a"), number),
    ("noise epochs", lambda: callbacks.InstanceNoise(0.1, 0), whole),
    ("smoothing 2", lambda: callbacks.LabelSmoothing(2), "`amount`.*0 to 1"),
    ("layers top", lambda: callbacks.GradientLayers(0.1, "top"), "insert"),
    ("layers insert 3", lambda: callbacks.GradientLayers(0.1, 3), "`insert` must be"),
    ("layers 0", lambda: callbacks.GradientLayers(0.1, layers=0), whole),
    ("grid None", lambda: callbacks.SampleGrid(None), "`directory` must be"),
    ("grid every 0", lambda: callbacks.SampleGrid("grid", every=0), whole),
    ("grid seed", lambda: callbacks.SampleGrid("grid", seed=1.5), "`seed` must be"),
    ("grid seed 2**63", lambda: callbacks.SampleGrid("grid", seed=2**63), "`seed` must be"),
    ("scores None", lambda: callbacks.Scores(None), "`scorer` must be"),
    ("scores mode", lambda: callbacks.Scores(len, mode="best"), "`mode` must be"),
    ("scores monitor", lambda: callbacks.Scores(len, monitor=5), "`monitor` must be"),
    ("scores samples", lambda: callbacks.Scores(len, samples=0), whole),
    ("scores restore", lambda: callbacks.Scores(len, restore_best_layers="x"), "True or False"),
    ("scores path", lambda: callbacks.Scores(len, path=5), "`path` must be"),
    ("monitor samples", lambda: callbacks.FlowMonitor(samples=0), whole),
    ("monitor seed", lambda: callbacks.FlowMonitor(seed="a"), "`seed` must be"),
    ("line search text", lambda: rules.LineSearch("x"), "`scorer` must be"),
    ("line search halvings", lambda: rules.LineSearch(len, halvings=-1), "`halvings` must be"),
    ("line search monitor", lambda: rules.LineSearch(len, monitor=0), "`monitor` must be"),
    ("line search samples", lambda: rules.LineSearch(len, samples=0), whole),
    ("line search seed", lambda: rules.LineSearch(len, seed=0.5), "`seed` must be"),
    ("backtracking 1e300", lambda: rules.Backtracking(1e300), number),
    ("backtracking halvings", lambda: rules.Backtracking(halvings=10**6), "`halvings` must be"),
    ("preset penalty", lambda: kgl.presets.wgan_gp(penalty=-1), at_least_0),
    ("preset rate -1", lambda: kgl.presets.wgan_gp(learning_rate=-1), "`learning_rate`"),
    ("preset rate nan", lambda: kgl.presets.dragan(learning_rate=nan), "`learning_rate`"),
    ("preset steps", lambda: kgl.presets.wgan(critic_steps=0), whole),
)
def test_callbacks(call, match):
    refused(call, match)


def compile(**kwargs):
    kgl.GAN(generator(), critic()).compile(**kwargs)


Adam, schedules = keras.optimizers.Adam, keras.optimizers.schedules


def adam(rate):
    """With a learning rate that some versions of Keras refuse themselves."""
    made = Adam()
    made.learning_rate = rate
    return made


rate = "`critic_optimizer` must have a learning rate that is a positive finite number"


@table(
    ("Adam -1", lambda: compile(critic_optimizer=adam(-1)), rate),
    ("Adam nan", lambda: compile(critic_optimizer=adam(nan)), rate),
    ("Adam inf", lambda: compile(critic_optimizer=adam(inf)), rate),
    (
        "schedule -1",
        lambda: compile(critic_optimizer=Adam(schedules.ExponentialDecay(-1.0, 10, 0.5))),
        rate,
    ),
    ("generator's", lambda: compile(generator_optimizer=adam(-1)), "`generator_optimizer` must"),
    ("name", lambda: compile(critic_optimizer="nope"), "`critic_optimizer` must be"),
    ("number", lambda: compile(critic_optimizer=5), "`critic_optimizer` must be"),
    ("class", lambda: compile(critic_optimizer=Adam), "`critic_optimizer` must be"),
    ("jit_compile", lambda: compile(jit_compile="x"), "`jit_compile` must be"),
    ("steps_per_execution", lambda: compile(steps_per_execution=0), whole),
    ("run_eagerly", lambda: compile(run_eagerly="no"), "True or False"),
    ("loss", lambda: compile(loss="mse"), "does not take `loss`"),
    ("unknown", lambda: compile(nope=1), "does not take `nope`"),
)
def test_compile(call, match):
    refused(call, match)


toys, data = kgl.data.eight_gaussians, kgl.data


@table(
    ("n 0", lambda: toys(0), whole),
    ("n 1.5", lambda: toys(1.5), whole),
    ("batch_size 1.5", lambda: toys(batch_size=1.5), "`batch_size` must be"),
    ("batch_size 0", lambda: toys(batch_size=0), "`batch_size` must be"),
    ("batch_size None", lambda: toys(batch_size=None), "`batch_size` must be"),
    ("batch_size 501", lambda: toys(batch_size=501), "`batch_size` must be"),
    ("seed -1", lambda: toys(seed=-1), "`seed` must be"),
    ("seed 2**63", lambda: toys(seed=2**63), "`seed` must be"),
    ("seed text", lambda: data.swiss_roll(seed="a"), "`seed` must be"),
    ("mnist split None", lambda: data.mnist(split=None), "`split` must be"),
    ("mnist split 5", lambda: data.mnist(split=5), "`split` must be"),
    ("mnist split empty", lambda: data.mnist(split="test[5:2]"), r"`split`.*test\[5:2\]"),
    ("mnist split unknown", lambda: data.mnist(split="nope"), "`split` must name.*nope"),
    ("mnist split of none", lambda: data.mnist(split="test[:0]"), r"`split`.*test\[:0\]"),
    ("mnist batch_size 1.5", lambda: data.mnist(batch_size=1.5), "`batch_size` must be"),
    ("mnist seed -1", lambda: data.mnist(seed=-1), "`seed` must be"),
    ("mnist seed 2**63", lambda: data.mnist(seed=2**63), "`seed` must be"),
    ("cifar10 labels", lambda: data.cifar10(labels="no"), "True or False"),
    ("stacked split None", lambda: data.stacked_mnist(split=None), "`split` must be"),
    ("folder missing", lambda: data.image_folder("missing", (8, 8, 3)), "missing"),
    ("folder None", lambda: data.image_folder(None, (8, 8, 3)), "`directory` must be"),
    ("folder shape", lambda: data.image_folder(".", (8, 8)), "`image_shape` must be"),
    ("folder channels", lambda: data.image_folder(".", (8, 8, 2)), "`image_shape` must"),
    ("folder floats", lambda: data.image_folder(".", (8.5, 8, 3)), "`image_shape` must be"),
)
def test_data(call, match, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    refused(call, match)


def test_what_is_right_at_the_edge_stays_accepted():
    layers.GradientLayer(critic(), np.float32(1e-6))
    latents.Gaussian(np.int64(3), np.float64(2))
    latents.Gaussian([2, 3])
    latents.Gaussian((0,))
    models.mlp_critic((2,), depth=0)
    callbacks.GradientPenalty(0, one_sided=np.bool_(True))
    compile(critic_optimizer=keras.optimizers.SGD(0.0))
    stack(steps_per_layer=10_000)
