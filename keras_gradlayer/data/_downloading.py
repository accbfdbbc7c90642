"""Data sets of TensorFlow Datasets: those that are there, and those that are downloaded."""

import contextlib
import pathlib
import tempfile
from urllib.parse import urlsplit

_SECONDS = 5.0
"""How long a server may take to answer before a download begins."""


def read(builder, split):
    """A split of a builder's data set, downloaded if it is not there.

    Raises:
        FileNotFoundError: if it cannot be. All that was begun is removed.
    """
    try:
        return builder.as_dataset(split=split)
    except AssertionError:
        if builder.data_path.exists():
            raise
    _download(builder)
    return builder.as_dataset(split=split)


def _download(builder):
    root = str(builder.data_dir_root)
    try:
        _answering(builder.url_infos or ())
        with _nothing_left(root, builder.name) as downloads:
            builder.download_and_prepare(download_dir=downloads)
    except Exception as e:  # of TFDS, requests, TensorFlow or the disk
        raise FileNotFoundError(
            f"There is no {builder.name} in {root}, and it could not be downloaded: "
            f"{' '.join(str(e).split())[:300]}. Have `tfds build {builder.name} --data_dir DIR` "
            "make it where there is a network, and name that folder by `data_dir` or the variable "
            "TFDS_DATA_DIR."
        ) from e


def _answering(urls):
    """Check that a server of these answers at all: TFDS would ask again for minutes."""
    import requests  # TFDS has it

    hosts = {urlsplit(url).netloc: url for url in urls if url.startswith("http")}
    failure = None
    for url in hosts.values():
        try:
            requests.head(url, timeout=_SECONDS)  # whatever it says
            return
        except requests.RequestException as e:
            failure = e
    if failure:
        raise ConnectionError(f"{', '.join(hosts)} cannot be reached: {failure}")


@contextlib.contextmanager
def _nothing_left(root, name):
    """A folder for what is downloaded, which goes afterwards; no empty folders of ours stay."""
    if "://" in root:  # an object store has no empty folders
        with tempfile.TemporaryDirectory() as downloads:
            yield downloads
        return
    root = pathlib.Path(root)
    missing = [p for p in (root / name, root, *root.parents) if not p.exists()]
    root.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".downloads-", dir=root) as downloads:
            yield downloads
    finally:
        for folder in missing:  # innermost first; what holds something stays
            with contextlib.suppress(OSError):
                folder.rmdir()
