"""Runs with LoRAs, against the embedded server and several of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings, RunSpec, Server, load_run_file
from sdclient.batch.servers import check_server
from sdclient.cli import cli
from sdclient.client import WebUI
from sdclient.errors import SettingSubstituted, UnknownSetting
from sdclient.manifest import Manifest
from sdclient.models import Txt2ImgRequest
from sdclient.sources import Source, discover
from sdclient.testing import serve_webui
from sdcore.errors import SettingsError
from tests.support.fake_webui import FakeWebUI

QUICK: dict[str, Any] = {"native_px": 64, "steps": 4, "batch_size": 2}


def run(url: str, sources: Path, output: Path, settings: GenerationSettings | RunSpec) -> list[str]:
    with WebUI(url) as webui:
        runner = BatchRunner(webui, sources, output, settings, GenerateOptions(check=None))
        made = [record.infotext for record in runner.run([(source, 1) for source in discover(sources)])]
        assert not runner.failed
    return made


def test_a_run_requests_the_lora_and_records_what_the_server_reports(sources_folder: Path, tmp_path: Path) -> None:
    with serve_webui(loras=["defects"]) as server:
        texts = run(
            server.url,
            sources_folder,
            tmp_path / "out",
            GenerationSettings(prompt="a pad", loras=["defects:0.8"], **QUICK),
        )
    assert len(texts) == 3
    assert all(text.startswith("a pad <lora:defects:0.8>\n") for text in texts)
    with Manifest(tmp_path / "out") as manifest:
        for record in manifest.images():
            assert record.asked["prompt"] == "a pad <lora:defects:0.8>"
            assert record.used["extra_generation_params"]["Lora hashes"].startswith("defects: ")
        assert manifest.run()["parameters"]["loras"] == ["defects:0.8"]


def test_nothing_is_sent_when_a_server_does_not_list_it(sources_folder: Path, tmp_path: Path) -> None:
    with serve_webui(loras=["defects"]) as server:
        for settings in (
            GenerationSettings(loras=["defect:0.8"], **QUICK),
            GenerationSettings(prompt="a <lora:defect:1>", **QUICK),
        ):
            with pytest.raises(UnknownSetting, match="no LoRA 'defect'; did you mean 'defects'"):
                run(server.url, sources_folder, tmp_path / "out", settings)
        assert server.jobs == ()
    assert not (tmp_path / "out").exists()


def test_every_server_must_list_it(sources_folder: Path, tmp_path: Path) -> None:
    with serve_webui(loras=["defects"]) as one, serve_webui() as other, WebUI(one.url) as a, WebUI(other.url) as b:
        settings = GenerationSettings(loras=["defects"], **QUICK)
        runner = BatchRunner([Server("a", a), Server("b", b)], sources_folder, tmp_path / "out", settings)
        with pytest.raises(UnknownSetting, match=rf"{b.url}: no LoRA 'defects'"):
            list(runner.run([(source, 1) for source in discover(sources_folder)]))


def test_servers_with_different_files_of_one_name_are_refused(
    sources_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        serve_webui(loras=["defects"]) as one,
        serve_webui(loras=["defects"]) as other,
        WebUI(one.url) as a,
        WebUI(other.url) as b,
    ):
        servers = [Server("a", a), Server("b", b)]
        settings = GenerationSettings(loras=["defects"], **QUICK)
        sources = discover(sources_folder)
        BatchRunner(servers, sources_folder, tmp_path / "out", settings).check(sources)
        entry = b.loras()[0]
        changed = entry.model_copy(update={"metadata": {"sshs_model_hash": "0" * 64}})
        monkeypatch.setattr(b, "loras", lambda: (changed,))
        with pytest.raises(SettingsError, match=r"b has another LoRA 'defects' \(hash 000000000000\) than a"):
            BatchRunner(servers, sources_folder, tmp_path / "out", settings).check(sources)
        BatchRunner(servers, sources_folder, tmp_path / "out", settings, GenerateOptions(allow_mixed=True)).check(
            sources
        )


def test_a_server_that_leaves_it_out_fails_the_images(
    sources_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdclient.batch.servers.find_loras", lambda *_, **__: {})
    with serve_webui() as server, WebUI(server.url) as webui:
        runner = BatchRunner(
            webui,
            sources_folder,
            tmp_path / "out",
            GenerationSettings(loras=["nope"], **QUICK),
            GenerateOptions(tries=1),
        )
        assert list(runner.run([(source, 1) for source in discover(sources_folder)])) == []
        assert len(runner.failed) == 3
        assert all("LoRA 'nope'" in reason for reason in runner.failed.values())


def test_keys_change_with_a_lora_and_stay_what_they_were_without(fake: FakeWebUI, sources_folder: Path) -> None:
    def key_and_run(**settings: Any) -> tuple[str, dict[str, Any]]:
        with WebUI(fake.url) as webui:
            spec = RunSpec.from_settings(GenerationSettings(**settings))
            server = check_server(webui, [("DPM++ SDE Karras", None)])
            parameters = spec.parameters_for(Source("pad", 1, Path("1.png")), 1, 7)
            return json.dumps(server.identity(parameters, 0), sort_keys=True), server.describe_run(spec)

    plain, run_of_plain = key_and_run(prompt="a pad")
    # What an output made before there were LoRAs is known by.
    assert json.loads(plain) == {
        "cfg_scale": 7.0,
        "denoising_strength": 0.25,
        "model": "model",
        "native_px": 512,
        "negative_prompt": "",
        "prompt": "a pad",
        "sampler": "DPM++ SDE Karras",
        "seed": 0,
        "steps": 20,
    }
    assert "lora" not in plain
    assert "loras" not in run_of_plain
    with_lora, run_with_lora = key_and_run(prompt="a pad", loras=["defects:0.8"])
    heavier, _ = key_and_run(prompt="a pad", loras=["defects:0.9"])
    assert len({plain, with_lora, heavier}) == 3
    assert run_with_lora["loras"] == ["defects:0.8"]


def test_a_run_file_gives_classes_their_own(sources_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'prompt = "x, __light__"\nloras = ["defects:0.8"]\n[class.dirt]\nloras = []\n'
        '[class."焊盘"]\nprompt = "pad <lora:{class}:0.5>"\n[wildcards]\nlight = ["ring <lora:glow:1>", "dark"]\n',
        encoding="utf-8",
    )
    spec = load_run_file(tmp_path / "run.toml")
    dirt, pad = Source("dirt", 1, Path("1.png")), Source("焊盘", 2, Path("2.png"))
    assert "defects" not in spec.parameters_for(dirt, 1, 0).prompt
    assert spec.parameters_for(pad, 1, 0).prompt == "pad <lora:焊盘:0.5> <lora:defects:0.8>"
    assert spec.loras_for([dirt]) == ["glow"]
    assert sorted(spec.loras_for([dirt, pad])) == ["defects", "glow", "焊盘"]
    assert RunSpec.from_mapping(spec.as_dict(), origin="again").as_dict() == spec.as_dict()


@pytest.mark.parametrize("value", ['"defects:much"', "[5]", "0.8", '["a:1:2"]', "true"])
def test_an_invalid_lora_in_a_run_file_says_what_was_expected(value: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(f"loras = {value}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"loras is .*expected a list of texts, each NAME or NAME:WEIGHT"):
        load_run_file(tmp_path / "run.toml")


def test_the_command_takes_several(tmp_path: Path) -> None:
    (tmp_path / "sources" / "pad").mkdir(parents=True)
    Image.effect_noise((64, 64), 40).save(tmp_path / "sources" / "pad" / "1.png")
    with serve_webui(loras=["defects", "glow"]) as server:
        command = [
            "generate",
            str(tmp_path / "sources"),
            str(tmp_path / "out"),
            "--url",
            server.url,
            "--per-source",
            "1",
        ]
        command += ["--native-size", "64", "--steps", "4", "--json"]
        done = CliRunner().invoke(cli, [*command, "--lora", "defects:0.8", "--lora", "glow", "--prompt", "a pad"])
        assert done.exit_code == 0, done.output
        refused = CliRunner().invoke(cli, [*command, "--lora", "defcts:0.8"])
    with Manifest(tmp_path / "out") as manifest:
        (record,) = manifest.images()
    assert record.asked["prompt"] == "a pad <lora:defects:0.8> <lora:glow:1>"
    assert refused.exit_code == 1
    assert "no LoRA 'defcts'; did you mean 'defects'" in refused.stderr
    assert "Traceback" not in refused.output


def test_the_embedded_server_leaves_unknown_ones_out_as_a_webui_does() -> None:
    with serve_webui(loras=["defects"]) as server, server.client() as webui:
        assert [lora.name for lora in webui.loras()] == ["defects"]
        assert webui.tells_loras
        webui.set_options({"lora_add_hashes_to_infotext": False})
    with serve_webui() as server, server.client() as webui:
        assert webui.loras() == ()
        with pytest.raises(SettingSubstituted, match="LoRA 'nope'"):
            _one(webui, "x <lora:nope:1>")


def _one(webui: WebUI, prompt: str) -> None:
    webui.txt2img(Txt2ImgRequest(prompt=prompt, width=64, height=64, steps=2))
