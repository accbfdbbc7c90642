"""Many clients at a time, every answer checked."""

import collections
import concurrent.futures
import pathlib
import threading
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from keras_gradlayer import _checks
from keras_gradlayer.serving.clients.client import Client
from keras_gradlayer.serving.clients.local_client import LocalClient
from keras_gradlayer.serving.versions import local_path, versions

# Of the largest value: a batch of another size, or another device, rounds the last bits otherwise.
_TOLERANCE = 1e-4
_SEEDS = 256


def load_test(
    client: Client,
    requests: int = 5000,
    concurrency: int = 64,
    rows: int = 1,
    saved_model: str | pathlib.Path | None = None,
    time_limit: float = 300.0,
) -> dict[str, Any]:
    """Ask a server for samples from many clients at a time, and check every answer by its seed.

    The expected samples come from the SavedModel itself where it is given, else from the server,
    asked for one row at a time beforehand: then it is rows mixed up in a batch that show.

    Args:
        client: from `connect`.
        requests: how many requests of the signature `sample` to send.
        concurrency: how many at a time.
        rows: samples a request.
        saved_model: the SavedModel that is served, if it lies here; or its model folder, in which
            it is the version that the client asks for, or the newest.
        time_limit: seconds after which no further request is sent; an interrupt does the same.

    Returns:
        A dict: `requests` answered, `wrong` (an answer that is not its seed's), `failed`,
        `errors` (messages, and how often), `seconds`, `requests_per_second`,
        `samples_per_second`, and the latency of a request in ms: `p50`, `p90`, `p99`, `max`.

    Raises:
        ValueError: for arguments out of range.
        ConnectionError: if the server cannot be reached at all.

    Example:

    >>> client = connect(folder)                        # or connect("http://localhost:8501")
    >>> load_test(client, requests=20, concurrency=4)["wrong"]
    0
    """
    for name, value in (("requests", requests), ("concurrency", concurrency), ("rows", rows)):
        _checks.positive_int(name, value)
    time_limit = _checks.positive_number("time_limit", time_limit)
    seeds = np.arange(_SEEDS)
    if saved_model is None:
        expected = np.concatenate([client.sample(seeds[i : i + 1]) for i in seeds])
    else:
        numbered = versions(local_path(saved_model))
        local = LocalClient(saved_model, version=client.version if numbered else None)
        expected = local.sample(seeds)
        client.sample(seeds[:1])  # is there a server at all?
    atol = _TOLERANCE * max(1.0, float(np.abs(expected).max()))
    answers, errors, numbers, stop = [], [], iter(range(requests)), threading.Event()
    lock, bar = threading.Lock(), tqdm(total=requests, unit="request")
    start = time.perf_counter()

    def ask(i):
        asked = (i * rows + np.arange(rows)) % _SEEDS
        began = time.perf_counter()
        samples = client.sample(asked)
        seconds = time.perf_counter() - began
        right = samples.shape == expected[asked].shape and np.allclose(
            samples, expected[asked], rtol=0, atol=atol
        )
        return seconds, right

    def one_client():
        while not stop.is_set() and time.perf_counter() - start < time_limit:
            with lock:
                i = next(numbers, None)
            if i is None:
                return
            try:
                answers.append(ask(i))
            except (OSError, ValueError, RuntimeError) as e:
                errors.append(str(e))
            with lock:
                bar.update()

    with bar, concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        working = [pool.submit(one_client) for _ in range(concurrency)]
        try:
            concurrent.futures.wait(working)
        except KeyboardInterrupt:  # what was measured until now is worth having
            stop.set()
        for worker in working:
            worker.result()
    seconds = time.perf_counter() - start
    ms = 1000 * np.array([a[0] for a in answers] or [np.nan])
    return {
        "requests": len(answers),
        "wrong": sum(not right for _, right in answers),
        "failed": len(errors),
        "errors": dict(collections.Counter(errors)),
        "seconds": seconds,
        "requests_per_second": len(answers) / seconds,
        "samples_per_second": rows * len(answers) / seconds,
        "p50": float(np.percentile(ms, 50)),
        "p90": float(np.percentile(ms, 90)),
        "p99": float(np.percentile(ms, 99)),
        "max": float(ms.max()),
    }
