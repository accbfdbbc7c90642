"""Serve a sampler with KServe's Python server instead, by its V1 protocol.

pip install 'keras-gradlayer[kserve]'
python export/kserve_server.py models/sampler --port 8080
"""

import base64

import click
import kserve
import numpy as np

import keras_gradlayer as kgl
from keras_gradlayer import cli


class SamplerModel(kserve.Model):
    """The signatures of a SavedModel as a KServe model."""

    def __init__(self, name, folder):
        super().__init__(name)
        self.sampler = kgl.serving.connect(folder)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        """Answer a V1 request: {"signature_name": ..., "instances": [...]}."""
        rows = payload["instances"]
        name = payload.get("signature_name", "serving_default")
        if not isinstance(rows[0], dict):
            [key] = self.sampler.signatures()[name].inputs
            rows = [{key: row} for row in rows]
        inputs = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        [value] = self.sampler.predict(name, **inputs).values()
        if value.dtype == object:
            return {"predictions": [{"b64": base64.b64encode(v).decode()} for v in value]}
        return {"predictions": value.tolist()}


@click.command()
@click.argument("folder")
@click.option("--model", default="sampler", show_default=True, help="The name to serve it under.")
@click.option("--port", default=8080, show_default=True)
def main(folder, model, port):
    """Serve a sampler with KServe's Python server instead, by its V1 protocol."""
    sampler = SamplerModel(model, folder)
    kserve.ModelServer(http_port=port, enable_grpc=False, workers=1).start([sampler])


if __name__ == "__main__":
    cli.run(main)
