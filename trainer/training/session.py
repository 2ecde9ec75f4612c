"""The state of a training in progress, and one step of it; learning-rate schedule and shared batch statistics."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from sdcore.torch_runtime import ExponentialMovingAverage, MixedPrecision

from ..config import TrainConfig
from ..data.transforms import apply_variation, draw_variation, normalise
from ..tasks import Task, TrainingImages, gather_batch
from .distributed import ALONE, ProcessGroup
from .sampling import EpochOrder, parts_of


class TrainingSession:
    """A training in progress: network, average, optimizer, random state and order of images.

    It draws from torch's global generator, which the caller seeds and isolates; `run_epochs` does. Each of several
    processes has its own session, draws the same random numbers and order, and works on its parts of each batch;
    after a step all hold the same network, average and optimizer.

    Raises:
        CheckpointError: `config.weights` cannot be used.
        SettingsError: the images do not fit the config.
    """

    def __init__(
        self, train: TrainingImages, task: Task, config: TrainConfig, device: torch.device, group: ProcessGroup = ALONE
    ) -> None:
        self._train, self._config, self._device, self._group = train, config, device, group
        self.memory_format = memory_format(config.layout)
        network, self.started_from = task.build_network()
        self.network = network.to(device, memory_format=self.memory_format)  # type: ignore[call-overload]
        self.average = ExponentialMovingAverage(self.network, config.ema_decay)
        self._optimizer = torch.optim.AdamW(_parameter_groups(self.network, config.weight_decay), lr=config.lr)
        self._precision = MixedPrecision(device, amp=config.amp)
        self._rng = torch.Generator().manual_seed(config.seed)
        self._parts = config.accumulate * group.count
        self._order = make_epoch_order(train, config, self._rng, parts=self._parts)
        self._part_loss = task.part_loss(train, device)
        self._steps_done = 0
        self.lr = config.lr
        """Learning rate of the last step."""
        self._batch_norm = SharedBatchNorm(self.network, parts=config.accumulate, group=group)
        self._parallel = group.parallel(self.network, device)
        if group.count > 1:
            self._fix_gradient_buckets()

    def start_epoch(self) -> list[torch.Tensor]:
        """Put the network into training mode; return the batches of the next epoch, each (B,) int64 entries."""
        self.network.train()
        return self._order.next_epoch()

    def step(self, batch: torch.Tensor) -> torch.Tensor:
        """One step of the optimizer on a batch of entries.

        Returns:
            This process's share of the batch's mean loss, a scalar on the device; the shares add up to that mean.
        """
        config = self._config
        self.lr = config.lr * lr_share(self._steps_done, self._order.steps, config)
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr
        variation = draw_variation(len(batch), config.augment, self._rng)
        own = parts_of(len(batch), self._parts)[self._group.ranks.rank * config.accumulate :][: config.accumulate]
        self._optimizer.zero_grad(set_to_none=True)
        scaler, losses = self._precision.scaler, []
        for number, part in enumerate(own, start=1):
            varied = variation.part(part)
            images = gather_batch(self._train, self._train.image_index[batch[part]], self._device)
            pixels = apply_variation(images, varied)
            with self._batch_norm.of_part(number), self._gradients(keep_local=number < len(own)):
                with self._precision.autocast():
                    output = self._parallel(normalise(pixels).contiguous(memory_format=self.memory_format))
                    loss = self._part_loss(output, batch, part, varied)
                # DistributedDataParallel averages gradients over the processes, but shares of a mean have to be added.
                scaler.scale(loss * self._group.count).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        if config.clip_norm:
            scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        scaler.step(self._optimizer)
        scaler.update()
        self._batch_norm.share()
        self.average.update(self.network)
        self._steps_done += 1
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _gradients(self, *, keep_local: bool) -> AbstractContextManager[object]:
        """Context of a part's passes; with `keep_local` the processes exchange no gradients at their end."""
        return self._parallel.no_sync() if keep_local and self._group.count > 1 else nullcontext()  # type: ignore

    def _fix_gradient_buckets(self) -> None:
        """Run one pass and discard it: DistributedDataParallel fixes its gradient buckets in the first pass.

        With three or more processes, sums of floats differ in their bits between buckets, and a resumed training has
        to give the same bits as one that was never interrupted.
        """
        before = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        side = self._config.imgsz
        images = torch.zeros((2, 3, side, side), device=self._device).contiguous(memory_format=self.memory_format)
        self.network.train()
        _total(self._parallel(images)).backward()  # type: ignore[no-untyped-call]
        self.network.load_state_dict(before)
        self._optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `restore` continues with the same bits.

        The tensors are not copies: save or copy them before the next step.
        """
        return {
            "network": self.network.state_dict(),
            "average": self.average.state(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._precision.scaler.state_dict(),
            "order": self._order.state(),
            "steps_done": self._steps_done,
            "chance": self._rng.get_state(),
            "torch_chance": torch.get_rng_state(),
            "cuda_chance": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`, in a session of the same images and config."""
        self.network.load_state_dict(state["network"])
        self.average.restore(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._precision.scaler.load_state_dict(state["scaler"])
        self._order.restore(state["order"])
        self._steps_done = int(state["steps_done"])
        self._rng.set_state(state["chance"])
        torch.set_rng_state(state["torch_chance"])
        if state["cuda_chance"]:
            torch.cuda.set_rng_state_all(state["cuda_chance"])


def make_epoch_order(train: TrainingImages, config: TrainConfig, rng: torch.Generator, *, parts: int) -> EpochOrder:
    """The order in which a training of this config shows its images; a step has `parts` parts over all processes.

    Raises:
        SettingsError: the images do not fit the config.
    """
    return EpochOrder(
        train.labels.tolist(),
        batch_size=config.images_a_step,
        images_per_epoch=config.images_per_epoch,
        balance=config.balance,
        rng=rng,
        added_share=config.generated_share,
        added=[] if train.added is None else train.added.tolist(),
        parts=parts,
    )


def memory_format(layout: str) -> torch.memory_format:
    """Torch's memory format of a layout, "channels_last" or "contiguous"."""
    return torch.contiguous_format if layout == "contiguous" else torch.channels_last


def _total(output: Any) -> torch.Tensor:
    """The sum of a network's output, which is a tensor or a list of outputs."""
    if isinstance(output, torch.Tensor):
        return output.sum()
    return torch.stack([_total(one) for one in output]).sum()


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    parameters = [one for one in network.parameters() if one.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


LAST_LR_SHARE = 0.01
"""The rate ends at this share of its highest."""


def lr_share(step: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """Share of the highest learning rate at a step (from 0): a linear rise, then the schedule down to 0.01.

    With x from 0 at the end of the warm-up to 1 at the last step, "cosine" is
    0.01 + 0.99 (1 + cos(pi x)) / 2 (Loshchilov and Hutter, SGDR, 2017) and "linear" is 1 - 0.99 x.
    """
    all_steps = config.epochs * steps_per_epoch
    # The warm-up takes at most a third of a short run.
    warmup = min(round(config.warmup_epochs * steps_per_epoch), all_steps // 3)
    if step < warmup:
        return (step + 1) / warmup
    done = min((step - warmup) / max(1, all_steps - 1 - warmup), 1.0)
    left = (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else 1 - done
    return LAST_LR_SHARE + (1 - LAST_LR_SHARE) * left


class SharedBatchNorm:
    """Updates running statistics once a step by the mean over its parts, however many processes share the parts.

    Each part is normalised by its own mean and variance. With momentum m and the statistics s_k of part k of P, a
    step takes running statistics r to (1 - m) r + m (s_1 + ... + s_P) / P. A process gets there part by part with the
    momentum (m / P) / (1 - (P - k) m / P) in part k; the mean over the processes is then the mean over all parts. So
    two processes update them as one process does in two parts, and P = 1 is plain batch normalisation.
    """

    def __init__(self, network: nn.Module, *, parts: int, group: ProcessGroup) -> None:
        self._layers = [one for one in network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
        self._momentum = [one.momentum for one in self._layers]
        self._parts, self._group = parts, group

    @contextmanager
    def of_part(self, number: int) -> Iterator[None]:
        """Context of the passes of a part, counted from 1."""
        if self._parts == 1:
            yield
            return
        for layer, momentum in zip(self._layers, self._momentum, strict=True):
            if momentum is not None:
                each = momentum / self._parts
                layer.momentum = each / (1 - (self._parts - number) * each)
        try:
            yield
        finally:
            for layer, momentum in zip(self._layers, self._momentum, strict=True):
                layer.momentum = momentum

    def share(self) -> None:
        """After the last part: set the running statistics of all processes to their mean.

        They are equal already in frozen layers, and in layers that see the images of all processes.
        """
        if self._group.count == 1:
            return
        layers = [one for one in self._layers if one.training and not isinstance(one, nn.SyncBatchNorm)]
        statistics = [one for layer in layers for one in (layer.running_mean, layer.running_var)]
        self._group.average_([one for one in statistics if isinstance(one, torch.Tensor)])
