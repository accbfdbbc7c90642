"""Training data as the trainers take it: a tf.data.Dataset of float batches, checked beforehand."""

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._conditions import pair, to_spec, unpair
from keras_gradlayer.data._batching import batches_of

_MOST_ROWS, _MOST_BYTES = 2**14, 2**26  # of the conditions that a dataset is read for


def as_dataset(x, condition=None, batch_size=None, shuffle=True, spec=None):
    """A dataset of sample batches, and samples that show what they are like.

    For a conditional GAN it gives (samples, conditions), and conditions come with the samples
    shown. Others leave labels out, with a warning. The samples shown are the whole of an array, or
    the first batch of a dataset; `None` for a dataset of unknown length, which may give each batch
    only once.

    Args:
        x: array of samples, or a `tf.data.Dataset` of batches.
        condition: array of conditions, one for each sample.
        batch_size: for arrays, 32 by default; the samples that do not fill a batch are dropped,
            others at each epoch if `shuffle`.
        shuffle: for arrays, whether to shuffle at each epoch.
        spec: what the models take as a condition, a `KerasTensor`, if they take one.

    Raises:
        ValueError: for no full batch, samples that are not finite floats, conditions that are
            missing or do not fit, a `batch_size` beside a dataset, or a dataset of another
            structure.
        TypeError: for other kinds of data.
    """
    if isinstance(x, tf.data.Dataset):
        if batch_size is not None:
            raise ValueError(
                "`batch_size` is for arrays; a dataset comes batched. "
                f"Received: batch_size={batch_size} beside a tf.data.Dataset"
            )
        data = _samples_only(x, condition) if spec is None else _with_conditions(x, spec)
        check_float(tf.nest.flatten(data.element_spec)[0].dtype)
        unknown = int(data.cardinality()) == tf.data.UNKNOWN_CARDINALITY
        return data, None if unknown else _first_batch(data)
    x = as_arrays(x, condition, spec)
    count = len(tf.nest.flatten(x)[0])
    batch_size = 32 if batch_size is None else batch_size
    if _checks.positive_int("batch_size", batch_size) > count:
        raise ValueError(
            "`batch_size` must be at most the number of samples. "
            f"Received: batch_size={batch_size} for {count} samples"
        )
    return batches_of(x, batch_size, shuffle).prefetch(tf.data.AUTOTUNE), x


def as_arrays(x, condition, spec):
    """Samples of an array, or samples and conditions, checked; labels are left out.

    Raises as `as_dataset`.
    """
    if not (hasattr(x, "shape") and hasattr(x, "dtype")) or not len(x.shape):
        raise TypeError(
            "`x` must be an array of samples or a tf.data.Dataset of batches. "
            f"Received: x of type {type(x).__name__}"
        )
    if spec is None and condition is not None:
        _warn_labels("`y`")
        condition = None
    if spec is not None and condition is None:
        raise ValueError(
            "A conditional GAN is trained on samples and their conditions: (x, condition), or a "
            "dataset of (samples, conditions). Received: samples alone"
        )
    if not isinstance(x, np.ndarray):  # for which Keras would make a copy
        x = keras.ops.convert_to_numpy(x)
    check_float(x.dtype, x)
    check_finite(x)
    if condition is not None:
        condition = _as_conditions(condition, spec, len(x))
    return pair(x, condition)


def _as_conditions(condition, spec, count):
    condition = keras.ops.convert_to_numpy(condition)
    if len(condition) != count:
        raise ValueError(
            "Expected a condition for each sample. "
            f"Received: {len(condition)} conditions for {count} samples"
        )
    condition = to_spec(condition, spec).numpy()
    check_finite(condition, "Conditions")
    return condition


def _with_conditions(data, spec):
    given = data.element_spec
    if not isinstance(given, (tuple, list)) or len(given) < 2:
        raise ValueError(
            "A conditional GAN is trained on samples and their conditions. Expected a dataset of "
            f"(samples, conditions). Received: elements of structure {given}"
        )
    return data.map(lambda x, condition, *_: (x, to_spec(condition, spec)))


def first_conditions(data, spec):
    """The conditions of a dataset's first rows."""
    found, rows, size = [], 0, 0
    for batch in data.map(lambda _, condition, *__: to_spec(condition, spec)):
        found.append(batch.numpy())
        check_finite(found[-1], "Conditions")
        rows, size = rows + len(found[-1]), size + found[-1].nbytes
        if rows >= _MOST_ROWS or size >= _MOST_BYTES:
            break
    return np.concatenate(found)


def epoch_steps(data, steps_per_epoch):
    """Batches in an epoch, or `None` where only going through the data would tell."""
    if steps_per_epoch is not None:
        return steps_per_epoch
    cardinality = int(data.cardinality())
    if cardinality == tf.data.INFINITE_CARDINALITY:
        raise ValueError("A dataset without end needs `steps_per_epoch`. Received: None")
    return None if cardinality == tf.data.UNKNOWN_CARDINALITY else cardinality


def check_shares(data, replicas):
    """Check that batches can be shared out among replicas, as many samples to each."""
    size = tf.nest.flatten(data.element_spec)[0].shape[0]
    if replicas > 1 and (size is None or size % replicas):
        raise ValueError(
            f"{replicas} replicas need batches of one known size that they can share: a multiple "
            f"of {replicas}, by `batch(size, drop_remainder=True)`. Received: "
            f"{'batches of unknown size' if size is None else f'a batch size of {size}'}"
        )


def _first_batch(data):
    batch = next(iter(data), None)
    if batch is None:
        raise ValueError(
            "The dataset has no batch. Expected at least one: is the batch larger than the data?"
        )
    x, condition = unpair(keras.tree.map_structure(lambda t: t.numpy(), batch))
    check_float(x.dtype, x)
    check_finite(x)
    if condition is not None:
        check_finite(condition, "Conditions")
    return pair(x, condition)


def check_float(dtype, x=None):
    """Check that samples of this dtype are floats."""
    if not _checks.is_float(dtype):
        numbers = x is not None and np.dtype(x.dtype).kind in "iu"
        found = f" from {x.min()} to {x.max()}" if numbers else ""
        raise ValueError(
            "Samples must be floats in the generator's output range. Received: "
            f"{getattr(dtype, 'name', dtype)} values{found}. For images of 0 to 255 and a tanh "
            "generator use `x / 127.5 - 1`."
        )


def check_finite(x, what="Samples"):
    """Check that samples, or their conditions, are finite."""
    _checks.finite(what, x)


def _samples_only(data, y):
    spec = data.element_spec
    if isinstance(spec, (tuple, list)) and len(spec) > 1:
        _warn_labels(f"All but the first of the dataset's {len(spec)} components")
        data, spec = data.map(lambda x, *_: x), spec[0]
    elif y is not None:
        _warn_labels("`y`")
    elif isinstance(spec, (tuple, list)):
        data, spec = data.map(lambda x: x), spec[0]
    if not isinstance(spec, tf.TensorSpec):
        raise ValueError(
            "The dataset must give batches of samples, or tuples that begin with them. "
            f"Received: elements of structure {spec}"
        )
    return data


def _warn_labels(what):
    _checks.warn(f"{what} will not be used: a GAN is trained on samples alone, without labels.")
