"""The image files of a folder: what may be decoded, which is known before it is."""

import os
import pathlib
import struct

import tensorflow as tf

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
MOST_PIXELS = 2**26
"""The most pixels of an image, 8192 x 8192; a PNG of 400 kB can have 144 million."""
_MOST_BYTES = 8 * MOST_PIXELS  # a file of four channels of 16 bits, without compression
_MOST_SEGMENTS = 10_000
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def images_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """The images of a folder at any depth, after a look at each file's name, kind and header.

    Raises:
        ValueError: if there are none, or one is no regular file or is too large.
    """
    paths = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in _SUFFIXES]
    if not paths:
        raise ValueError(
            f"No images found. Expected `directory` to have {', '.join(_SUFFIXES)} files. "
            f"Received: {folder}"
        )
    files = []
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError as e:
            raise ValueError(f"Names of images must be UTF-8. Received: {ascii(str(path))}") from e
        if os.path.isfile(path):
            files.append(path)
        elif not path.is_dir() or path.is_symlink():
            raise ValueError(
                f"Expected image files in '{folder}'. Received: {path}, which is not a "
                "regular file, or is a broken link"
            )
    if large := [p for p in files if _is_large(p)]:
        raise ValueError(
            f"Expected images of at most {MOST_PIXELS} pixels in '{folder}', all frames of a GIF "
            f"together. Received: larger ones in {_listed(large)}"
        )
    return files


def unreadable(folder: str | os.PathLike) -> str:
    """Which images of a folder cannot be decoded, in words: for an error that has come up."""
    broken = []
    for path in images_of(pathlib.Path(folder)):
        try:
            tf.io.decode_image(path.read_bytes(), expand_animations=False)
        except tf.errors.InvalidArgumentError:
            broken.append(path)
    return _listed(broken) if broken else "files that change while they are read"


def _listed(paths):
    names = ", ".join(map(str, paths[:3])) + (", ..." if len(paths) > 3 else "")
    return f"{len(paths)} file{'s' * (len(paths) > 1)}: {names}"


def _is_large(path):
    if path.stat().st_size > _MOST_BYTES:
        return True
    with open(path, "rb") as f:
        return pixels(f) > MOST_PIXELS


def pixels(f) -> int:
    """How many pixels TensorFlow decodes of an open file; 0 for one that it refuses.

    As TensorFlow does, it goes by the first bytes, and not by the name.
    """
    start = f.read(26)
    try:
        if start.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack(">2I", start[16:24])
        elif start.startswith(b"BM"):
            width, height = struct.unpack("<2i", start[18:26])
        elif start.startswith(b"\xff\xd8\xff"):
            width, height = _jpeg(f)
        elif start.startswith(b"GIF8"):
            return _gif(f, start[10])
        else:
            return 0
    except (struct.error, IndexError):  # cut off
        return 0
    return abs(width * height)


def _jpeg(f):
    """Width and height in the header of the frame, after any number of other segments."""
    f.seek(2)
    for _ in range(_MOST_SEGMENTS):
        kind = _marker(f)
        if kind in _FRAME_HEADERS:
            height, width = struct.unpack(">3x2H", f.read(7))
            return width, height
        if kind not in (0, 1, *range(0xD0, 0xD9)):  # those that are a marker alone
            [length] = struct.unpack(">H", f.read(2))
            if length < 2:
                return 0, 0
            f.seek(length - 2, os.SEEK_CUR)
    return MOST_PIXELS, MOST_PIXELS  # no picture has as many


def _marker(f):
    """The kind of the next marker; what stands before it, and fill bytes, are skipped."""
    begun = False
    while chunk := f.read(2**16):
        fill = chunk if begun else chunk[chunk.find(b"\xff") :] if b"\xff" in chunk else b""
        begun = begun or bool(fill)
        if kind := fill.lstrip(b"\xff"):
            f.seek(1 - len(kind), os.SEEK_CUR)
            return kind[0]
    raise IndexError("cut off")


def _gif(f, flags):
    """The pixels of all frames, or of a canvas for them all: TensorFlow makes one or the other."""

    def colors(flags):
        return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0

    total = widest = tallest = 0
    f.seek(13 + colors(flags))
    while (kind := f.read(1)) in (b"!", b","):  # extensions and frames, until the end
        if kind == b"!":
            f.seek(1, os.SEEK_CUR)
        else:
            width, height, flags = struct.unpack("<4x2HB", f.read(9))
            total += width * height
            widest, tallest = max(widest, width), max(tallest, height)
            f.seek(colors(flags) + 1, os.SEEK_CUR)
        while (size := f.read(1)) not in (b"\0", b""):
            f.seek(size[0], os.SEEK_CUR)
    return max(total, widest * tallest)
