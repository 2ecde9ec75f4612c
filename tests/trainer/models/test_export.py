"""Exported files and their parity with torch."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from sdcore.errors import DataError, MissingExtra, ModelFileError, SettingsError
from sdcore.onnx_classifier import FORMAT_NAME, VERSION, read_metadata
from trainer.cli import cli
from trainer.data.transforms import decode
from trainer.errors import ExportError
from trainer.models.classifier import Format, embedded_threshold
from trainer.models.decision_threshold import DecisionThreshold, write_operating_point
from trainer.models.export import export
from trainer.models.predict import PredictOptions, predict, predict_folder, write_stream
from trainer.models.predictions import read_predictions

Trained = tuple[Path, Path]
FORMATS: list[Format] = ["onnx", "torchscript"]


@pytest.fixture(scope="module")
def exported(trained_run: Trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each format, of a run with an operating point."""
    root = tmp_path_factory.mktemp("导出")
    for name in ("best.pt", "data.json"):
        shutil.copy(trained_run[0] / name, root / name)
    write_operating_point(root, DecisionThreshold("Normal", 0.4, 0.1, 2, 20))
    files = {}
    for kind in FORMATS:
        done = export(root, format=kind)
        assert done.path == root / f"best.{kind}"
        assert done.max_abs_difference <= 1e-4
        assert (done.parity_images, done.parity_source) == (6, trained_run[1] / "val")
        files[kind] = done.path
    assert sorted(path.name for path in root.iterdir()) == [
        *("best.onnx", "best.pt", "best.torchscript", "data.json", "operating_point.json")
    ]
    return files


