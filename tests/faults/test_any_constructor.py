"""Whatever a public constructor is given, it makes the thing or names what is wrong."""

import inspect

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_gradlayer as kgl
from tests.faults import bad_input as bad

RIGHT = {  # what must be a model, a scorer or so is; hypothesis chooses the rest
    "generator": bad.generator,
    "critic": bad.critic,
    "potential": bad.critic,
    "scorer": lambda: bad.nothing,
    "input_shape": lambda: (2,),
    "image_shape": lambda: (8, 8, 3),
    "classifier": bad.judge,
    "real": bad.images,
    "source": bad.judge,
    "shape": lambda: (3,),
}
MADE = [
    kgl.layers.CompressedStack,
    kgl.layers.GradientLayer,
    kgl.layers.GradientLayerStack,
    kgl.latents.Gaussian,
    kgl.latents.Uniform,
    kgl.FineTuner,
    kgl.GAN,
    kgl.UnrolledGAN,
    kgl.DualingGAN,
    kgl.refine,
    kgl.models.mlp_critic,
    kgl.models.dcgan_critic,
    kgl.models.dcgan_generator,
    kgl.models.split,
    kgl.metrics.Scorer,
    kgl.metrics.Classifier,
    kgl.data.eight_gaussians,
    kgl.data.swiss_roll,
    kgl.data.twenty_five_gaussians,
    *(getattr(kgl.callbacks, name) for name in kgl.callbacks.__all__ if name != "StepCallback"),
    *(getattr(kgl.objectives, name) for name in kgl.objectives.__all__ if name != "Objective"),
    kgl.step_rules.Backtracking,
    kgl.step_rules.LineSearch,
    *(getattr(kgl.presets, name) for name in kgl.presets.__all__ if name != "Preset"),
]
# Numbers that a machine can do something with are small, so that what is right is made quickly.
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 6),
    st.sampled_from([10**9, 10**13, 2**31, 2**63, 10**40]),
    st.floats(-2, 4, width=32),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e300, 1e-300, 1j]),
    st.sampled_from(["", "auto", "top", "bottom", "hidden", "tanh", "minimax", "nowhere", "a b"]),
    st.text(max_size=3),
    st.lists(st.integers(-1, 4), max_size=3),
    st.tuples(st.integers(-1, 4), st.floats(allow_nan=True, width=32)),
    st.sampled_from([np.float32(0.5), np.int64(2), np.bool_(True), np.zeros(3), np.array("a")]),
    st.builds(dict),
    st.builds(object),
    st.binary(max_size=2),
)


@st.composite
def calls(draw):
    make = draw(st.sampled_from(MADE))
    arguments = {}
    for name, parameter in inspect.signature(make).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        needed = parameter.default is parameter.empty
        right = RIGHT.get(name)
        wild = draw(st.integers(0, 3)) == 0
        if right is not None and not wild:
            arguments[name] = right()
        elif needed or wild:
            arguments[name] = draw(VALUES)
    return make, arguments


def check(call):
    make, arguments = call
    shown = f"{make.__name__}({arguments})"
    error = None
    try:
        make(**arguments)
    except (TypeError, ValueError, OSError) as e:
        error = e
    if error is not None:
        said = str(error)
        assert bad.by_us(error), f"{shown}: {error!r}"
        assert not bad.INTERNAL.search(said), f"{shown}: {said}"
        assert any(word in said for word in bad.NAMES), f"{shown}: {said}"


def run(count, folder, monkeypatch):
    monkeypatch.chdir(folder)
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=checks,
    )
    @given(calls())
    def each(call):
        check(call)

    each()


@pytest.mark.filterwarnings("ignore")
def test_some(tmp_path, monkeypatch):
    run(200, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many(tmp_path, monkeypatch):
    run(5000, tmp_path, monkeypatch)
