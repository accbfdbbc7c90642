"""What hostile files and servers cost a user: time and memory until an error, or a wrong result.

    python benchmarks/attacks.py
    python benchmarks/attacks.py --before PATH   # beside another checkout of this repository

Each attack is a process of its own, which may take some 40 s and 8 GiB of address space beyond the
import. Memory is the peak above what importing the package takes. Prints a Markdown table.
"""

import contextlib
import functools
import http.server
import json
import os
import pathlib
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib

import click

SECONDS, GIB = 40, 2**30


def png(width, height):
    """A black picture in 1/350 of its size."""
    pack = zlib.compressobj(9)
    rows = b"".join(pack.compress(bytes(1 + 3 * width)) for _ in range(height)) + pack.flush()
    found = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        found += struct.pack(">I", len(data)) + kind + data + crc
    return found


@functools.cache
def bomb():
    """1 GiB of zeros."""
    pack = zlib.compressobj(6, wbits=31)
    return b"".join(pack.compress(bytes(2**20)) for _ in range(2**10)) + pack.flush()


class Hostile(http.server.BaseHTTPRequestHandler):
    """Answers a prediction as the first part of the path says."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):  # as a server that does not publish its signatures
        status, content = 404, {"error": "none"}
        if not self.path.endswith("/metadata"):
            status, content = 200, {"ready": True}
        self.answer(json.dumps(content).encode(), status)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with contextlib.suppress(OSError):  # until the client hangs up
            getattr(self, self.path.split("/")[1])()

    def answer(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def one_row(self):
        self.answer(b'{"predictions": [[0.0, 0.0]]}')

    def gzip_bomb(self):
        self.answer(bomb(), Content_Encoding="gzip")

    def large(self):
        self.send_response(200)
        self.send_header("Content-Length", str(1200 * 2**20))
        self.end_headers()
        for _ in range(1200):
            self.wfile.write(b" " * 2**20)

    def drip_body(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        self.drip()

    def drip_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.drip()

    def drip(self):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            self.wfile.write(b" ")
            time.sleep(0.1)


def edit(path, change):
    """Change the config in a .keras file."""
    with zipfile.ZipFile(path) as source:
        files = {name: source.read(name) for name in source.namelist()}
    config = json.loads(files["config.json"])
    change(config["config"]["stack"]["config"])
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)


def sampler():
    import keras_gradlayer as kgl

    tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,)), 0.1, max_layers=3)
    tuner.stack.append()
    return tuner.sampler()


def huge_png(folder):
    (folder / "a.png").write_bytes(png(12_000, 12_000))


def pipe(folder):
    (folder / "a.png").write_bytes(png(8, 8))
    os.mkfifo(folder / "b.png")


def in_keras_file(**settings):
    def make(folder):
        sampler().save(folder / "a.keras")
        edit(folder / "a.keras", lambda stack: stack.update(settings))

    return make


def in_sampler_json(**settings):
    def make(folder):
        import keras_gradlayer as kgl

        kgl.serving.export_sampler(sampler(), folder / "a")
        [file] = (folder / "a").rglob("sampler.json")
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))

    return make


def read_folder(folder, url):
    import keras_gradlayer as kgl

    return next(iter(kgl.data.image_folder(folder, (8, 8, 3), batch_size=1)))


def draw(name):
    def run(folder, url):
        import keras_gradlayer as kgl

        return next(kgl.serving.SeededSampler(folder / name).blocks(0, 4))[1]

    return run


def ask(path):
    def run(folder, url):
        import keras_gradlayer as kgl

        seconds = 2 if path.startswith("drip") else 30
        with kgl.serving.connect(f"{url}/{path}", timeout=seconds) as client:
            return client.sample([1, 2, 3])

    return run


MILLION = 10**6
ATTACKS = {  # what is made beforehand, and what a user then does
    "a PNG of 12000 x 12000 in 410 kB": (huge_png, read_folder),
    "a pipe in a folder of images": (pipe, read_folder),
    "`max_layers` 10⁶ in a .keras file": (in_keras_file(max_layers=MILLION), draw("a.keras")),
    "`steps_per_layer` 10⁶ in a .keras file": (
        in_keras_file(steps_per_layer=MILLION),
        draw("a.keras"),
    ),
    "`depth` 10⁶ in sampler.json": (in_sampler_json(depth=MILLION), draw("a")),
    "`steps_per_layer` 10⁶ in sampler.json": (in_sampler_json(steps_per_layer=MILLION), draw("a")),
    "one sample for three seeds": (None, ask("one_row")),
    "a gzip bomb, 1 GiB in 1 MB": (None, ask("gzip_bomb")),
    "an answer of 1.2 GB": (None, ask("large")),
    "a body in drips, timeout 2 s": (None, ask("drip_body")),
    "headers in drips, timeout 2 s": (None, ask("drip_headers")),
}


def one(number, folder, url):
    """Suffer an attack, and print the outcome, the seconds and the MiB."""
    import keras_gradlayer as kgl
    from keras_gradlayer.serving import connect  # noqa: F401, what is imported late

    _, run = list(ATTACKS.values())[number]
    _ = kgl.data, kgl.serving
    with open("/proc/self/statm") as f:
        size = int(f.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 8 * GIB, size + 8 * GIB))
    before, start = peak(), time.monotonic()
    print(before, flush=True)
    signal.alarm(SECONDS)  # which ends the process
    try:
        outcome = f"believed: an array of shape {tuple(run(pathlib.Path(folder), url).shape)}"
    except Exception as e:
        outcome = f"{type(e).__name__}: {' '.join(str(e).split())}"
    print(json.dumps([outcome, time.monotonic() - start, (peak() - before) / 2**20]))


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(number, checkout, url):
    """What one attack does to a checkout of the package, as text."""
    make, _ = list(ATTACKS.values())[number]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = [sys.executable, __file__, "--one", str(number)]
    with tempfile.TemporaryDirectory() as folder:
        if make is not None:
            subprocess.run([*start, folder, "make"], env=environment, check=True)
        command = subprocess.Popen(
            [*start, folder, url],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        lines = command.stdout.read().splitlines()
        _, status, usage = os.wait4(command.pid, 0)
    if status:
        how = {signal.SIGALRM: f"goes on after {SECONDS} s"}.get(
            status, f"ends the process: {status}"
        )
        return f"{how}, {usage.ru_maxrss / 2**10 - int(lines[0]) / 2**20:.0f} MiB"
    outcome, seconds, size = json.loads(lines[-1])
    outcome = outcome.replace(folder, "...").replace("|", "\\|")
    return f"{outcome[:90]}{'...' * (len(outcome) > 90)} {seconds:.1f} s, {size:.0f} MiB"


@click.command()
@click.option("--before", type=click.Path(exists=True), help="another checkout, to be shown first")
@click.option("--one", "single", nargs=3, type=str, help="number, folder, address: one attack")
def main(before, single):
    """Print the table."""
    if single:
        number, folder, url = single
        if url != "make":
            return one(int(number), folder, url)
        make, _ = list(ATTACKS.values())[int(number)]
        return make(pathlib.Path(folder))
    here = pathlib.Path(__file__).resolve().parents[1]
    checkouts = {"before": before, "now": here} if before else {"now": here}
    server = http.server.ThreadingHTTPServer(("localhost", 0), Hostile)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://localhost:{server.server_address[1]}"
    bomb()
    print("| attack |", " | ".join(checkouts), "|")
    print("| --- |", " | ".join("---" for _ in checkouts), "|")
    for number, name in enumerate(ATTACKS):
        cells = [measure(number, checkout, url) for checkout in checkouts.values()]
        print("|", name, "|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
