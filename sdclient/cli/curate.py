"""The commands `curate` and `review`, which decide what images of an output are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sdcore.cli import PATH, FiniteRange, Output, open_page

from ..errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..curate.reasons import JudgedImage
    from ..curate.scores import ScoringFactory
    from ..curate.thresholds import Thresholds

_CURATE_EPILOG = """\b
Examples:
  sdclient curate output --dry-run --sheet sheets
  sdclient curate output --real data/train
  sdclient curate output --ray auto
  sdclient curate output --predictions predictions.csv --skip-filter face --max-tone 30
A person's decisions on the review page take precedence; docs/curation.md explains what each filter measures."""

_RATE = FiniteRange(0, 1)
_LEVELS = FiniteRange(min=0)
_LIMITS: tuple[tuple[str, FiniteRange, str], ...] = (
    ("max-ssim", FiniteRange(-1, 1), "Too like its source from this likeness on. [default: of each source]"),
    ("max-twin-ssim", FiniteRange(-1, 1), "Near duplicates from this likeness on. [default: of each source]"),
    ("max-noise", _RATE, "Highest score of grey noise. [default: 0.5]"),
    ("max-colour-garbage", _RATE, "Highest score of colour noise. [default: 0.5]"),
    ("max-grain", _LEVELS, "Highest unrest of quiet parts, levels. [default: learned]"),
    ("min-sharpness", _LEVELS, "Lowest sharpness. [default: learned]"),
    ("min-texture", _LEVELS, "Lowest fine texture, levels. [default: learned]"),
    ("max-tone", _LEVELS, "Largest distance in tone, levels. [default: learned]"),
    ("max-colour", _LEVELS, "Largest distance in colour, levels. [default: learned]"),
    ("max-face", _RATE, "A face from this confidence on. [default: 0.7]"),
    ("min-p-class", _RATE, "Lowest probability of its class. [default: learned, else the most probable class]"),
    ("max-p-normal", _RATE, "Highest probability of Normal. [default: learned, else not the most probable class]"),
    ("max-feature-distance", FiniteRange(0, 2), "Largest distance of features. [default: learned]"),
)


def _limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, kind, text in reversed(_LIMITS):
        command = click.option(f"--{name}", type=kind, help=text)(command)
    return command


