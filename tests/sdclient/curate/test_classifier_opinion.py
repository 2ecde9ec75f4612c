"""A classifier's opinion, from the files of `trainer predict`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdclient.curate import Curator
from sdclient.curate.classifier_opinion import FeatureSpace, read_features, read_opinions, resolve
from sdclient.curate.thresholds import CurationSettings
from sdclient.manifest import Curation, Manifest
from sdcore.errors import SettingsError
from tests.support.images import add_images, sibling, surface

CLASS_OF = {"pit/1_1.png": "pit", "pit/2_1.png": "pit", "pit/3_1.png": "pit"}
HEADER = "image,label,predicted,p_Normal,p_pit,p_stain\n"


def table(folder: Path, rows: str, header: str = HEADER) -> Path:
    path = folder / "predictions.csv"
    path.write_text(header + rows, encoding="utf-8-sig", newline="")
    return path


def features(path: Path, names: list[str], labels: list[str], rows: np.ndarray) -> Path:  # type: ignore[type-arg]
    with path.open("wb") as file:
        np.savez(file, features=rows.astype("<f4"), images=np.array(names), labels=np.array(labels), classes=["pit"])
    return path


def test_probabilities_are_read_by_name(tmp_path: Path) -> None:
    path = table(tmp_path, "pit/1_1.png,,pit,.2,.7,.1\r\n_masks/pit/1_1.png,,pit,.2,.7,.1\r\n")
    found = read_opinions(path, tmp_path, CLASS_OF, normal="Normal")
    assert found == {"pit/1_1.png": {"p_class": 0.7, "p_normal": 0.2, "p_other": 0.1}}


def test_a_class_that_the_classifier_does_not_know_has_no_probability(tmp_path: Path) -> None:
    path = table(tmp_path, "pit/1_1.png,,a,.4,.6\n", "image,label,predicted,p_a,p_b\n")
    found = read_opinions(path, tmp_path, CLASS_OF, normal="Normal")
    assert found["pit/1_1.png"] == {"p_class": None, "p_normal": None, "p_other": 0.6}


def test_names_that_lead_into_the_output_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    output = Path("runs/output")
    assert resolve("pit/1_1.png", output, CLASS_OF) == "pit/1_1.png"
    assert resolve("runs/output/pit/1_1.png", output, CLASS_OF) == "pit/1_1.png"
    assert resolve(str(tmp_path / "runs" / "output" / "pit" / "1_1.png"), output, CLASS_OF) == "pit/1_1.png"
    assert resolve("elsewhere/pit/1_1.png", output, CLASS_OF) is None
    assert resolve("runs/output/pit/9_9.png", output, CLASS_OF) is None


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        ("pit/1_1.png,,pit,.2,x,.1\n", HEADER, "line 2: p_pit is 'x'"),
        ("pit/1_1.png,,pit,.2,1.7,.1\n", HEADER, "line 2: p_pit is '1.7'"),
        ("pit/1_1.png,,pit,.2,.2\n", HEADER, "line 2: p_stain is None"),
        ("pit/1_1.png,,pit,.2,.2,.2\n", HEADER, "line 2: the probabilities add up to 0.6000"),
        ("", "file,p_a,p_b\n", "line 1: columns file, p_a, p_b; expected image"),
        ("", "", "line 1: columns none"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(
    tmp_path: Path, rows: str, header: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=words.replace("(", r"\(")):
        read_opinions(table(tmp_path, rows, header), tmp_path, CLASS_OF, normal="Normal")


def test_a_missing_table_leads_to_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file; make it with 'trainer predict"):
        read_opinions(tmp_path / "none.csv", tmp_path, CLASS_OF, normal="Normal")
    with pytest.raises(SettingsError, match="no such file"):
        read_features(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    with pytest.raises(SettingsError, match="not a features file"):
        read_features(tmp_path / "broken.npz")


def test_features_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"shape \(3, 2\) for 1 images"):
        read_features(features(tmp_path / "f.npz", ["a"], [""], np.ones((3, 2))))
    with pytest.raises(SettingsError, match="no numbers"):
        read_features(features(tmp_path / "f.npz", ["a"], [""], np.full((1, 2), np.nan)))


def test_the_distance_is_the_mean_cosine_distance_to_the_nearest_three() -> None:
    real = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    space = FeatureSpace({"pit": real, "none": np.zeros((0, 2))})
    assert space.distance("pit", np.array([5.0, 0.0])) == pytest.approx((0 + 0 + 1) / 3)
    assert space.distance("none", np.array([5.0, 0.0])) is None
    assert space.distance("unknown", np.array([5.0, 0.0])) is None


def test_real_features_teach_a_limit_that_few_of_their_kind_overstep() -> None:
    rng = np.random.default_rng(0)
    centre = rng.normal(0, 1, 16) * 3
    space = FeatureSpace({"pit": centre + rng.normal(0, 1, (60, 16))})
    limit = space.limits()["pit"].value
    own = [space.distance("pit", centre + rng.normal(0, 1, 16)) for _ in range(200)]
    far = [space.distance("pit", rng.normal(0, 1, 16) * 3) for _ in range(200)]
    assert np.mean([one > limit for one in own if one is not None]) < 0.03
    assert np.mean([one > limit for one in far if one is not None]) > 0.95


def test_the_opinion_decides_and_is_kept_for_the_next_time(output: Path, tmp_path: Path) -> None:
    path = table(tmp_path, "pit/1_1.png,,Normal,.7,.2,.1\npit/2_1.png,,stain,.1,.2,.7\npit/3_1.png,,pit,.1,.8,.1\n")
    expected = {"pit/1_1.png": ("looks_normal",), "pit/2_1.png": ("wrong_class",), "pit/3_1.png": ()}
    for settings in (CurationSettings(predictions=path), CurationSettings()):
        with Manifest(output, create=True) as manifest:
            curator = Curator(output, manifest, settings)
            curator.score_missing()
            assert {one.file: one.reasons for one in curator.judge()} == expected
            assert Curation(manifest).scores()["pit/2_1.png"]["p_other"] == 0.7


def test_what_real_images_are_given_teaches_the_limits(output: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = []
    for k in range(60):
        normal, stain = 0.3 * rng.random(2)
        rows.append(f"pit/{k}.png,pit,pit,{normal:.6f},{1 - normal - stain:.6f},{stain:.6f}")
    real = tmp_path / "real.csv"
    real.write_text(HEADER + "\n".join(rows), encoding="utf-8")
    path = table(tmp_path, "pit/1_1.png,,stain,.02,.48,.5\npit/2_1.png,,stain,.05,.15,.8\npit/3_1.png,,a,.7,.2,.1\n")
    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest, CurationSettings(predictions=path, real_predictions=real))
        curator.score_missing()
        limits = curator.limits()["pit"]
        judged = {one.file: one.reasons for one in curator.judge()}
    assert limits.min_p_class is not None
    assert 0.4 < limits.min_p_class < 0.48
    assert limits.max_p_normal == pytest.approx(0.5)
    # Real ones are doubted as much as the first, which without them would be of the wrong class.
    assert judged == {"pit/1_1.png": (), "pit/2_1.png": ("wrong_class",), "pit/3_1.png": ("looks_normal",)}


def test_opinions_of_real_images_alone_are_refused() -> None:
    with pytest.raises(SettingsError, match="give --predictions of the output"):
        CurationSettings(real_predictions=Path("real.csv"))


def test_an_image_made_after_the_table_is_not_in_it(output: Path, sources: Path, tmp_path: Path) -> None:
    path = table(tmp_path, "pit/1_1.png,,Normal,.7,.2,.1\npit/4_1.png,,Normal,.7,.2,.1\n")
    add_images(output, sources, {"pit/4_1.png": sibling(surface(4), 4)}, created_at="2999-01-01T00:00:00+00:00")
    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest, CurationSettings(predictions=path))
        curator.score_missing()
        judged = {one.file: one.reasons for one in curator.judge()}
    assert judged["pit/1_1.png"] == ("looks_normal",)
    assert judged["pit/4_1.png"] == ()


def test_features_far_from_the_class_reject(output: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    real = np.array([4.0, 0, 0, 0]) + 0.3 * rng.normal(0, 1, (40, 4))
    given = CurationSettings(
        features=features(
            tmp_path / "o.npz", list(CLASS_OF), [""] * 3, np.array([[4.0, 0, 0, 0], [0, 4, 0, 0], [4, 0.1, 0, 0]])
        ),
        real_features=features(tmp_path / "r.npz", [f"pit/{k}.png" for k in range(40)], [""] * 40, real),
    )
    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest, given)
        curator.score_missing()
        assert {one.file: one.reasons for one in curator.judge()} == {
            "pit/1_1.png": (),
            "pit/2_1.png": ("far_from_class",),
            "pit/3_1.png": (),
        }


def test_features_of_one_side_alone_are_refused() -> None:
    with pytest.raises(SettingsError, match="give both --features and --real-features"):
        CurationSettings(features=Path("f.npz"))
