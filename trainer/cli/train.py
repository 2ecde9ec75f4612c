"""The command `train`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import INTERRUPTED, PATH, Output

from ..processes import read_ranks

if TYPE_CHECKING:
    from ..config import TrainingJob
    from ..training.run_folder import TrainResult

_AUGMENTATION = "flips quarter_turns shift hue saturation"
_GROUPS = {
    "What is trained": "run generated control_for uncurated strict generated_share model imgsz weights freeze",
    "How": "epochs batch_size accumulate images_per_epoch lr schedule label_smoothing clip_norm balance class_weights",
    "How images are varied": _AUGMENTATION,
    "When it ends, and which epoch is best": "monitor patience stop_on",
    "Repetition and the machine": "seeds processes device threads amp layout deterministic sync_bn cache_gb",
    "Output": "overwrite tensorboard as_json",
}
"""Heading in the help -> parameters below it."""


class _GroupedOptions(click.Command):
    """A command whose help lists its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each under its heading."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        records = {option.name: option.get_help_record(ctx) for option in options}
        for heading, names in _GROUPS.items():
            rows = [records.pop(name) for name in names.split()]
            if heading == "Output":
                rows += records.values()
            with formatter.section(heading):
                formatter.write_dl([row for row in rows if row is not None])


@click.command(cls=_GroupedOptions)
@click.argument("data", metavar="DATA", type=PATH)
@click.option("-o", "--output", "run", metavar="RUN", required=True, type=PATH, help="Folder to write the run into.")
@click.option(
    "--generated",
    metavar="OUTPUT",
    multiple=True,
    type=PATH,
    help="Folder of 'sdclient generate'; its images join training only, and only the accepted ones once 'sdclient "
    "curate' or 'sdclient review' has judged them. May be repeated.",
)
@click.option(
    "--control-for",
    metavar="OUTPUT",
    multiple=True,
    type=PATH,
    help="Like --generated, but each image is replaced by its real source: as many images, real pixels only.",
)
@click.option("--uncurated", is_flag=True, help="Use every image of these folders, also rejected and undecided ones.")
@click.option(
    "--strict",
    is_flag=True,
    help="Also refuse val and test images that look like a training image, and blank images in several parts.",
)
@click.option(
    "--generated-share",
    type=float,
    metavar="P",
    help="Draw an added image with this probability, else a real one. Without it all are drawn alike.",
)
@click.option(
    "--model",
    default="yolov5n-cls",
    type=click.Choice(["yolov5n-cls", "yolov5s-cls", "yolov5m-cls", "yolov5l-cls", "yolov5x-cls"]),
    help="From small and fast to large and slow.",
)
@click.option("--imgsz", default=64, help="Side in pixels that images are resized to, a multiple of 32.")
@click.option("--weights", metavar="FILE", type=PATH, help="Run or checkpoint to start from.")
@click.option(
    "--freeze",
    default=0,
    metavar="LAYERS",
    help="Number of first backbone layers that keep the values of --weights, 0 to 9.",
)
@click.option("--epochs", default=30, help="Rounds of training, each judged on DATA/val.")
@click.option(
    "--batch-size",
    default="32",
    metavar="N|auto",
    help="Images a step, over all processes. auto: what fits on a CUDA device; 32 on the CPU.",
)
@click.option(
    "--accumulate",
    default=1,
    metavar="PARTS",
    help="Split each step into this many parts to need less memory; each has its own batch statistics.",
)
@click.option("--images-per-epoch", type=int, help="Images in an epoch; give two arms the same number for equal steps.")
@click.option("--lr", default=1e-3, help="Highest learning rate.")
@click.option(
    "--schedule",
    default="cosine",
    type=click.Choice(["cosine", "linear"]),
    help="How the learning rate falls to a hundredth.",
)
@click.option("--label-smoothing", default=0.1, help="0 to below 1; 0 for none.")
@click.option("--clip-norm", default=50.0, help="Longest gradient; 0 for no limit.")
@click.option(
    "--balance/--no-balance", default=False, help="Draw every class equally often: fewer misses, more overkill."
)
@click.option(
    "--class-weights",
    default="none",
    type=click.Choice(["none", "balanced"]),
    help="balanced: weigh the loss by inverse class frequency. Not together with --balance.",
)
@click.option("--flips/--no-flips", default=True, help="Mirror images left-right and up-down.")
@click.option(
    "--quarter-turns/--no-quarter-turns",
    default=True,
    help="Turn images by 90 degrees; not where a board has one right way up.",
)
@click.option(
    "--shift",
    default=0.08,
    help="Move half of the images by up to this share of the side, 0 to 0.5; more if defects lie off the centre.",
)
@click.option(
    "--hue",
    default=0.0,
    help="Turn colours by up to this part of the circle, 0 to 0.5. Not for defects that are colours.",
)
@click.option("--saturation", default=0.0, help="Make colours stronger or weaker by up to this share.")
@click.option(
    "--monitor",
    default="val_macro_f1",
    type=click.Choice(["val_macro_f1", "val_loss", "val_accuracy"]),
    help="What chooses the best epoch.",
)
@click.option("--patience", type=int, metavar="EPOCHS", help="Stop after this many epochs without a better one.")
@click.option("--stop-on", type=click.Choice(["overfit"]), help="Stop when the curves show overfitting.")
@click.option(
    "--seed", "seeds", default=(0,), multiple=True, help="Repeat for several runs: RUN/seed-0, RUN/seed-1, ..."
)
@click.option(
    "--processes",
    type=int,
    metavar="N",
    help="Seeds trained at a time. Without it: one a physical core on the CPU, one on a GPU.",
)
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--threads", default=1, help="CPU threads; small images do not gain from more.")
@click.option("--amp/--no-amp", default=True, help="Mixed precision, on CUDA only.")
@click.option(
    "--layout",
    default="auto",
    type=click.Choice(["auto", "channels_last", "contiguous"]),
    help="Memory layout. auto: channels_last, or with --no-deterministic what a short trial finds faster.",
)
@click.option(
    "--deterministic/--no-deterministic",
    default=True,
    help="The same bits every time. The CPU always does this; on CUDA it needs slower kernels.",
)
@click.option(
    "--sync-bn",
    is_flag=True,
    help="Batch statistics over the images of all processes, not of each; only on CUDA with torchrun.",
)
@click.option(
    "--cache-gb",
    type=float,
    metavar="GB",
    help="Memory limit for decoded images; the rest goes into a file. Without it: half of the free memory.",
)
@click.option("--overwrite", is_flag=True, help="Replace a run of other settings or images; restart a stopped one.")
@click.option("--tensorboard", is_flag=True, help="Also write RUN/tensorboard/.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def train(ctx: click.Context, /, **options: Any) -> None:
    """Train a YOLOv5 classifier on DATA/train; DATA/val chooses the best epoch, DATA/test is not used.

    RUN gets config.json, data.json, environment.json, results.csv, best.pt, last.pt, curves.png and examples.png.
    Started again, a finished run of the same settings and images stays as it is, and one that Ctrl-C stopped
    continues after its last complete epoch.

    Training is refused when two of train, val and test hold the same pixels, when val or test holds a generated
    image, or when a generated training image was made from an image there. Images that only look alike are
    reported and shown in RUN/near_duplicates.html; --strict refuses them.

    \b
    Examples:
      trainer train data -o runs/baseline
      trainer train data --generated output -o runs/augmented --seed 0 --seed 1 --seed 2
      trainer train data --control-for output -o runs/control
      trainer train data -o runs/long --epochs 300 --patience 40
      torchrun --nproc-per-node 2 -m trainer train data -o runs/large --model yolov5l-cls --batch-size 128

    Started by torchrun, its processes share the images of each step, one GPU each.
    """
    try:
        _train(**options)
    except KeyboardInterrupt as stop:
        if read_ranks().first:
            Output().note(str(stop) or "stopped; the same command goes on")
        ctx.exit(INTERRUPTED)


def _train(*, processes: int | None, as_json: bool, **options: Any) -> None:
    from ..training.seeds import train_seeds

    results = train_seeds(_job_of(**options), processes=processes)
    if not read_ranks().first:
        return
    out = Output(json=as_json)
    out.document([_result_as_json(result) for result in results])
    for result in results:
        state = "was trained already, left as it is" if result.was_there else f"{result.images_per_s:.0f} images/s"
        out.line(
            f"{result.run}: best epoch {result.best.epoch} of {result.epochs}, "
            f"validation macro-F1 {result.best.val_macro_f1:.3f}, accuracy {result.best.val_accuracy:.3f} ({state})"
        )
        if result.stopped:
            out.line(f"  stopped early: {result.stopped}")
        out.line(f"  {result.diagnosis}")


def _result_as_json(result: TrainResult) -> dict[str, Any]:
    return {
        "run": result.run.as_posix(),
        "seed": result.seed,
        "epochs": result.epochs,
        "best_epoch": result.best.epoch,
        "val_macro_f1": result.best.val_macro_f1,
        "val_accuracy": result.best.val_accuracy,
        "val_miss_rate": result.best.val_miss_rate,
        "val_overkill_rate": result.best.val_overkill_rate,
        "images_per_s": result.images_per_s,
        "was_there": result.was_there,
        "resumed_after": result.resumed_after,
        "stopped": result.stopped,
        "diagnosis": result.diagnosis,
    }


def _job_of(*, seeds: tuple[int, ...], weights: Path | None, **options: Any) -> TrainingJob:
    """The job that a command line describes; options that are no field of `TrainingJob` belong to its config."""
    from ..config import TrainingJob, make_config

    names = {one.name for one in fields(TrainingJob)} & options.keys()
    job = {name: options.pop(name) for name in names}
    augment = {name: options.pop(name) for name in _AUGMENTATION.split()}
    config = make_config(seed=seeds[0], weights=None if weights is None else str(weights), augment=augment, **options)
    return TrainingJob(config=config, seeds=seeds, **job)
