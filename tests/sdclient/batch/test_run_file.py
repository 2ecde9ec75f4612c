"""A run's settings by class and by source: what holds where, what is drawn, how mistakes are reported."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import asdict, fields
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sdclient.batch import GenerationSettings, RunSpec, load_run_file
from sdclient.batch.settings import (
    DRAWN_NAMES,
    IMAGE_NAMES,
    INPAINTING_NAMES,
    ImageParameters,
    Inpainting,
    parse_assignment,
)
from sdclient.output.planned_images import seed_base
from sdclient.sources import Source
from sdcore.errors import SettingsError

RUN_FILE = """
seed = 7
denoising_strength = "0.2:0.3"
cfg_scale = [6, 7.5, 9]
prompt = "macro photo of {class}, __light__"
negative_prompt = "__side__"

[wildcards]
side = ["left", "right"]

[class."焊盘"]
denoising_strength = {min = 0.15, max = 0.2}
steps = 30

[class.dirt]
cfg_scale = 5
prompt = "dirt {number}"

[source."焊盘/3.png"]
steps = 40
sampler = "Euler a"
scheduler = "Karras"
native_px = 768
"""
WriteRunFile = Callable[..., Path]


def source(class_name: str = "焊盘", number: int = 3) -> Source:
    return Source(class_name, number, Path("sources") / class_name / f"{number}.png")


def spec_of(**values: Any) -> RunSpec:
    return RunSpec.from_mapping(values, origin="run.toml")


@pytest.fixture
def write_run_file(tmp_path: Path) -> WriteRunFile:
    def write(text: str | bytes = RUN_FILE, light: str = "ring light\ndark field\n") -> Path:
        folder = tmp_path / "批次"
        (folder / "wildcards").mkdir(parents=True)
        (folder / "wildcards" / "light.txt").write_text(light, encoding="utf-8")
        (folder / "run.toml").write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return folder / "run.toml"

    return write


@pytest.fixture
def spec(write_run_file: WriteRunFile) -> RunSpec:
    return load_run_file(write_run_file())


def test_what_was_drawn_stays_what_it_is(spec: RunSpec) -> None:
    """Golden values: if these change, no output folder with drawn settings made before can be resumed."""
    seed = seed_base(7, "焊盘", 3)
    assert [spec.parameters_for(source(), k, seed + k - 1) for k in (1, 2)] == [
        ImageParameters(
            denoising_strength=0.19,
            sampler="Euler a",
            scheduler="Karras",
            steps=40,
            cfg_scale=7.5,
            prompt="macro photo of 焊盘, dark field",
            negative_prompt="right",
            native_px=768,
        ),
        ImageParameters(
            denoising_strength=0.172,
            sampler="Euler a",
            scheduler="Karras",
            steps=40,
            cfg_scale=9.0,
            prompt="macro photo of 焊盘, ring light",
            negative_prompt="left",
            native_px=768,
        ),
    ]


def test_the_most_specific_section_counts(spec: RunSpec) -> None:
    own, class_only, other = source(), source(number=4), source("dirt", 1)
    assert [spec.settings_for(one)["steps"] for one in (own, class_only, other)] == [40, 30, 20]
    assert [spec.settings_for(one)["sampler"] for one in (own, class_only)] == ["Euler a", "DPM++ SDE Karras"]
    assert spec.settings_for(other)["cfg_scale"] == 5.0
    assert spec.settings_for(own)["cfg_scale"] == spec.common["cfg_scale"]
    assert spec.parameters_for(other, 1, 0).prompt == "dirt 1"
    strengths = {spec.parameters_for(own, 1, seed).denoising_strength for seed in range(500)}
    assert (min(strengths), max(strengths), len(strengths)) == (0.15, 0.2, 51)


def test_seed_and_batch_size_are_those_of_the_run(spec: RunSpec) -> None:
    assert (spec.seed, spec.batch_size) == (7, 4)
    assert (spec_of(batch_size=9).seed, spec_of(batch_size=9).batch_size) == (0, 9)


plain_settings = st.builds(
    GenerationSettings,
    denoising_strength=st.floats(0, 1),
    sampler=st.text(max_size=8),
    scheduler=st.none() | st.text(max_size=8),
    steps=st.integers(1, 150),
    cfg_scale=st.floats(0, 30),
    prompt=st.text(st.characters(exclude_characters="{}_", codec="utf-8")),
    negative_prompt=st.text(st.characters(exclude_characters="{}_", codec="utf-8")),
    seed=st.integers(0, 2**63 - 1),
    native_px=st.none() | st.integers(8, 256).map(lambda eighth: 8 * eighth),
    batch_size=st.integers(1, 64),
)


@given(plain_settings, st.integers(1, 10**6), st.integers(0, 2**32 - 1))
def test_plain_settings_come_out_as_they_went_in(settings: GenerationSettings, k: int, seed: int) -> None:
    """To the letter, for keys are made of them: 7.0 must not become 7."""
    spec = RunSpec.from_settings(settings)
    out = asdict(spec.parameters_for(source(), k, seed))
    expected = settings.model_dump(mode="json", exclude={"seed", "batch_size", "loras", *INPAINTING_NAMES})
    assert out.pop("inpainting") is None
    assert json.dumps(out, sort_keys=True) == json.dumps(expected, sort_keys=True)
    assert (spec.seed, spec.batch_size) == (settings.seed, settings.batch_size)


def test_parameters_are_what_a_section_may_hold() -> None:
    names = {field.name for of in (ImageParameters, Inpainting) for field in fields(of)}
    # A LoRA becomes a part of the prompt.
    assert names - {"inpainting", "mask_sha256"} == set(IMAGE_NAMES) - {"loras"}


def test_integers_and_numbers_of_a_file_become_what_the_settings_say() -> None:
    spec = spec_of(cfg_scale=7, denoising_strength=[0, 1], steps=20.0)
    made = spec.parameters_for(source(), 1, 0)
    assert [type(value) for value in (made.cfg_scale, made.denoising_strength, made.steps)] == [float, float, int]


def test_what_an_image_gets_depends_on_nothing_but_its_source_and_seed(spec: RunSpec, tmp_path: Path) -> None:
    images = [(source(name, number), k) for name in ("焊盘", "dirt") for number in (1, 3) for k in range(1, 30)]

    def made(of: RunSpec, some: list[tuple[Source, int]]) -> dict[tuple[Source, int], ImageParameters]:
        return {
            (one, k): of.parameters_for(one, k, seed_base(7, one.class_name, one.number) + k - 1) for one, k in some
        }

    everything = made(spec, images)
    shuffled = random.Random(1).sample(images, 60)
    assert made(spec, shuffled) == {image: everything[image] for image in shuffled}
    assert made(load_run_file(tmp_path / "批次" / "run.toml"), images) == everything
    assert len(set(everything.values())) > 50


def test_another_section_or_setting_leaves_the_other_draws_alone() -> None:
    before = spec_of(denoising_strength="0.2:0.3", cfg_scale=[5, 6, 7])
    after = spec_of(denoising_strength="0.2:0.3", cfg_scale="1:30", prompt="new", **{"class": {"dirt": {"steps": 9}}})
    for seed in range(200):
        one, other = (spec.parameters_for(source(), 1, seed) for spec in (before, after))
        assert one.denoising_strength == other.denoising_strength


@pytest.mark.parametrize(("choices", "mean"), [([0.2, 0.3], 1.875), ([0.2, 0.25, 0.3], 40 / 27)])
def test_images_of_a_short_list_still_share_requests(choices: list[float], mean: float) -> None:
    """Expected images a request: (1 - p^4) / (1 - p) for at most 4, where neighbours are equal with p = 1 / choices."""
    spec = spec_of(denoising_strength=choices)
    made = [spec.parameters_for(source(), k, seed_base(0, "焊盘", 3) + k - 1) for k in range(1, 20_001)]
    requests = sum(-(-len(list(run)) // 4) for _, run in groupby(made))
    assert len(made) / requests == pytest.approx(mean, rel=0.02)


def test_an_override_goes_before_every_section(spec: RunSpec) -> None:
    fixed = spec.with_overrides([parse_assignment("denoising-strength=0.4,0.5"), parse_assignment("steps=12")])
    for one in (source(), source(number=9), source("dirt", 1)):
        made = [fixed.parameters_for(one, 1, seed) for seed in range(40)]
        assert {image.steps for image in made} == {12}
        assert {image.denoising_strength for image in made} == {0.4, 0.5}
    assert fixed.settings_for(source())["sampler"] == "Euler a"
    assert spec.settings_for(source())["steps"] == 40


def test_the_last_override_of_a_setting_counts(spec: RunSpec) -> None:
    assert spec.with_overrides([("steps", 5), ("seed", 3), ("steps", 6)]).common["steps"] == 6
    assert spec.with_overrides({}) == spec


def test_an_override_may_name_a_wildcard_beside_the_run_file(spec: RunSpec) -> None:
    fixed = spec.with_overrides({"prompt": "__light__"})
    assert {fixed.parameters_for(source(), 1, seed).prompt for seed in range(20)} == {"ring light", "dark field"}
    with pytest.raises(SettingsError, match="wildcard __dark__"):
        spec.with_overrides({"prompt": "__dark__"})


@pytest.mark.parametrize(
    ("values", "words"), [({"step": 3}, "overrides: unknown setting 'step'"), ({"steps": 0}, "overrides: steps is 0")]
)
def test_an_invalid_override_is_named(spec: RunSpec, values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        spec.with_overrides(values)


def test_the_configuration_is_complete_and_can_be_read_back(spec: RunSpec) -> None:
    saved = json.loads(json.dumps(spec.as_dict()))
    assert saved == {
        "batch_size": 4,
        "cfg_scale": [6.0, 7.5, 9.0],
        "denoising_strength": {"min": 0.2, "max": 0.3},
        "inpaint_area": "masked",
        "inpaint_fill": "original",
        "inpaint_padding": 32,
        "loras": [],
        "mask_blur": 2,
        "native_px": None,
        "negative_prompt": "__side__",
        "prompt": "macro photo of {class}, __light__",
        "sampler": "DPM++ SDE Karras",
        "scheduler": None,
        "seed": 7,
        "steps": 20,
        "class": {
            "dirt": {"cfg_scale": 5.0, "prompt": "dirt {number}"},
            "焊盘": {"denoising_strength": {"min": 0.15, "max": 0.2}, "steps": 30},
        },
        "source": {"焊盘/3.png": {"native_px": 768, "sampler": "Euler a", "scheduler": "Karras", "steps": 40}},
        "wildcards": {"light": ["ring light", "dark field"], "side": ["left", "right"]},
    }
    again = RunSpec.from_mapping(saved, origin="manifest")
    assert again.as_dict() == saved
    for seed in range(50):
        assert again.parameters_for(source(), 1, seed) == spec.parameters_for(source(), 1, seed)


def test_the_order_of_a_file_does_not_change_its_configuration() -> None:
    one = spec_of(steps=3, seed=4, **{"class": {"a": {"steps": 1, "cfg_scale": 2}, "b": {}}})
    other = spec_of(seed=4, **{"class": {"b": {}, "a": {"cfg_scale": 2, "steps": 1}}}, steps=3)
    assert json.dumps(one.as_dict()) == json.dumps(other.as_dict())


def test_wildcards_that_no_prompt_names_are_no_part_of_the_configuration() -> None:
    assert spec_of(wildcards={"light": ["ring"]}).as_dict()["wildcards"] == {}


def test_each_sampler_in_use_is_reported_once(spec: RunSpec) -> None:
    every = [source(), source(number=4), source("dirt", 1)]
    assert spec.samplers_for(every) == [("Euler a", "Karras"), ("DPM++ SDE Karras", None)]
    assert spec.samplers_for([]) == []


def test_an_empty_file_is_the_defaults(write_run_file: WriteRunFile) -> None:
    spec = load_run_file(write_run_file(""))
    assert spec.as_dict() == RunSpec.from_settings(GenerationSettings()).as_dict()


def test_a_file_with_a_byte_order_mark_is_read(write_run_file: WriteRunFile) -> None:
    assert load_run_file(write_run_file(b"\xef\xbb\xbfsteps = 3")).common["steps"] == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("step = 3", r"run.toml: unknown setting 'step'; did you mean 'steps'\?"),
        ("denoising-strength = 0.3", "unknown setting 'denoising-strength'; did you mean 'denoising_strength'"),
        ("steps = 0", "run.toml: steps is 0; expected a whole number from 1 on"),
        ("cfg_scale = []", "run.toml: cfg_scale is an empty list"),
        ('denoising_strength = "0.3:0.2"', "run.toml: denoising_strength: the range's lower end 0.3"),
        ("cfg_scale = inf", "run.toml: cfg_scale is inf"),
        ("[class.pad]\nstep = 3", r'run.toml: \[class."pad"\]: unknown setting \'step\''),
        ("[class.pad]\nseed = 3", r'run.toml: \[class."pad"\]: seed holds for the whole run'),
        ("[class.pad]\nsteps = 0", r'run.toml: \[class."pad"\]: steps is 0'),
        ("[class.a.b]\nsteps = 3", r'run.toml: \[class."a"\]: unknown section \'b\'.*need the quotes'),
        ('[source."pad/3.png"]\ncfg_scale = [7, "x"]', r'\[source."pad/3.png"\]: cfg_scale is \'x\''),
        ('[source."3.png"]\nsteps = 3', r'\[source."3.png"\]: expected \[source."<class>/<file>"\]'),
        ("[source.pad.3]\nsteps = 3", r'\[source."pad"\]: expected \[source."<class>/<file>"\]'),
        ("class = 3", r"run.toml: \[class\]: found 3; expected a section"),
        ("[class]\npad = 3", r'run.toml: \[class."pad"\]: found 3; expected a section'),
        ("[classes.pad]\nsteps = 3", "run.toml: unknown section 'classes'"),
        ("[wildcards]\nlight = []", r"run.toml: \[wildcards\]: light is an empty list"),
        ("[class.焊盘]", r'run.toml: not TOML: .*names beyond a-z.*\[class."焊盘"\]'),
        ("sampler = Euler a", "run.toml: not TOML: .*texts need quotes"),
        ('prompt = "{kind}"', r"run.toml: prompt: unknown placeholder \{kind\}"),
        ('[class.pad]\nprompt = "__dark__"', r'run.toml: \[class."pad"\]: prompt: wildcard __dark__: .*dark.txt'),
        ('negative_prompt = "__dark__"', "run.toml: negative_prompt: wildcard __dark__"),
        ('prompt = "焊盘"'.encode("gbk"), "run.toml: not UTF-8; save it as UTF-8"),
    ],
)
def test_a_mistake_is_named_by_file_section_and_key(
    write_run_file: WriteRunFile, text: str | bytes, words: str
) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        load_run_file(write_run_file(text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.toml: cannot be read: No such file"):
        load_run_file(tmp_path / "nothing.toml")


def test_an_empty_wildcard_file_is_named(write_run_file: WriteRunFile) -> None:
    with pytest.raises(SettingsError, match=r"light\.txt: holds no text"):
        load_run_file(write_run_file(light="# later\n\n"))


def test_sections_must_be_of_classes_and_sources_that_are_there(spec: RunSpec) -> None:
    every = [source(), source("dirt", 1)]
    spec.check_against(every)
    with pytest.raises(SettingsError, match=r'\[class."dirt"\]: no such class among the sources; .* \'dirts\'\?'):
        spec.check_against([source(), source("dirts", 1)])
    with pytest.raises(SettingsError, match=r'\[source."焊盘/3.png"\]: no such source; did you mean .*焊盘/4.png'):
        spec.check_against([source(number=4), source("dirt", 1)])
    with pytest.raises(SettingsError, match="no such class among the sources; there are none"):
        spec.check_against([])


PAGE = Path(__file__).parents[3] / "docs" / "run-file.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's folder, with the page's run.toml."""
    monkeypatch.chdir(tmp_path)
    (main,) = blocks("toml")
    Path("run.toml").write_text(main, encoding="utf-8")


