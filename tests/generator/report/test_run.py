"""Findings of images whose truth is known, because they were drawn and not made by a model."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from generator.cli import cli, report
from generator.report.classifier import Classifier
from generator.report.material import GeneratedSamples, Material, RealImage
from generator.report.neighbours import MemorisationCheck, Symmetry
from generator.report.page import RecommendedSampling, recommended_run_file
from generator.report.results import make_settings
from generator.report.run import ClassifiedImages, FindingsBuilder
from generator.report.stats import StrengthLimits, precision_and_recall
from sdcore.errors import ModelFileError
from tests.support.generator_classifier import MakeClassifier, class_by_hand, features_by_hand
from tests.support.generator_data import CLASSES, draw_classes, drawn


def real(label: int, number: int, group: str = "") -> RealImage:
    pixels = np.asarray(drawn(CLASSES[label], number))[None]
    return RealImage(pixels, label, f"{CLASSES[label]}/{number}", group or f"{label} {number}")


SOURCES = [real(label, number, f"{label} {number // 2}") for label in (0, 1) for number in range(6)]
HELD_OUT = tuple(real(label, number) for label in (0, 1) for number in range(100, 108))


@pytest.fixture(scope="module")
def judge(make_classifier: MakeClassifier) -> FindingsBuilder:
    """Strength 0.3 leaves sources as they are, 0.5 draws other images of the class, 0.7 of another class."""
    material = Material((*SOURCES, real(2, 0)), HELD_OUT, ())
    siblings = tuple(real(one.label, 50 + number).pixels for number, one in enumerate(SOURCES))
    others = tuple(real(1 - one.label, 70 + number).pixels for number, one in enumerate(SOURCES))
    pure = (SOURCES[0].pixels, *(real(0, number).pixels for number in range(200, 205)))
    pure += tuple(np.ascontiguousarray(SOURCES[6].pixels[:, ::-1]) for _ in range(2))
    made = GeneratedSamples(
        tuple(SOURCES), (tuple(one.pixels for one in SOURCES), siblings, others), pure, (0,) * 6 + (1,) * 2
    )
    classifier = Classifier(make_classifier(), CLASSES)
    looked = ClassifiedImages(
        classifier.predict([one.pixels for one in material.learned]),
        classifier.predict([one.pixels for one in material.held_out]),
        tuple(classifier.predict(images) for images in made.by_strength),
        classifier.predict(pure),
    )
    nearness = MemorisationCheck(
        CLASSES,
        material,
        made,
        learned=looked.learned,
        held_out=looked.held_out,
        pure=looked.pure,
        symmetry=Symmetry(flips=True),
    )
    settings = make_settings(strengths=(0.3, 0.5, 0.7), asked=(0.3, 0.5), per_class=6, draws=20)
    return FindingsBuilder(CLASSES, material, made, looked, settings, nearness, progress=False)


def test_the_file_predicts_what_the_classifier_by_hand_predicts(make_classifier: MakeClassifier) -> None:
    images = [one.pixels for one in (*SOURCES, real(2, 0), real(2, 5))]
    found = Classifier(make_classifier(), CLASSES).predict(images)
    assert [CLASSES[place] for place in found.predicted] == [class_by_hand(one) for one in images]
    assert found.features == pytest.approx(np.stack([features_by_hand(one) for one in images]), abs=1e-5)
    turned = Classifier(make_classifier(("裂纹", "Normal", "open")), CLASSES).predict(images[:1])
    assert CLASSES[turned.predicted[0]] == "裂纹"  # its first output has that name now


def test_counts_are_those_of_the_images(judge: FindingsBuilder) -> None:
    normal, opened, crack = judge.classes()
    assert [(one.kept.count, one.kept.of) for one in opened.at] == [(6, 6), (6, 6), (0, 6)]
    assert opened.at[0].changed.count == 0
    assert opened.at[2].changed.count == 6
    assert (normal.sources, normal.learned, normal.held_out, normal.named.count) == (6, 6, 8, 8)
    assert (crack.sources, crack.at[0].kept.rate, crack.limits.images) == (0, None, 0)
    answer = judge.answer()
    assert (answer.kept.count, answer.kept.of, answer.strengths) == (24, 24, (0.3, 0.5))
    assert answer.keeps is True
    assert (answer.kept_of_named.count, answer.kept_of_named.of) == (24, 24)
    assert answer.both.count == answer.changed.count == sum(one.at[1].changed.count for one in (normal, opened))


def test_a_source_that_the_classifier_does_not_recognise_loses_nothing(make_classifier: MakeClassifier) -> None:
    # Seven opens, two of them too faint to be recognised; all images made from them look normal.
    sources = [real(1, number) for number in range(5)]
    faint = [RealImage(real(0, number).pixels, 1, f"faint {number}", f"faint {number}") for number in (7, 8)]
    normal = tuple(real(0, number).pixels for number in range(20, 27))
    same = tuple(one.pixels for one in (*sources, *faint))
    made = GeneratedSamples((*sources, *faint), (same, normal), same[:1], (1,))
    material, classifier = Material((*sources, *faint), (), ()), Classifier(make_classifier(), CLASSES)
    images = [one.pixels for one in material.learned]
    learned, nothing = classifier.predict(images), classifier.predict([])
    looked = ClassifiedImages(
        learned, nothing, tuple(classifier.predict(one) for one in made.by_strength), classifier.predict(same[:1])
    )
    nearness = MemorisationCheck(
        CLASSES, material, made, learned=learned, held_out=nothing, pure=looked.pure, symmetry=Symmetry()
    )
    judge = FindingsBuilder(
        CLASSES, material, made, looked, make_settings(strengths=(0.3, 0.5)), nearness, progress=False
    )
    opened = judge.classes()[1]
    assert (opened.sources_named.count, opened.sources_named.of) == (5, 7)
    assert [(one.kept.count, one.kept.of) for one in opened.at] == [(5, 7), (0, 7)]
    assert [(one.kept_of_named.count, one.kept_of_named.of) for one in opened.at] == [(5, 5), (0, 5)]
    assert opened.limits.high == 0.32  # on the line from all at 0.3 to none at 0.5
    assert opened.limits.images == 5


def test_sets_are_compared_with_the_held_out_images_of_the_class(judge: FindingsBuilder) -> None:
    opened = judge.classes()[1]
    held = np.stack([features_by_hand(one.pixels) for one in HELD_OUT if one.label == 1])
    sources = np.stack([features_by_hand(one.pixels) for one in SOURCES if one.label == 1])
    expected = precision_and_recall(sources, held, 3)
    # Strength 0.3 returned the sources, so its figures are those of the floor.
    for found in (opened.at[0].compared, opened.floor_sources):
        assert (found.precision.value, found.recall.value) == pytest.approx(expected)
        assert (found.made, found.real) == (6, 8)
    others = np.stack([features_by_hand(real(0, 70 + number).pixels) for number in range(6, 12)])
    found = opened.at[2].compared
    assert (found.precision.value, found.recall.value) == pytest.approx(precision_and_recall(others, held, 3))
    assert found.recall.value == 0.0
    distances = [one.compared.kernel_distance.value or 0.0 for one in opened.at]
    assert distances[2] > 5 * max(abs(one) for one in distances[:2])
    assert (opened.floor_held_out.made, opened.floor_held_out.real) == (4, 4)


def test_copies_and_mirrored_copies_are_found(judge: FindingsBuilder) -> None:
    normal, opened, crack = judge.classes()
    assert (opened.nearness.copies.count, opened.nearness.copies.of) == (2, 2)
    assert opened.nearness.pixel_ratio.value == pytest.approx(0, abs=1e-3)
    assert opened.nearness.pixel_nearer_rate == 1.0
    assert normal.nearness.copies.count >= 1
    assert normal.nearness.real_are == "held-out real pictures"
    assert crack.nearness.pixel_ratio.value is None


def test_means_over_classes_leave_out_the_undefined(judge: FindingsBuilder) -> None:
    classes = judge.classes()
    together = judge.together(classes)
    values = [one.at[1].compared.precision.value for one in classes]
    assert values[2] is None
    assert together[1].compared.precision.value == pytest.approx(np.mean([one for one in values if one is not None]))
    assert (together[1].kept.count, together[1].kept.of) == (12, 12)


def test_a_strength_range_nobody_tested_is_undefined(tmp_path: Path) -> None:
    from generator.report.page import answer_in_words
    from generator.report.results import KeepChangeAnswer
    from generator.report.stats import share_of

    nothing = share_of([], [])
    assert "undefined" in answer_in_words(KeepChangeAnswer((), nothing, nothing, nothing, nothing, 0.9, 0.5))[0]


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
    contents = json.loads(done.stdout)
    assert contents == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    by_name = {one["name"]: one for one in contents["classes"]}
    # Only drawings that the model did not learn from are held out.
    assert {name: (one["learned"], one["held_out"], one["sources"]) for name, one in by_name.items()} == {
        "Normal": (6, 6, 4),
        "open": (6, 6, 4),
        "裂纹": (3, 6, 3),
    }
    assert by_name["裂纹"]["at"][0]["compared"]["precision"]["value"] is None  # 3 images, k is 3
    assert by_name["裂纹"]["at"][0]["compared"]["kernel_distance"]["value"] is not None
    assert contents["answer"]["kept"]["of"] == 2 * (4 + 4 + 3)
    assert contents["answer"]["strengths"] == [0.25, 0.5]
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
        limits, StrengthLimits(0.2, 0.5, 90), RecommendedSampling("DPM++ 2M Karras", 20, 2.0, 64), model="板"
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


def test_without_held_out_images_comparisons_are_undefined(
    trained: Trained, make_classifier: MakeClassifier, tmp_path: Path
) -> None:
    model, data = trained
    shutil.copytree(data / "train", tmp_path / "data" / "train")
    done = run(model, tmp_path / "data", "--classifier", make_classifier(), "-o", tmp_path / "r", *QUICK, "--json")
    assert done.exit_code == 0, done.output
    contents = json.loads(done.stdout)
    assert contents["floor_held_out"]["precision"]["value"] is None
    assert contents["classes"][0]["nearness"]["real_are"] == "pictures learned from, each without itself"
    assert any("No held-out pictures" in note for note in contents["notes"])


def test_data_of_another_model_is_refused_in_words(
    trained: Trained, make_classifier: MakeClassifier, tmp_path: Path
) -> None:
    model, data = trained
    classifier = make_classifier()
    draw_classes(tmp_path / "a" / "train", {"Normal": 6, "open": 6})
    draw_classes(tmp_path / "b" / "train", dict.fromkeys(CLASSES, 4), size=(20, 20))
    cases = [
        ((model, tmp_path / "a"), r"the model's class '裂纹' is missing"),
        ((model, tmp_path / "b"), r"learned from none of these images"),
        ((model, tmp_path), r"no folder 'train' in it"),
        ((tmp_path, data), r"in it; expected a folder that 'generator train' wrote"),
    ]
    for arguments, words in cases:
        done = run(*arguments, "--classifier", classifier, *QUICK)
        assert done.exit_code == 1
        assert words in done.stderr
        assert "Traceback" not in done.output


def test_an_unusable_setting_is_named(trained: Trained, make_classifier: MakeClassifier) -> None:
    for option, words in (
        (["--strengths", "0.5,0.2"], "expected them in rising order"),
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
