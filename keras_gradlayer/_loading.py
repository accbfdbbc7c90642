"""Models in files that need not be trusted to be right."""

import os
import re

import keras


def load_model(path: str | os.PathLike) -> keras.Model:
    """The model in a `.keras` file, not compiled.

    Keras' safe mode stays on: no function in the file runs.

    Raises:
        ValueError: in one line, if the file is damaged, or holds no model or a wrong one.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise ValueError(f"Expected a model's file. Received: {path}, which is a pipe or a device")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as e:  # damaged files raise anything
        raise ValueError(
            f"{path} cannot be loaded. Expected a model that Keras saved. Received: {_cause(e)}"
        ) from e


def _cause(error):
    """What was wrong in the first place, without the configs that Keras prints around it."""
    said = str(error).rpartition("Exception encountered: ")[2].strip()
    if weights := re.search(r"Example error message for object .*?>:\s*(.+)", said):
        said = weights[1]
    line = said.partition("\n")[0][:400] or "nothing that it can read"
    return f"{type(error).__name__}: {line}"
