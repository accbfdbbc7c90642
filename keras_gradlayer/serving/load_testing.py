"""Many clients at a time, every answer checked."""

import concurrent.futures
import pathlib
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from keras_gradlayer import _checks
from keras_gradlayer.serving.client import Client
from keras_gradlayer.serving.local_client import LocalClient

# REST rounds to decimals, and a batch of another size may round the last bit another way.
_TOLERANCE = 1e-5
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
        saved_model: the SavedModel that is served, or its model folder, if it lies here.
        time_limit: seconds after which no further request is sent.

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
        expected = LocalClient(saved_model).sample(seeds)
        client.sample(seeds[:1])  # is there a server at all?
    answers, errors = [], {}
    start = time.perf_counter()

    def ask(i):
        asked = (i * rows + np.arange(rows)) % _SEEDS
        began = time.perf_counter()
        if began - start > time_limit:
            return None
        samples = client.sample(asked)
        seconds = time.perf_counter() - began
        right = samples.shape == expected[asked].shape and np.allclose(
            samples, expected[asked], rtol=0, atol=_TOLERANCE
        )
        return seconds, right

    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        waiting = [pool.submit(ask, i) for i in range(requests)]
        for done in tqdm(concurrent.futures.as_completed(waiting), total=requests, unit="request"):
            try:
                answers.append(done.result())
            except (OSError, ValueError, RuntimeError) as e:
                errors[str(e)] = errors.get(str(e), 0) + 1
    seconds = time.perf_counter() - start
    answers = [a for a in answers if a is not None]
    ms = 1000 * np.array([a[0] for a in answers] or [np.nan])
    return {
        "requests": len(answers),
        "wrong": sum(not right for _, right in answers),
        "failed": sum(errors.values()),
        "errors": errors,
        "seconds": seconds,
        "requests_per_second": len(answers) / seconds,
        "samples_per_second": rows * len(answers) / seconds,
        "p50": float(np.percentile(ms, 50)),
        "p90": float(np.percentile(ms, 90)),
        "p99": float(np.percentile(ms, 99)),
        "max": float(ms.max()),
    }
