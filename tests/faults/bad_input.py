"""What the tables of bad input share: small models, made once, and what a refusal is."""

import functools
import json
import pathlib
import re
import traceback
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles

_PACKAGE = pathlib.Path(kgl.__file__).parent
INTERNAL = re.compile(
    r"\{\{|__wrapped__|has no attribute|object is not|ufunc|not supported between|"
    r"could not be broadcast|unexpected keyword"
)


NAMES = ("Received", "There is no", "does not exist")


def by_us(error):
    """Whether this package raised it, and no library that it calls."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next(f for f in reversed(frames) if "site-packages" not in f.filename)
    ours = any(pathlib.Path(f.filename).is_relative_to(_PACKAGE) for f in frames)
    return ours and pathlib.Path(last.filename).is_relative_to(_PACKAGE)


def nothing(samples):
    """A scorer to which all samples are alike."""
    return {"nothing": 0.0}


def refused(call, match):
    """Check that a call is refused by this package, in words that say what was received."""
    try:
        call()
    except Exception as e:
        error = e
    else:
        pytest.fail("accepted")
    assert isinstance(error, (TypeError, ValueError, OSError)), repr(error)
    said = re.sub("\x1b\\[[0-9]*m", "", str(error))
    assert re.search(match, said, re.DOTALL), repr(error)
    assert any(word in said for word in NAMES), said
    assert not INTERNAL.search(said), said
    assert by_us(error), repr(error)


def table(*rows):
    """Rows of a name, a call and what the error says, as a decorator of a test."""
    names = [name for name, *_ in rows]
    assert len(set(names)) == len(names)
    return pytest.mark.parametrize(
        ("call", "match"), [pytest.param(*row, id=name) for name, *row in rows]
    )


@functools.cache
def critic():
    return kgl.models.mlp_critic((2,), units=4, depth=1)


@functools.cache
def generator():
    return oracles.point_generator()


@functools.cache
def spoilt(make, value=np.nan):
    """A copy of a model with this in the last of its weights."""
    model = keras.models.clone_model(make())
    weights = model.get_weights()
    weights[-1][...] = value
    model.set_weights(weights)
    return model


@functools.cache
def tuner():
    """Three layers, of room for four."""
    made = kgl.FineTuner(generator(), critic(), 0.1, max_layers=4)
    made.compile()
    for _ in range(3):
        made.stack.append()
    return made


@functools.cache
def sampler():
    return tuner().sampler()


@functools.cache
def gan():
    made = kgl.GAN(generator(), critic())
    made.compile()
    return made


def conv_gan():
    return (
        kgl.models.dcgan_generator((8, 8, 3), latent_dim=4, width=2),
        kgl.models.dcgan_critic((8, 8, 3), width=2),
    )


def judge():
    """A classifier of 8x8 images that was never trained."""
    x = keras.Input((8, 8, 3))
    features = keras.layers.Dense(4)(keras.layers.Flatten()(x))
    return keras.Model(x, {"features": features, "logits": keras.layers.Dense(3)(features)})


def images(n=20, low=-1.0, high=1.0):
    return np.random.default_rng(0).uniform(low, high, (n, 8, 8, 3)).astype("float32")


def edited(path, out, config=None, weights=None):
    """A copy of a .keras file after `config(dict)` and `weights(h5py.File)` have been at it."""
    with zipfile.ZipFile(path) as source:
        files = {name: source.read(name) for name in source.namelist()}
    if config is not None:
        changed = json.loads(files["config.json"])
        config(changed)
        files["config.json"] = json.dumps(changed).encode()
    if weights is not None:
        draft = out.with_suffix(".h5")
        draft.write_bytes(files["model.weights.h5"])
        with h5py.File(draft, "r+") as store:
            weights(store)
        files["model.weights.h5"] = draft.read_bytes()
        draft.unlink()
    with zipfile.ZipFile(out, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    return out