@pytest.mark.parametrize("kind", FORMATS)
def test_an_exported_file_predicts_as_the_run_does(
    trained_run: Trained, exported: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    run, data = trained_run
    write_stream(predict(exported[kind], data / "test", PredictOptions(batch_size=4)), tmp_path / "p.csv")
    read, expected = read_predictions(tmp_path / "p.csv"), predict_folder(run, data / "test", progress=False)
    assert (read.images, read.labels, read.classes) == (expected.images, expected.labels, expected.classes)
    assert np.abs(read.probabilities - expected.probabilities).max() <= 1e-4
    header = (tmp_path / "p.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    assert header.endswith(",decision")


def test_an_onnx_file_needs_nothing_of_ours(trained_run: Trained, exported: dict[str, Path]) -> None:
    run, data = trained_run
    session = onnxruntime.InferenceSession(exported["onnx"].read_bytes(), providers=["CPUExecutionProvider"])
    texts = session.get_modelmeta().custom_metadata_map
    classes, size = json.loads(texts["classes"]), json.loads(texts["imgsz"])
    with Image.open(data / "test" / "划痕" / "0.png") as image:
        pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    (found,) = session.run(None, {"images": pixels.transpose(2, 0, 1)[None].repeat(3, axis=0)})
    expected = {row.image: row.probabilities for row in predict(run, data / "test")}
    assert classes == ["Normal", "划痕"]
    assert np.abs(found - expected["划痕/0.png"]).max() <= 1e-4
    assert json.loads(texts["mean"]) == [0.5, 0.5, 0.5]
    assert texts["checkpoint_sha256"] == hashlib.sha256((run / "best.pt").read_bytes()).hexdigest()
    assert json.loads(texts["operating_point"])["cut"] == 0.4


@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_a_torchscript_file_needs_nothing_of_ours(trained_run: Trained, exported: dict[str, Path]) -> None:
    run, data = trained_run
    texts = {"sd-defects.json": ""}
    network = torch.jit.load(str(exported["torchscript"]), _extra_files=texts)
    metadata = json.loads(texts["sd-defects.json"])
    assert json.loads(metadata["classes"]) == ["Normal", "划痕"]
    assert json.loads(metadata["operating_point"])["normal"] == "Normal"
    image = decode(data / "test" / "Normal" / "1.png", json.loads(metadata["imgsz"]))
    with torch.inference_mode():
        found = network(torch.from_numpy(image)[None])[0].numpy()
    expected = {row.image: row.probabilities for row in predict(run, data / "test")}
    assert np.abs(found - expected["Normal/1.png"]).max() <= 1e-4


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_exported_with_features_gives_those_of_the_run(
    trained_run: Trained, tmp_path: Path, kind: Format
) -> None:
    run, data = trained_run
    done = export(run, tmp_path / f"m.{kind}", format=kind, with_features=True)
    assert done.features_difference is not None
    assert done.features_difference <= 1e-4
    expected = {row.image: row for row in predict(run, data / "test", PredictOptions(with_features=True))}
    for row in predict(done.path, data / "test", PredictOptions(with_features=True, batch_size=4)):
        assert row.features is not None
        assert row.features == pytest.approx(expected[row.image].features, abs=1e-4)
        assert row.probabilities == pytest.approx(expected[row.image].probabilities, abs=1e-4)
    assert all(row.features is None for row in predict(done.path, data / "test"))


def test_features_that_differ_are_not_kept(
    trained_run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "trainer.models.export._Deployed._keep", lambda self, _, inputs: self._seen.append(inputs[0] + 0.5)
    )
    with pytest.raises(ExportError, match=r"a feature .* differs from torch .*no file was kept"):
        export(trained_run[0], tmp_path / "m.onnx", with_features=True)
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_answers_otherwise_is_not_kept(
    trained_run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Format
) -> None:
    # As an exporter that leaves out the normalisation would do.
    monkeypatch.setattr("trainer.models.export._Deployed.forward", lambda self, x: self.network(x.float()).softmax(1))
    former = tmp_path / "out"
    former.write_bytes(b"former")
    with pytest.raises(ExportError, match=r"differs from torch by .* over 6 images of .*no file was kept"):
        export(trained_run[0], former, format=kind)
    assert former.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [former]


def test_without_real_images_nothing_is_exported(trained_run: Trained, tmp_path: Path) -> None:
    shutil.copy(trained_run[0] / "best.pt", tmp_path / "best.pt")
    with pytest.raises(DataError, match=r"no data\.json .* --images"):
        export(tmp_path)
    (tmp_path / "data.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match=r"does not name the folder .* --images"):
        export(tmp_path)
    (tmp_path / "data.json").write_text(json.dumps({"data": str(tmp_path / "gone")}), encoding="utf-8")
    with pytest.raises(DataError, match=r"which is gone.* --images"):
        export(tmp_path)
    assert not (tmp_path / "best.onnx").exists()


def test_an_unknown_format_and_the_checkpoint_itself_are_refused(trained_run: Trained) -> None:
    with pytest.raises(SettingsError, match="format: found 'tflite'; expected onnx or torchscript"):
        export(trained_run[0], format="tflite")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="is the checkpoint itself"):
        export(trained_run[0], trained_run[0] / "best.pt", format="torchscript")


def test_a_missing_package_is_named_with_its_extra(
    trained_run: Trained, exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"onnxruntime.*sd-defects\[export\]"):
        predict(exported["onnx"], trained_run[1] / "test")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"onnx.*sd-defects\[export\]"):
        export(trained_run[0])


def test_foreign_and_damaged_files_are_refused_in_words(
    trained_run: Trained, exported: dict[str, Path], tmp_path: Path
) -> None:
    data = trained_run[1] / "test"
    (tmp_path / "noise.onnx").write_bytes(b"\x07noise")
    with pytest.raises(ModelFileError, match=r"noise\.onnx: damaged or no ONNX file"):
        predict(tmp_path / "noise.onnx", data)
    model = onnx.load(exported["onnx"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ModelFileError, match=r"foreign\.onnx: does not name its classes"):
        predict(tmp_path / "foreign.onnx", data)
    (tmp_path / "noise.torchscript").write_bytes(b"noise")
    with pytest.raises(ModelFileError, match="damaged or no TorchScript file"):
        predict(tmp_path / "noise.torchscript", data)
    with pytest.raises(ModelFileError, match=r"none\.onnx: no such file"):
        predict(tmp_path / "none.onnx", data)
    with pytest.raises(
        SettingsError, match="gives probabilities alone; for features export the run again with --features"
    ):
        predict(exported["onnx"], data, PredictOptions(with_features=True))
    with pytest.raises(SettingsError, match="run on the CPU"):
        predict(exported["onnx"], data, PredictOptions(device="cuda"))


def test_a_foreign_torchscript_is_refused_before_it_is_loaded(
    trained_run: Trained, exported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[object] = []
    monkeypatch.setattr("trainer.models.classifier._untyped_jit.load", lambda *args, **_: loaded.append(args))
    foreign = tmp_path / "foreign.pt"
    with zipfile.ZipFile(exported["torchscript"]) as source, zipfile.ZipFile(foreign, "w") as target:
        for name in source.namelist():
            if not name.endswith("sd-defects.json"):
                target.writestr(name, source.read(name))
    with pytest.raises(ModelFileError, match=r"foreign\.pt: does not name its classes"):
        predict(foreign, trained_run[1] / "test")
    assert loaded == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": "2"}, "exported in version 2"),
        ({"classes": None}, "has no 'classes'"),
        ({"classes": "["}, "malformed"),
        ({"classes": '["a"]'}, "expected two or more names"),
        ({"imgsz": "0"}, "imgsz is 0"),
        ({"imgsz": "NaN"}, "imgsz is nan"),
        ({"operating_point": '{"normal": "c", "cut": 0.5}'}, "calls 'c' normal"),
        ({"operating_point": '{"normal": "a", "cut": 5}'}, "cut is 5"),
    ],
)
def test_wrong_metadata_is_refused(change: dict[str, str | None], words: str) -> None:
    texts: dict[str, str | None] = {
        "format": FORMAT_NAME,
        "format_version": VERSION,
        "classes": '["a", "b"]',
        "imgsz": "64",
        "model": "yolov5n-cls",
        "checkpoint_sha256": "",
    }
    read_metadata({key: text for key, text in texts.items() if text is not None}, Path("m.onnx"))
    texts |= change
    with pytest.raises((ModelFileError, SettingsError), match=words):
        embedded_threshold(
            read_metadata({key: text for key, text in texts.items() if text is not None}, Path("m.onnx")),
            Path("m.onnx"),
        )


def test_the_command_prints_how_near_it_comes(trained_run: Trained, tmp_path: Path) -> None:
    run, data = trained_run
    arguments = ["export", str(run), "-o", str(tmp_path / "m.ts"), "--format", "torchscript", "--json"]
    done = CliRunner().invoke(cli, [*arguments, "--images", str(data / "test")])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["parity_images"] == 6
    assert 0 <= told["max_abs_difference"] <= told["parity_tolerance"] == 1e-4
    assert told["size_bytes"] == (tmp_path / "m.ts").stat().st_size
    assert told["operating_point"] is None
    assert predict(tmp_path / "m.ts", data / "test").classes == ("Normal", "划痕")
