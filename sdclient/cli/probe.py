"""The command `probe`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import INTERRUPTED, PATH, Output

from ..errors import SDClientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..contact_sheets import ProbeReport
    from ..probe import GridSetting, Sample, SettingResult

_EPILOG = """\b
Examples:
  sdclient probe sources probe.png
  sdclient probe sources probe.png --sizes 512 --strengths 0.2,0.25,0.3 --per-class 4 --prompt "circuit board"
  sdclient probe sources probe-images --samplers "DPM++ SDE Karras,Euler a"
Then look at the sheet, and give 'sdclient generate' the settings you chose."""


class _Listed(click.ParamType):  # type: ignore[type-arg]  # generic in newer click alone
    """Values parted by commas."""

    name = "list"

    def __init__(self, kind: type[int] | type[float] | type[str]) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The values, or a usage error that names the one at fault."""
        values = []
        for part in (part.strip() for part in str(value).split(",")):
            try:
                values.append(self._kind(part))
            except ValueError:
                self.fail(f"{part!r} in {value!r}; expected values parted by commas, like {param and param.default}")
        if not all(str(item) for item in values):
            self.fail(f"an empty value in {value!r}; expected values parted by commas")
        return tuple(values)


@click.command(epilog=_EPILOG)
@click.argument("sources", type=PATH)
@click.argument("out", type=PATH)
@click.option("--url", help="The WebUI's address; default SDCLIENT_URL, else http://127.0.0.1:7860.")
@click.option("--per-class", type=click.IntRange(min=1), default=2, show_default=True, help="Sources of each class.")
@click.option("--sizes", type=_Listed(int), default="384,512,768", show_default=True, help="Native sizes in px.")
@click.option("--strengths", type=_Listed(float), default="0.15,0.25,0.35", show_default=True, help="Strengths.")
@click.option("--samplers", type=_Listed(str), default="DPM++ SDE Karras", show_default=True, help="Comma-separated.")
@click.option("--steps", type=int, default=20, show_default=True, help="Steps; about strength times as many run.")
@click.option("--cfg-scale", type=float, default=7.0, show_default=True, help="How strictly the prompt is followed.")
@click.option("--prompt", default="", help="What the images show.")
@click.option("--negative-prompt", default="", help="What they do not show.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the first source; then one more each.")
@click.option(
    "--masks",
    "masks_folder",
    type=PATH,
    help="Folder of 'sdclient mask': only sources with a mask are used, and repainted inside it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the table.")
def probe(
    sources: Path,
    out: Path,
    url: str | None,
    per_class: int,
    sizes: tuple[int, ...],
    strengths: tuple[float, ...],
    samplers: tuple[str, ...],
    masks_folder: Path | None,
    as_json: bool,
    **settings: object,
) -> None:
    """Make a few images per class over a grid of settings, and one contact sheet of them to choose by eye.

    OUT is the sheet (ending in .png), or a new folder for the sheet and every image at its source's size. Under each
    image stands its noise score: 0 is as clean as the source; above 0.5 the image counts as spoiled and has a red
    frame. What is there already is not overwritten. Every image is one request.
    """
    from ..client.webui import WebUI
    from ..contact_sheets import ProbeReport
    from ..masks.mask import find_masks
    from ..probe import best_setting, checked_common, grid, own_native_px, pick_sources, run_probe, summarise
    from ..sources.source import discover

    columns = grid(sizes, strengths, samplers)
    common = checked_common(settings, columns)
    files = ProbeReport.at(out)
    found = discover(sources)
    output = Output(json=as_json)
    masks = None
    if masks_folder is not None:
        masks = find_masks(masks_folder, found, unmasked="skip")
        found = [source for source in found if source.relative not in masks.without]
    picked = pick_sources(found, per_class)
    with WebUI(url) as webui:
        native_px = own_native_px(webui)
        samples = run_probe(webui, picked, columns, common, masks=masks)
        made, legend = _make_all(output, samples, files, columns, len(picked) * len(columns))
    results = summarise(made)
    suggested = best_setting(results, native_px)
    output.document(lambda: _as_json(files, made, results, suggested))
    _show(output, results)
    output.line(_in_words(files, suggested, legend))


def _make_all(
    out: Output, samples: Iterator[Sample], files: ProbeReport, columns: Sequence[GridSetting], total: int
) -> tuple[list[Sample], Mapping[str, str]]:
    """Everything with a progress bar; what was made before something went wrong is drawn too."""
    from tqdm import tqdm

    made: list[Sample] = []
    try:
        for sample in tqdm(samples, total=total, unit="image", desc="probe", dynamic_ncols=True):
            made.append(sample)  # noqa: PERF402 - kept when the server fails half-way
    except KeyboardInterrupt:
        if made:
            files.write(made, columns)
            out.note(f"\nStopped; what was made so far is on {files.sheet}.")
        raise click.exceptions.Exit(INTERRUPTED) from None
    except SDClientError:
        if made:
            files.write(made, columns)
        raise
    return made, files.write(made, columns)


def _show(out: Output, results: Sequence[SettingResult]) -> None:
    heads = ("column 列", "size 尺寸", "strength 重绘幅度", "sampler 采样器", "mean noise score 噪声分")
    rows = [
        (
            str(number),
            str(result.setting.native_px),
            f"{result.setting.denoising_strength:g}",
            result.setting.sampler,
            _number(result.mean_noise_score),
            f"{result.spoiled} of {result.images}",
            _number(result.seconds_per_image),
            "; ".join(result.reasons),
        )
        for number, result in enumerate(results, 1)
    ]
    out.table((*heads, "spoiled 废图", "s/image 秒/张", "why 原因"), rows, align="rrrlrrrl")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _in_words(files: ProbeReport, suggested: SettingResult | None, legend: Mapping[str, str]) -> str:
    lines = [f"{key} on the sheet: {label}" for key, label in legend.items()]
    if suggested is None:
        lines.append("Every setting spoiled an image; try a size nearer to the model's own, or a lower strength.")
    else:
        lines.append(f"The scores speak for: {suggested.setting}; for 'sdclient generate':")
        lines.append(f"  {suggested.setting.as_options}")
        lines.append("They tell noise, not whether a defect is still one: look at the sheet before you choose.")
    return "\n".join([*lines, f"Sheet: {files.sheet}"])


def _as_json(
    files: ProbeReport, made: Sequence[Sample], results: Sequence[SettingResult], suggested: SettingResult | None
) -> dict[str, Any]:

    return {
        "sheet": str(files.sheet),
        "settings": [asdict(result) for result in results],
        "suggested": None if suggested is None else asdict(suggested.setting),
        "images": [
            {
                "source": sample.source.relative,
                "setting": asdict(sample.setting),
                **{name: getattr(sample, name) for name in ("noise_score", "reason", "seconds")},
            }
            for sample in made
        ],
    }
