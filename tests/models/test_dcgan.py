import keras
import numpy as np
import pytest

import keras_gradlayer as kgl


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (48, 48, 3), (16, 8, 1)])
def test_dcgan(shape):
    generator = kgl.models.dcgan_generator(shape, latent_dim=5, width=4)
    critic = kgl.models.dcgan_critic(shape, width=4)
    images = generator(np.random.default_rng(0).normal(size=(3, 5)))
    assert images.shape == (3, *shape)
    assert np.abs(images).max() <= 1
    assert critic(images).shape == (3, 1)
    assert not [m for m in critic.layers if "normalization" in m.name]


def test_dcgan_has_the_size_of_the_papers_network():
    # width 32 on 32x32x3: as counted by hand for 5x5 kernels
    assert kgl.models.dcgan_critic((32, 32, 3), 32).count_params() == 260_673
    assert kgl.models.dcgan_generator((32, 32, 3), 128, 32).count_params() == 529_123


def test_a_critic_with_dropout_or_spectral_normalization():
    critic = kgl.models.dcgan_critic((16, 16, 1), 4, dropout=0.5)
    assert [layer.rate for layer in critic.layers if hasattr(layer, "rate")] == [0.5, 0.5]
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 1)).astype("float32")
    assert np.ptp([critic(images, training=True) for _ in range(2)], axis=0).min() > 0
    critic = kgl.models.dcgan_critic((16, 16, 1), 4, spectral_normalization=True)
    for _ in range(30):  # of the power iteration
        critic(images, training=True)
    held = [w.numpy() for w in critic.trainable_variables if len(w.shape) > 1]
    norms = [np.linalg.norm(w.reshape(-1, w.shape[-1]), 2) for w in held]
    np.testing.assert_allclose(norms, 1.0, rtol=0.05)


@pytest.mark.parametrize("make", [kgl.models.dcgan_generator, kgl.models.dcgan_critic])
@pytest.mark.parametrize("shape", [(7, 8, 3), (4, 4, 1), (9, 9, 3)])
def test_dcgan_bad_shape(make, shape):
    with pytest.raises(ValueError, match="even height and width of at least 8. Received"):
        make(shape)


@pytest.mark.parametrize(
    ("policy", "dtype"),
    [("float64", "float64"), ("mixed_float16", "float32"), ("bfloat16", "float32")],
)
def test_images_are_float32_at_least(policy, dtype):
    keras.config.set_dtype_policy(policy)
    assert kgl.models.dcgan_generator((8, 8, 1), 4, 2).outputs[0].dtype == dtype
