"""What the two processes of test_together.py do; started by torchrun, every part ends in files that the tests read.

python -m torch.distributed.run --nproc-per-node 2 tests/support/torchrun_together.py FOLDER
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from trainer.config import TrainConfig, TrainingJob, make_config
from trainer.errors import TrainerError
from trainer.evaluation.diagnosis import EarlyStopping
from trainer.evaluation.history import EpochRecord
from trainer.tasks import TrainingImages
from trainer.tasks.classification import Classification
from trainer.training import run_folder, session as session_module, train as train_module
from trainer.training.distributed import join_process_group
from trainer.training.image_cache import decode_shared
from trainer.training.session import TrainingSession
from trainer.training.train import train

RANK = int(os.environ["RANK"])


def settings(**changes: object) -> TrainConfig:
    tiny = {"epochs": 2, "imgsz": 32, "batch_size": 8, "device": "cpu", "class_weights": "balanced", "seed": 1}
    return make_config(**{**tiny, "augment": {"hue": 0.1}, **changes})


def pictures_of(labels: list[int], added: list[bool] | None = None) -> TrainingImages:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (len(labels), 3, 32, 32), generator=rng).to(torch.uint8)
    flags = None if added is None else torch.tensor(added)
    return TrainingImages(images, torch.arange(len(labels)), torch.tensor(labels), flags)


ORDERS: dict[str, tuple[dict[str, object], list[int], list[bool] | None]] = {
    "plain": ({}, [0] * 13 + [1] * 6, None),
    "balanced": ({"balance": True, "class_weights": "none", "images_per_epoch": 22}, [0] * 15 + [1] * 4, None),
    "share": ({"generated_share": 0.5}, [0] * 11 + [1] * 8, [False] * 14 + [True] * 5),
}


def drawn(session: TrainingSession, epochs: int) -> list[list[int]]:
    """The entries that this process sees in each step."""
    real, seen = session_module.gather_batch, []

    def noting(pictures: TrainingImages, places: torch.Tensor, device: torch.device) -> torch.Tensor:
        seen.append(places.tolist())
        return real(pictures, places, device)

    session_module.gather_batch = noting
    try:
        for _ in range(epochs):
            for batch in session.start_epoch():
                session.step(batch)
    finally:
        session_module.gather_batch = real
    return seen


def failure_of(data: Path, run: Path, config: TrainConfig) -> str:
    """Kind and words of the error that a training ends with."""
    try:
        train(TrainingJob(data, run, config), progress=False)
    except (TrainerError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def module_of(name: str) -> ModuleType:
    """Where the training looks a function up."""
    return train_module if hasattr(train_module, name) else run_folder


def break_in(name: str, call: int) -> None:
    """Let a function of the training module fail: at its `call`th call in the first process, at any in the other."""
    real, calls = getattr(module_of(name), name), []

    def failing(*arguments: object, **named: object) -> None:
        calls.append(name)
        if RANK or len(calls) == call:
            raise OSError("broken off")
        real(*arguments, **named)

    setattr(module_of(name), name, failing)


def main(folder: Path) -> None:
    """All parts, in the same order in both processes."""
    data, facts = folder / "data", {}
    validated: list[int] = []
    wrapped: list[int] = []
    end = torch.distributed.destroy_process_group

    def counting() -> None:
        wrapped.append(sum(isinstance(one, nn.parallel.DistributedDataParallel) for one in gc.get_objects()))
        end()

    torch.distributed.destroy_process_group = counting  # type: ignore[assignment]
    predict = Classification.prediction_rows

    def noting(self: Classification, network: Any, images: TrainingImages, *rest: Any) -> torch.Tensor:
        validated.append(len(images.image_index))
        return predict(self, network, images, *rest)

    Classification.prediction_rows = noting  # type: ignore[method-assign]
    whole = train(TrainingJob(data, folder / "whole", settings()), progress=False)
    facts["results"] = [{**asdict(one), "run": str(one.run)} for one in whole]
    facts["validated"] = validated[:2]

    writers = {
        name: getattr(module_of(name), name) for name in ("save_checkpoint", "save_resume_state", "write_history")
    }
    for name, call in (("save_checkpoint", 99), ("write_history", 99), ("save_resume_state", 2)):
        break_in(name, call)
    facts["broken off"] = failure_of(data=data, run=folder / "gone on", config=settings())
    if not RANK:
        shutil.copytree(folder / "gone on", folder / "left")
    for name, real in writers.items():
        setattr(module_of(name), name, real)
    gone_on = train(TrainingJob(data, folder / "gone on", settings()), progress=False)
    facts["resumed after"] = [one.resumed_after for one in gone_on]
    facts["there"] = [one.was_there for one in train(TrainingJob(data, folder / "gone on", settings()), progress=False)]

    def look(self: EarlyStopping, epochs: Sequence[EpochRecord]) -> None:
        assert not RANK, "decided by the first process alone"
        self.reason = "seen enough" if len(epochs) == 2 else None

    judge, EarlyStopping.update = EarlyStopping.update, look  # type: ignore[method-assign]
    stopped = train(TrainingJob(data, folder / "stopped", settings(epochs=9, patience=8), seeds=[1, 2]), progress=False)
    facts["stopped"] = [(one.seed, one.epochs, one.stopped) for one in stopped]
    EarlyStopping.update = judge  # type: ignore[method-assign]

    facts["refused"] = {
        "batch": failure_of(data=data, run=folder / "no", config=settings(batch_size=9)),
        "sync_bn": failure_of(data=data, run=folder / "no", config=settings(sync_bn=True)),
        "few": failure_of(data=data, run=folder / "no", config=settings(images_per_epoch=3)),
        "folder": failure_of(data=folder / "nowhere", run=folder / "no", config=settings()),
        "other": failure_of(data=data, run=folder / "no", config=settings(lr=0.001 * (1 + RANK))),
    }

    facts["wrapped"] = list(wrapped)

    with join_process_group("cpu") as group:
        facts["gathered"] = {}
        for n in (1, 2, 5):
            own = torch.arange(2.0 * n).view(n, 2)[group.share_of(n)]
            facts["gathered"][n] = group.gather(own, n).tolist()
        facts["orders"] = {}
        for name, (changes, labels, added) in ORDERS.items():
            torch.manual_seed(0)
            config = settings(layout="channels_last", **changes)
            session = TrainingSession(
                pictures_of(labels, added), Classification(("a", "b"), config), config, torch.device("cpu"), group
            )
            facts["orders"][name] = drawn(session, 2)
        paths = sorted((data / "val").glob("*/*.png"))
        for words, limit in (("lent", 10**9), ("kept", 0)):
            found = decode_shared(
                paths, 32, group=group, progress=False, limit_bytes=limit, folder=folder / f"cache {words}"
            )
            facts[words] = (found.storage, found.images.long().sum(dim=(1, 2, 3)).tolist())
            group.wait()
            facts[f"{words} files"] = len(list((folder / f"cache {words}").iterdir()))
    (folder / f"facts-{RANK}.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
