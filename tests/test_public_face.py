"""What each package shows to users, name by name; a new name is added here on purpose."""

from __future__ import annotations

import subprocess
import sys

import pytest

import generator
import sdclient
import sdcore
import trainer

FACES = {
    sdcore: "",
    sdclient: "CallOptions GeneratedImage GenerationResult Img2ImgRequest JobProgress RetryPolicy SDClientError"
    " Timeouts Txt2ImgRequest WebUI __version__",
    trainer: "AugmentConfig TrainConfig TrainerError TrainingJob __version__ check_folder compare count_images diagnose"
    " evaluate explain export load_arm predict predict_folder read_predictions run_experiment split split_folds train"
    " train_seeds",
    generator: "GeneratorError LoraSettings NetworkConfig TrainConfig __version__ load_model make_report train"
    " train_lora write_report",
}


@pytest.mark.parametrize("package", FACES, ids=lambda package: package.__name__)
def test_a_package_shows_these_names_and_no_others(package: object) -> None:
    assert sorted(package.__all__) == FACES[package].split()  # type: ignore[attr-defined, index]


@pytest.mark.parametrize(
    ("package", "name"),
    [(package, name) for package, names in FACES.items() for name in names.split()],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_every_name_resolves_and_no_module_hides_it(package: object, name: str) -> None:
    thing = getattr(package, name)
    assert name == "__version__" or thing.__name__ in (name, "SDError")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'trainer' has no attribute 'nope'"):
        trainer.nope  # noqa: B018


@pytest.mark.parametrize("package", ["sdclient", "trainer", "generator"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    code = f"import sys, {package}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "PIL", "pydantic", "requests", "click"} & set(done.stdout.split())
