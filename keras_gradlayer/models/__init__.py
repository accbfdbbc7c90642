"""Generator and critic architectures, and cutting a generator at a layer."""

from keras_gradlayer.models.dcgan import dcgan_critic, dcgan_generator
from keras_gradlayer.models.mlp import mlp_critic
from keras_gradlayer.models.splitting import split

__all__ = ["dcgan_critic", "dcgan_generator", "mlp_critic", "split"]
