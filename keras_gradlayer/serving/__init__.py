"""The SavedModel sampler: exporting it, checking it, and calling it where it is served."""

from keras_gradlayer.serving.bulk import plan_samples, write_samples, write_shard
from keras_gradlayer.serving.clients.connecting import connect
from keras_gradlayer.serving.exporting import export_sampler
from keras_gradlayer.serving.metadata import read_metadata
from keras_gradlayer.serving.seeded_sampler import SeededSampler
from keras_gradlayer.serving.unrolling import unroll
from keras_gradlayer.serving.verification import verify

__all__ = [
    "SeededSampler",
    "connect",
    "export_sampler",
    "plan_samples",
    "read_metadata",
    "unroll",
    "verify",
    "write_samples",
    "write_shard",
]
