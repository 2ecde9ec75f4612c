"""A step worked through in parts: what is added up, and the batch statistics of each part."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional

from sdcore.errors import SettingsError
from sdcore.torch_runtime import torch_threads
from trainer.config import AugmentConfig, TrainConfig, make_config
from trainer.data.transforms import apply_variation, augment, draw_variation, normalise
from trainer.tasks import TrainingImages
from trainer.tasks.classification import Classification
from trainer.training.distributed import ALONE
from trainer.training.sampling import parts_of, steps_in_epoch
from trainer.training.session import TrainingSession

LABELS = torch.tensor([0, 0, 0, 1, 0, 1, 1])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As a training has."""
    with torch_threads(1):
        yield


def images() -> TrainingImages:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (len(LABELS), 3, 32, 32), generator=rng).to(torch.uint8)
    return TrainingImages(images, torch.arange(len(LABELS)), LABELS)


def settings(**changes: object) -> TrainConfig:
    still = {"flips": False, "quarter_turns": False, "warp_rate": 0, "brightness": 0, "contrast": 0}
    tiny = {"imgsz": 32, "batch_size": 8, "device": "cpu", "layout": "channels_last", "clip_norm": 0, "augment": still}
    return make_config(**{**tiny, **changes})


def session(config: TrainConfig) -> TrainingSession:
    torch.manual_seed(0)
    return TrainingSession(images(), Classification(("a", "b"), config), config, torch.device("cpu"))


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradient_loss_and_statistics_of_two_unequal_parts_are_those_of_plain_torch(
    class_weights: str, smoothing: float
) -> None:
    config = settings(accumulate=2, class_weights=class_weights, label_smoothing=smoothing)
    one = session(config)
    torch.manual_seed(0)
    peer = TrainingSession(images(), Classification(("a", "b"), config), config, torch.device("cpu")).network
    (batch,) = one.start_epoch()
    loss = one.step(batch)

    # The same by the definition: a loss over all images at once, each half normalised by itself.
    weights = torch.tensor([7 / (2 * 4), 7 / (2 * 3)]) if class_weights == "balanced" else None
    norms = [layer for layer in peer.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [(layer.running_mean.clone(), layer.running_var.clone()) for layer in norms]  # type: ignore[union-attr]
    for layer in norms:
        layer.momentum = 1.0
    logits, own = [], []
    for half in (batch[:3], batch[3:]):
        moved = apply_variation(images().images[half], draw_variation(len(half), config.augment, torch.Generator()))
        logits.append(peer(normalise(moved).contiguous(memory_format=torch.channels_last)))
        own.append([(layer.running_mean.clone(), layer.running_var.clone()) for layer in norms])  # type: ignore[union-attr]
    expected = functional.cross_entropy(torch.cat(logits), LABELS[batch], weight=weights, label_smoothing=smoothing)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for weight, same in zip(one.network.parameters(), peer.parameters(), strict=True):
        assert weight.grad is not None
        assert same.grad is not None
        assert torch.allclose(weight.grad, same.grad, rtol=1e-3, atol=1e-5)
    trained = [layer for layer in one.network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer, (mean, var), (mean_1, var_1), (mean_2, var_2) in zip(trained, before, *own, strict=True):
        assert layer.momentum == 0.1
        assert torch.allclose(layer.running_mean, 0.9 * mean + 0.05 * (mean_1 + mean_2), rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]
        assert torch.allclose(layer.running_var, 0.9 * var + 0.05 * (var_1 + var_2), rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]


def test_an_image_is_varied_alike_in_however_many_parts() -> None:
    images = torch.randint(0, 255, (7, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    config = AugmentConfig(hue=0.1, saturation=0.2)
    whole = augment(images, config, torch.Generator().manual_seed(5))
    variation = draw_variation(7, config, torch.Generator().manual_seed(5))
    parts = [apply_variation(images[part], variation.part(part)) for part in parts_of(7, 3)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(("count", "parts"), [(0, 2), (1, 2), (7, 3), (8, 2), (3, 3), (100, 7)])
def test_parts_follow_one_another_and_differ_by_one_at_most(count: int, parts: int) -> None:
    found = parts_of(count, parts)
    assert [place for part in found for place in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in found]
    assert len(sizes) == parts
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("count", range(4, 60))
def test_every_part_of_every_step_has_two_images(count: int) -> None:
    steps = steps_in_epoch(count, 8, parts=2)
    for step in parts_of(count, steps):
        assert all(part.stop - part.start >= 2 for part in parts_of(step.stop - step.start, 2))


def test_too_few_images_for_the_parts_are_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"4 parts a step, over all processes, need 8 images an epoch, and there are 7"
    ):
        steps_in_epoch(7, 8, parts=4)


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "words"),
    [
        (32, 3, r"batch_size: 32 images a step do not make 3 parts \(accumulate\) .*; take 33"),
        (4, 4, r"batch_size: 4 images .* two or more .*; take 8"),
        (32, 0, "^accumulate: found 0"),
    ],
)
def test_parts_that_do_not_divide_the_batch_are_refused(batch_size: int, accumulate: int, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make_config(batch_size=batch_size, accumulate=accumulate)


def test_synchronised_layers_keep_their_momentum_and_what_is_frozen(trained_run: tuple[object, object]) -> None:
    torch.manual_seed(0)
    network, _ = Classification(
        ("a", "b"), settings(sync_bn=True, weights=str(trained_run[0]), freeze=2)
    ).build_network()
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    assert all(isinstance(layer, nn.SyncBatchNorm) and layer.momentum == 0.1 for layer in norms)
    network.train()
    hooked: Callable[[nn.Module], bool] = lambda layer: bool(layer._forward_pre_hooks)  # noqa: E731
    frozen = [layer for part in list(network.model)[:2] for layer in part.modules() if layer in norms]  # type: ignore[arg-type]
    assert frozen
    assert all(hooked(layer) == (layer in frozen) for layer in norms)


def test_alone_nothing_is_exchanged() -> None:
    values = torch.tensor([1.0, 2.0])
    assert ALONE.sum(values) is values
    assert ALONE.gather(values, 2) is values
    assert ALONE.minimum(3) == ALONE.value_of_first(3) == 3
    assert ALONE.share_of(5) == slice(0, 5)
    assert ALONE.on_first(lambda: "done") == "done"
    ALONE.wait()
    ALONE.average_([values])
    assert values.tolist() == [1.0, 2.0]
