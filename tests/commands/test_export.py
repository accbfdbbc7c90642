import keras

import keras_gradlayer as kgl
from tests.commands.commandline import fails, run


def test_export(capsys, models, tmp_path):
    tuner = kgl.FineTuner(
        keras.saving.load_model(models / "g.keras"),
        keras.saving.load_model(models / "c.keras"),
        0.5,
        max_layers=5,
    )
    tuner.stack.append()
    tuner.stack.append()
    tuner.save(models / "tuner.keras")
    out = tmp_path / "models" / "sampler"
    export = ["export", "--model", models / "tuner.keras", "--out", out]
    status, printed, _ = run(capsys, *export)
    assert status == 0
    assert printed.startswith("2 gradient layers, 0.")
    assert printed.strip().endswith(str(out / "1"))
    more = ["--version", 7, "--score", "fid=15.5", "--score", "is=3", "--data-range", -2, 2]
    more += ["--allowed-batch-size", 2, "--allowed-batch-size", 4]
    assert run(capsys, *export, *more)[0] == 0
    facts = kgl.serving.read_metadata(out)
    assert facts["scores"] == {"fid": 15.5, "is": 3.0}
    assert facts["data_range"] == [-2, 2]
    assert facts["allowed_batch_sizes"] == [2, 4]

    generator = kgl.FineTuner(None, kgl.models.mlp_critic((2,), units=4), 0.1)
    generator.save(models / "untrained.keras")
    arguments = ["--model", models / "untrained.keras", "--out", tmp_path / "untrained"]
    status, printed, err = run(capsys, "export", *arguments)
    assert status == 0
    assert printed.startswith("0 gradient layers")
    assert "keras-gradlayer: warning: 'fine_tuner" in err
    assert "has no gradient layers" in err


def test_bad_input(capsys, models, tmp_path):
    out = tmp_path / "m"
    export = ["export", "--model", models / "g.keras", "--out", out]
    assert run(capsys, *export)[0] == 0
    before = sorted(p for p in out.rglob("*"))
    assert "Version 1 exists" in fails(capsys, *export, "--version", 1)
    assert "There is no file" in fails(capsys, "export", "--model", "none", "--out", out)
    assert "NAME=VALUE" in fails(capsys, *export, "--score", "fid")
    assert "`data_range` must be" in fails(capsys, *export, "--data-range", 1, 0)
    assert "increasing" in fails(
        capsys, *export, "--allowed-batch-size", 4, "--allowed-batch-size", 2
    )
    (tmp_path / "file").write_text("mine")
    arguments = ["export", "--model", models / "g.keras", "--out", tmp_path / "file"]
    assert "Received the file" in fails(capsys, *arguments)
    arguments = ["export", "--model", tmp_path / "file", "--out", out]
    assert "file is not a model's .h5, .keras or SavedModel" in fails(capsys, *arguments)
    assert sorted(p for p in out.rglob("*")) == before
