"""What is known of image files before they are decoded, against TensorFlow's decoder and Pillow."""

import io
import os
import struct
import zlib

import click
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_gradlayer as kgl
from keras_gradlayer.commands import arrays, sources
from keras_gradlayer.data import _image_files


def picture(height, width, mode="RGB", seed=0):
    channels = len(Image.new(mode, (1, 1)).getbands())
    x = np.random.default_rng(seed).integers(0, 256, (height, width, channels), "uint8")
    return Image.fromarray(x[..., 0] if channels == 1 else x, mode)


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(width, height):
    """A black PNG, a row at a time."""
    pack = zlib.compressobj(9)
    rows = b"".join(pack.compress(bytes(1 + width)) for _ in range(height)) + pack.flush()
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    found = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        found += struct.pack(">I", len(data)) + kind + data + crc
    return found


FILES = {
    "png": encoded(picture(31, 57), "PNG"),
    "grey png": encoded(picture(31, 57, "L"), "PNG"),
    "png of four channels": encoded(picture(9, 70, "RGBA"), "PNG"),
    "bmp": encoded(picture(31, 57), "BMP"),
    "jpeg": encoded(picture(31, 57), "JPEG"),
    "grey jpeg": encoded(picture(57, 31, "L"), "JPEG"),
    "progressive jpeg": encoded(picture(300, 20), "JPEG", progressive=True),
    "jpeg with 60 kB before the frame": encoded(picture(31, 57), "JPEG", exif=bytes(60_000)),
    "jpeg with 300 kB before it": encoded(picture(7, 9), "JPEG", icc_profile=bytes(300_000)),
    "jpeg of fill bytes": encoded(picture(31, 57), "JPEG").replace(
        b"\xff\xc0", b"\xff\xff\xff\xc0"
    ),
    "gif": encoded(picture(31, 57, "L"), "GIF"),
}


@pytest.mark.parametrize("name", FILES)
def test_as_many_pixels_as_are_decoded(name):
    image = tf.io.decode_image(FILES[name], expand_animations=False)
    assert _image_files.pixels(io.BytesIO(FILES[name])) == image.shape[0] * image.shape[1]


def test_all_frames_of_a_gif_count():
    first, *rest = (picture(20, 30, "L", seed=i) for i in range(5))
    gif = encoded(first, "GIF", save_all=True, append_images=rest, loop=0, comment=b"x" * 700)
    assert tf.io.decode_image(gif).shape == (5, 20, 30, 3)
    assert _image_files.pixels(io.BytesIO(gif)) == 5 * 20 * 30


def test_a_gif_of_thin_frames():
    """TensorFlow decodes the first frame on a canvas that holds each."""
    frames = picture(1, 900, "L"), picture(900, 1, "L")
    parts = [encoded(frame, "GIF") for frame in frames]
    header, second = parts[0][:-1], parts[1][parts[1].index(b",") :]
    gif = header + b"," + second[1:]  # frames without a color table of their own
    decoded = tf.io.decode_image(gif, expand_animations=False)
    assert _image_files.pixels(io.BytesIO(gif)) >= decoded.shape[0] * decoded.shape[1]


def test_a_jpeg_with_much_before_its_frame():
    """In one search, not byte by byte; a file of nothing but segments is refused."""
    jpeg = FILES["jpeg"]
    late = jpeg[:20] + bytes(10**7) + jpeg[20:]
    assert _image_files.pixels(io.BytesIO(late)) == 31 * 57
    segments = b"\xff\xd8" + b"\xff\xe1\x00\x02" * 20_000
    assert _image_files.pixels(io.BytesIO(segments)) > _image_files.MOST_PIXELS


def test_what_is_cut_off_or_no_image():
    """Never an error, nor a loop; nothing is decoded of what ends before its size."""
    for name, content in FILES.items():
        sizes = [_image_files.pixels(io.BytesIO(content[:n])) for n in range(0, 40)]
        assert sizes[0] == 0
        assert len(set(sizes)) <= 2, name
    rng = np.random.default_rng(0)
    for start in (b"\xff\xd8\xff", b"GIF89a", b"BM", b"\x89PNG\r\n\x1a\n"):
        for n in range(200):
            assert _image_files.pixels(io.BytesIO(start + rng.bytes(n))) >= 0
    no_length = b"\xff\xd8\xff\xe0\x00\x00" + bytes(50)
    assert _image_files.pixels(io.BytesIO(no_length)) == 0


def test_too_many_pixels(tmp_path):
    """Of any kind, by any name; the limit itself is accepted."""
    large = {
        "a.png": png(8193, 8192),
        "png.jpg": png(8193, 8192),
        "b.jpeg": FILES["jpeg"].replace(struct.pack(">2H", 31, 57), b"\xff\xdc\xff\xdc"),
        "c.bmp": FILES["bmp"].replace(struct.pack("<2i", 57, 31), struct.pack("<2i", 9000, -9000)),
        "d.gif": FILES["gif"].replace(struct.pack("<2H", 57, 31), b"\xff\xff\xff\xff"),
    }
    for name, content in large.items():
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"at most 67108864 pixels.*larger ones in 1 file: .*{name}$"
        ):
            kgl.data.image_folder(folder, (8, 8, 3), batch_size=1)
    (tmp_path / "e.png").write_bytes(png(8192, 8192))
    assert not _image_files._is_large(tmp_path / "e.png")
    with open(tmp_path / "sparse.png", "wb") as f:
        f.write(FILES["png"])
        f.truncate(2**30)
    assert _image_files._is_large(tmp_path / "sparse.png")


@pytest.mark.parametrize("kind", ["folder", "stream"])
def test_broken_files_are_named_and_counted(tmp_path, kind):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(FILES["png"])
    for i, content in enumerate((b"", b"text", FILES["png"][:200], FILES["jpeg"][:50])):
        (folder / f"broken{i}.png").write_bytes(content)
    said = r"Received: 4 files: .*broken0.png, .*broken1.png, .*broken2.png, \.\.\."
    if kind == "folder":
        with pytest.raises(ValueError, match=said):
            kgl.data.image_folder(folder, (8, 8, 3), batch_size=1)
        return
    with pytest.raises(click.UsageError, match=said):
        list(sources.batches_of(str(folder), 10, 0, image_shape=(8, 8, 3)))


def test_no_regular_files(tmp_path):
    """A pipe would be waited for, and a device read without end."""
    (tmp_path / "a.png").write_bytes(FILES["png"])
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(ValueError, match="b.png, which is not a regular file"):
        kgl.data.image_folder(tmp_path, (8, 8, 3), batch_size=1)
    (tmp_path / "b.png").unlink()
    (tmp_path / "b.png").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="b.png, which is not a regular file"):
        kgl.data.image_folder(tmp_path, (8, 8, 3), batch_size=1)


@pytest.mark.parametrize(("place", "value"), [("flags", 1), ("method", 99)])
def test_archives_that_cannot_be_unpacked(tmp_path, place, value):
    """With a password, or by a method of compression that Python lacks: one line."""
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 2), "float32"))
    archive = bytearray((tmp_path / "x.npz").read_bytes())
    local, listed = archive.index(b"PK\3\4"), archive.index(b"PK\1\2")
    for start in (local + 6, listed + 8):  # flags, then method
        struct.pack_into("<H", archive, start + 2 * (place == "method"), value)
    (tmp_path / "x.npz").write_bytes(archive)
    with pytest.raises(click.UsageError, match=r"x\.npz cannot be read: .*(encrypted|compression)"):
        arrays.load_array(tmp_path / "x.npz", (2,))
