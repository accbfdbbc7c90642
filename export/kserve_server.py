"""Serve a sampler with KServe's Python server instead, by its V1 protocol.

pip install 'keras-gradlayer[kserve]'
python export/kserve_server.py models/sampler --port 8080
"""

import asyncio
import base64
import json

import click
import kserve
import numpy as np

import keras_gradlayer as kgl
from keras_gradlayer.commands import console


class SamplerModel(kserve.Model):
    """The signatures of a SavedModel as a KServe model."""

    def __init__(self, name, folder):
        super().__init__(name)
        self.sampler = kgl.serving.connect(folder)
        self.largest = kgl.serving.read_metadata(folder)["allowed_batch_sizes"][-1]
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        """Answer a V1 request: {"signature_name": ..., "instances": [...]}."""
        try:
            # a body without a content type comes as bytes
            payload = json.loads(payload) if isinstance(payload, bytes) else payload
            signature = payload.get("signature_name", "serving_default")
            # in a thread: the server has others to answer meanwhile
            value = await asyncio.to_thread(self.answer, signature, payload["instances"])
        except KeyError as e:
            raise kserve.errors.InvalidInput(f"The request has no {e}.") from e
        except (ValueError, IndexError, TypeError, AttributeError) as e:
            raise kserve.errors.InvalidInput(
                'Expected {"signature_name": NAME, "instances": [ROW, ...]}, each row a value or '
                f"a dict of them. {e}"
            ) from e
        if value.dtype == object:
            return {"predictions": [{"b64": base64.b64encode(v).decode()} for v in value]}
        return {"predictions": value.tolist()}

    def answer(self, signature, rows):
        """The one output of a signature, for rows that are values or dicts of them."""
        if not 1 <= len(rows) <= self.largest:
            raise ValueError(f"Expected 1 to {self.largest} rows. Received: {len(rows)}")
        if signature not in self.sampler.signatures():
            raise ValueError(f"There is no signature {signature!r}.")
        if not isinstance(rows[0], dict):
            [key] = self.sampler.signatures()[signature].inputs
            rows = [{key: row} for row in rows]
        inputs = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        [value] = self.sampler.predict(signature, **inputs).values()
        return value


@click.command()
@click.argument("folder")
@click.option("--model", default="sampler", show_default=True, help="The name to serve it under.")
@click.option("--port", default=8080, show_default=True)
def main(folder, model, port):
    """Serve a sampler with KServe's Python server instead, by its V1 protocol."""
    sampler = SamplerModel(model, folder)
    kserve.ModelServer(http_port=port, enable_grpc=False, workers=1).start([sampler])


if __name__ == "__main__":
    console.run(main)