@pytest.mark.usefixtures("in_folder")
def test_the_python_examples_run_one_after_the_other() -> None:
    names: dict[str, Any] = {}
    assert len(blocks("python")) == 6
    for block in blocks("python"):
        exec(compile(block, str(PAGE), "exec"), names)


@pytest.mark.usefixtures("in_folder")
def test_each_mistake_is_reported_in_the_words_of_the_page() -> None:
    mistakes, messages = blocks("toml mistake"), blocks("text")
    assert len(mistakes) == len(messages) == 2
    for mistake, message in zip(mistakes, messages, strict=True):
        Path("run.toml").write_text(mistake, encoding="utf-8")
        with pytest.raises(SettingsError) as caught:
            load_run_file(Path("run.toml"))
        assert str(caught.value) == message.strip()


def test_the_table_lists_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*?) ?\|$", TEXT, re.MULTILINE))
    defaults = GenerationSettings().model_dump()
    expected = {name: str(default or ("0" if name == "seed" else "")) for name, default in defaults.items()}
    assert rows == {**expected, "native_px": "by the model's name"}
    drawn = set(re.findall(r"^\| `(\w+)` \| .*may be a list or a range", TEXT, re.MULTILINE))
    assert drawn == set(DRAWN_NAMES)


def test_both_forms_of_a_range_mean_the_same() -> None:
    one, other = ({"denoising_strength": form} for form in ("0.2:0.3", {"min": 0.2, "max": 0.3}))
    assert '`"0.2:0.3"` or `{min = 0.2, max = 0.3}`' in TEXT
    assert RunSpec.from_mapping(one, origin="one") == RunSpec.from_mapping(other, origin="one")
