"""Generator and critic architectures, models of Keras 2, and cutting a generator at a layer."""

from keras_gradlayer.models.converting import convert
from keras_gradlayer.models.dcgan import dcgan_critic, dcgan_generator
from keras_gradlayer.models.mlp import mlp_critic
from keras_gradlayer.models.splitting import split

__all__ = ["convert", "dcgan_critic", "dcgan_generator", "mlp_critic", "split"]
