"""Files that are there whole or not at all, after a power cut, too."""

import hashlib
import os
import pathlib


def sync(path: str | os.PathLike) -> None:
    """Have the disk hold what was written to a file, or a folder's names."""
    if os.name == "nt" and os.path.isdir(path):  # which Windows does not open
        return
    handle = os.open(path, os.O_RDWR if os.path.isfile(path) else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(draft: pathlib.Path, path: pathlib.Path) -> None:
    """Give a complete file its name, in the place of an older one."""
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a text whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        rename(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