@click.command(epilog=_CURATE_EPILOG)
@click.argument("output", type=PATH)
@click.option(
    "--real", type=PATH, help="Real images to learn limits from: REAL/<class>/*.png. [default: the run's sources]"
)
@click.option("--sources", type=PATH, help="Where the numbered sources are, if they were moved.")
@click.option("--predictions", type=PATH, help="A classifier's opinion: 'trainer predict RUN OUTPUT'.")
@click.option("--features", type=PATH, help="Its features of OUTPUT: 'trainer predict ... --features'.")
@click.option("--real-features", type=PATH, help="Its features of real images, by class folder.")
@click.option(
    "--real-predictions",
    type=PATH,
    help="Its opinion of real images by class folder, to learn the limits of its opinion from.",
)
@click.option("--normal", default="Normal", show_default=True, help="The class of good boards.")
@_limit_options
@click.option("--skip-filter", "skip", multiple=True, metavar="NAME", help="Leave out a filter, by its reason; repeat.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes for scoring. [default: one a core, up to 4]")
@click.option(
    "--ray",
    "ray_address",
    metavar="ADDRESS",
    help="Score on all nodes of a Ray cluster: auto, or the head's HOST:PORT.",
)
@click.option("--sheet", type=click.Path(path_type=Path, file_okay=False), help="Folder for a contact sheet per class.")
@click.option("--dry-run", is_flag=True, help="Write nothing into OUTPUT; show what would be.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
def curate(
    output: Path,
    sheet: Path | None,
    dry_run: bool,
    as_json: bool,
    skip: tuple[str, ...],
    ray_address: str | None,
    **chosen: Any,
) -> None:
    """Keep the good images of OUTPUT: score each one, and reject what is too like its source or unreal.

    Scores are computed once and kept in the manifest, so that another limit costs a moment. What is unreal is learned
    from real images of the class; what is too alike, from each source taken again (JPEG, sensor noise, a shift).
    """
    if ray_address is not None and chosen["workers"] is not None:
        raise click.UsageError(
            "--workers are processes of this machine; with --ray, each node's --num-cpus says how many"
        )
    try:
        from ..contact_sheets import write_curation_sheets
        from ..curate.curator import Curator
        from ..curate.thresholds import CurationSettings, UserThresholds
    except ImportError as error:
        raise MissingExtra("'sdclient curate'", "curate") from error
    from sdcore.progress import progress_bar

    from ..output.store import curation_manifest

    given = UserThresholds(**{name.replace("-", "_"): chosen.pop(name.replace("-", "_")) for name, _, _ in _LIMITS})
    settings = CurationSettings(limits=given, skip=frozenset(skip), **chosen)
    with open_scoring(ray_address, output) as scoring, curation_manifest(output, is_dry_run=dry_run) as manifest:
        curator = Curator(output, manifest, settings, is_dry_run=dry_run, open_scoring=scoring)
        curator.check_files(progress_bar)
        scored = curator.score_missing(progress_bar)
        judged = curator.judge(progress_bar)
        limits = curator.limits()
        sources = settings.sources or Path(str(manifest.run().get("sources", "")))
    legends = write_curation_sheets(sheet, output, judged, sources) if sheet is not None else {}
    out = Output(json=as_json)
    out.document(lambda: _as_json(judged, limits, scored, dry_run))
    _show_limits(out, limits)
    _show_verdicts(out, judged)
    for path, legend in legends.items():
        labels = "".join(f"; {key}: {text}" for key, text in legend.items())
        out.line(f"Sheet: {path}{labels}")
    unknown = sum(one.scores.get("p_class") is None for one in judged)
    if settings.predictions is not None and unknown:
        out.line(
            f"{unknown} images have no probability of their class in {settings.predictions}: not named there, made "
            "later, or of a class that the classifier does not know"
        )
    accepted = sum(one.is_accepted for one in judged)
    out.line(
        f"{scored} images scored, {len(judged)} judged: {accepted} accepted, {len(judged) - accepted} rejected"
        + ("; a dry run, nothing was written" if dry_run else f"; next: sdclient review {output}")
    )


def _show_verdicts(out: Output, judged: Sequence[JudgedImage]) -> None:

    from sdcore.images.folders import natural_key

    from ..curate.reasons import label_of

    rows = []
    for name in sorted({one.class_name for one in judged}, key=natural_key):
        own = [one for one in judged if one.class_name == name]
        rejected = [one for one in own if not one.is_accepted]
        reasons = Counter(word for one in rejected for word in one.reasons)
        lines = [
            ("accepted 接受", len(own) - len(rejected)),
            ("rejected 拒绝", len(rejected)),
            *((f"  {label_of(word)}", count) for word, count in reasons.most_common()),
            *((("  by a person 人工", count),) if (count := sum(not one.reasons for one in rejected)) else ()),
        ]
        for number, (verdict, count) in enumerate(lines):
            rows.append((name if number == 0 else "", verdict, str(count), f"{count / len(own):.1%}"))
    out.table(("class 类别", "verdict 判定", "images 数量", "share 比例"), rows, align="llrr")


def _show_limits(out: Output, limits: Mapping[str, Thresholds]) -> None:
    heads = {
        "min_sharpness": "sharpness ≥ 锐度",
        "min_texture": "texture ≥ 纹理",
        "max_grain": "grain ≤ 颗粒",
        "max_tone": "tone ≤ 明暗",
        "max_colour": "colour ≤ 颜色",
        "min_p_class": "p(class) ≥ 本类概率",
        "max_p_normal": "p(Normal) ≤ 正常概率",
        "max_feature_distance": "features ≤ 特征",
    }
    shown = [field for field in heads if any(getattr(limit, field) is not None for limit in limits.values())]
    rows = []
    for name, limit in limits.items():
        values = (getattr(limit, field) for field in shown)
        marks = ("*" if field in limit.pooled else "" for field in shown)
        cells = ("-" if value is None else f"{value:.3g}{mark}" for value, mark in zip(values, marks, strict=True))
        rows.append((name, str(limit.real_images), *cells))
    out.table(("class 类别", "real 真实图", *(heads[field] for field in shown)), rows)
    if any(limit.pooled for limit in limits.values()):
        out.line("* too few real images of that class: other classes were used too")


def _as_json(
    judged: Sequence[JudgedImage], limits: Mapping[str, Thresholds], scored: int, is_dry_run: bool
) -> dict[str, Any]:

    return {
        "scored": scored,
        "judged": len(judged),
        "accepted": sum(one.is_accepted for one in judged),
        "dry_run": is_dry_run,
        "limits": {name: asdict(limit) for name, limit in limits.items()},
        "images": [
            {"file": one.file, "class": one.class_name, "verdict": one.verdict}
            | {"reasons": list(one.reasons), "scores": dict(one.scores)}
            for one in judged
        ],
    }


_REVIEW_EPILOG = """\b
Example:
  sdclient review output
  sdclient review output --masks masks --lang zh"""


@click.command(epilog=_REVIEW_EPILOG)
@click.argument("output", type=PATH)
@click.option("--sources", type=PATH, help="Where the sources are now, if they were moved.")
@click.option(
    "--masks",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for masks: the page then lets you draw on the sources.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default="a free one", help="Port on this machine."
)
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Language of the page.")
@click.option("--no-browser", is_flag=True, help="Do not open the page in the browser.")
@click.option("--json", "as_json", is_flag=True, help="The address as JSON, then at the end what was decided.")
def review(
    output: Path,
    sources: Path | None,
    masks: Path | None,
    port: int,
    lang: Literal["en", "zh"],
    no_browser: bool,
    as_json: bool,
) -> None:
    """Go through the images of OUTPUT on a page in the browser, by key: accept, reject, undo.

    The page is served on this machine alone and its address holds a secret. Every key is kept in the manifest, so that
    closing loses nothing and two pages do not overwrite each other. Stop it with Ctrl-C.
    """
    try:
        from ..review.serving import serve_review
    except ModuleNotFoundError as error:
        raise MissingExtra("'sdclient review'", "curate") from error
    out = Output(json=as_json)
    done = serve_review(
        output,
        sources=sources,
        masks=masks,
        port=port,
        language=lang,
        on_ready=open_page(out, "sdclient review", open_browser=not no_browser),
    )
    decided = done.decided
    out.document(
        {"accepted": decided.accepted, "rejected": decided.rejected, "cleared": decided.cleared, "masks": done.masks},
        one_line=True,
    )
    total = decided.accepted + decided.rejected
    out.line(f"decided {total}: {decided.accepted} accepted 采用, {decided.rejected} rejected 剔除")
    if decided.cleared:
        out.line(f"{decided.cleared} given back to the filters")
    if masks is not None:
        out.line(f"masks drawn for {done.masks} sources in {masks}")


@contextmanager
def open_scoring(ray: str | None, output: Path) -> Iterator[ScoringFactory | None]:
    """Open what scores an output: a Ray cluster, or None for this machine.

    Raises:
        SettingsError: no such cluster.
        MissingExtra: Ray is not installed.
    """
    if ray is None:
        yield None
        return
    from ..cluster.nodes import connected_for_command

    with connected_for_command(ray):
        from ..cluster.scoring import ray_scoring

        yield partial(ray_scoring, output)
