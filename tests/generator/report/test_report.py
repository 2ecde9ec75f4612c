"""The whole command, with a model of two steps."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from generator.cli import cli, report
from generator.report.classifier import Classifier
from generator.report.page import SamplingWords, recommended_run_file
from generator.report.stats import StrengthLimits
from sdcore.errors import ModelFileError
from tests.support.generator_classifier import MakeClassifier
from tests.support.generator_data import CLASSES, draw_classes

Trained = tuple[Path, Path]
QUICK = ["--per-class", "4", "--strengths", "0.25,0.5,0.9", "--steps", "4", "--threads", "1"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in ("report", *arguments)], prog_name="generator")


def test_the_command_writes_page_sheet_findings_and_run_file(
    trained: Trained, make_classifier: MakeClassifier, tmp_path: Path
) -> None:
    model, data = trained
    done = run(model, data, "--classifier", make_classifier(), "-o", tmp_path, *QUICK, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    by_name = {one["name"]: one for one in told["classes"]}
    # Held out are only the drawings that are not among those learned from.
    assert {name: (one["learned"], one["held_out"], one["sources"]) for name, one in by_name.items()} == {
        "Normal": (6, 6, 4),
        "open": (6, 6, 4),
        "裂纹": (3, 6, 3),
    }
    assert by_name["裂纹"]["at"][0]["compared"]["precision"]["value"] is None  # 3 pictures, k is 3
    assert by_name["裂纹"]["at"][0]["compared"]["kernel_distance"]["value"] is not None
    assert told["answer"]["kept"]["of"] == 2 * (4 + 4 + 3)
    assert told["answer"]["strengths"] == [0.25, 0.5]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "裂纹" in page
    assert "undefined 未定义" in page
    assert "http" not in page.replace("http-equiv", "")
    with Image.open(io.BytesIO((tmp_path / "sheet.png").read_bytes())) as sheet:
        assert sheet.width > 600
    run_file = pytest.importorskip("sdclient.batch.run_file")
    spec = run_file.load_run_file(tmp_path / "recommended.toml")
    assert (spec.common["sampler"], spec.common["steps"], spec.common["cfg_scale"]) == ("DPM++ 2M Karras", 4, 2.0)
    words = run(model, data, "--classifier", make_classifier(), "-o", tmp_path, *QUICK)
    assert "保持类别" in words.stdout
    assert "recommended.toml" in words.stdout


def test_the_run_file_is_one_that_generate_reads(tmp_path: Path) -> None:
    run_file = pytest.importorskip("sdclient.batch.run_file")
    strengths = pytest.importorskip("sdclient.batch.strength")
    sources = pytest.importorskip("sdclient.sources")
    limits = {
        'pit "deep" 凹坑\\': StrengthLimits(0.22, 0.41, 24),
        "lost": StrengthLimits(0.1, None, 24),
        "none": StrengthLimits(None, None, 0),
        "crossed": StrengthLimits(0.5, 0.3, 24),
    }
    text = recommended_run_file(
        limits, StrengthLimits(0.2, 0.5, 90), SamplingWords("DPM++ 2M Karras", 20, 2.0, 64), model="板"
    )
    path = tmp_path / "recommended.toml"
    path.write_text(text, encoding="utf-8")
    spec = run_file.load_run_file(path)
    deep = sources.Source('pit "deep" 凹坑\\', 1, tmp_path / "1.png")
    lost = sources.Source("lost", 1, tmp_path / "1.png")
    assert list(spec.classes) == ['pit "deep" 凹坑\\']
    found = [spec.settings_for(one)["denoising_strength"] for one in (deep, lost)]
    assert [(one.low, one.high) for one in found] == [(0.22, 0.41), (0.2, 0.5)]
    assert spec.common["native_px"] == 64
    strengths.AdaptiveStrength(spec, [deep, lost], low=0.1, high=0.9)  # --until-accepted searches within
    assert "its class is lost at the least tested strength" in text
    assert "undefined" in text


def test_every_option_on_the_page_is_there() -> None:
    page = (Path(__file__).parents[3] / "docs" / "generator.md").read_text(encoding="utf-8")
    _, _, section = page.partition("\n## Report: ")
    known = {name for param in report.params for name in param.opts}
    elsewhere = {"--features", "--imgsz", "--plan", "--config", "--until-accepted", "--engine", "--model", "--epochs"}
    assert section
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section)) <= known | elsewhere


def test_without_held_out_pictures_comparisons_are_undefined(
    trained: Trained, make_classifier: MakeClassifier, tmp_path: Path
) -> None:
    model, data = trained
    shutil.copytree(data / "train", tmp_path / "data" / "train")
    done = run(model, tmp_path / "data", "--classifier", make_classifier(), "-o", tmp_path / "r", *QUICK, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["floor_held_out"]["precision"]["value"] is None
    assert told["classes"][0]["nearness"]["real_are"] == "pictures learned from, each without itself"
    assert any("No held-out pictures" in note for note in told["notes"])


def test_data_of_another_model_is_refused_in_words(
    trained: Trained, make_classifier: MakeClassifier, tmp_path: Path
) -> None:
    model, data = trained
    classifier = make_classifier()
    draw_classes(tmp_path / "a" / "train", {"Normal": 6, "open": 6})
    draw_classes(tmp_path / "b" / "train", dict.fromkeys(CLASSES, 4), size=(20, 20))
    cases = [
        ((model, tmp_path / "a"), r"the model's class '裂纹' is missing"),
        ((model, tmp_path / "b"), r"learned from none of these pictures"),
        ((model, tmp_path), r"no folder 'train' in it"),
        ((tmp_path, data), r"no generator.json in it"),
    ]
    for arguments, words in cases:
        done = run(*arguments, "--classifier", classifier, *QUICK)
        assert done.exit_code == 1
        assert words in done.stderr
        assert "Traceback" not in done.output


def test_an_unusable_setting_is_named(trained: Trained, make_classifier: MakeClassifier) -> None:
    for option, words in (
        (["--strengths", "0.5,0.2"], "expected growing ones"),
        (["--strengths", "a"], "--strengths: found 'a'"),
        (["--asked", "0.3"], "asked"),
        (["--k", "0"], "k: found 0"),
    ):
        done = run(*trained, "--classifier", make_classifier(), *option)
        assert (done.exit_code, "Traceback" in done.output) == (1, False)
        assert words in done.stderr


def test_a_classifier_that_cannot_be_used_is_refused_in_words(make_classifier: MakeClassifier, tmp_path: Path) -> None:
    (tmp_path / "program.torchscript").write_bytes(b"PK\x03\x04")
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    cases = [
        (tmp_path / "none.onnx", r"none\.onnx: no such file; make it with 'trainer export RUN --features'"),
        (tmp_path, r"a folder; expected the file"),
        (tmp_path / "program.torchscript", r"could run code; expected ONNX"),
        (tmp_path / "noise.onnx", r"damaged or no ONNX file"),
        (make_classifier(with_features=False), r"gives no features; export the run again with --features"),
        (make_classifier(("Normal", "open", "pit")), r"does not know the class '裂纹'.*it knows Normal, open, pit"),
        (make_classifier(format_version="9"), r"exported in version 9, this program reads 1; export again"),
    ]
    for path, words in cases:
        with pytest.raises(ModelFileError, match=words):
            Classifier(path, CLASSES)
