from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generator.config import TrainConfig
from generator.diffusion.dataset import TrainingSet, read_training_set
from generator.diffusion.session import (
    BatchOrder,
    DiffusionSession,
    Validation,
    build_network,
    build_schedule,
    centre_square,
    lr_share,
    random_square,
    take_by_turns,
    velocity_loss,
)
from generator.errors import TrainingDiverged
from sdcore.diffusion_model import fit_pixel_codec
from sdcore.torch_runtime import MixedPrecision

CPU = torch.device("cpu")


@pytest.fixture
def images(photos: Path) -> TrainingSet:
    return read_training_set(photos, size_px=16, val_folder=None, val_share=0.2, seed=0, progress=False)


def make_session(images: TrainingSet, config: TrainConfig) -> DiffusionSession:
    code = fit_pixel_codec((image.pixels for image in images.train), config.network.packing)
    return DiffusionSession(images, code, config, CPU)


def test_the_loss_falls(images: TrainingSet, tiny: Callable[..., TrainConfig]) -> None:
    session = make_session(images, tiny(batch_size=8, lr=2e-3))
    losses = [session.step(0.0) for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_the_loss_is_the_error_of_the_velocity(tiny: Callable[..., TrainConfig]) -> None:
    """v = sqrt(a) noise - sqrt(1 - a) clean, a the product of 1 - beta (Salimans and Ho 2022)."""
    network = build_network(tiny().network, channels=1, n_classes=2)
    rng = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(3, 16, 4, 4, generator=rng), torch.randn(3, 16, 4, 4, generator=rng)
    times, labels = torch.tensor([0, 400, 999]), torch.tensor([0, 1, 2])
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    share = torch.cumprod(1 - betas, dim=0)[times].view(-1, 1, 1, 1).float()
    with torch.no_grad():
        found = network(share.sqrt() * clean + (1 - share).sqrt() * noise, times, class_labels=labels).sample
        expected = (found - (share.sqrt() * noise - (1 - share).sqrt() * clean)).square().mean()
        loss = velocity_loss(network, build_schedule(), MixedPrecision(CPU, amp=True), clean, noise, times, labels)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


def test_the_noise_is_finite_and_stable_diffusions_own() -> None:
    share = build_schedule().alphas_cumprod
    sigma = ((1 - share) / share).sqrt()
    assert (float(sigma[0]), float(sigma[-1])) == (pytest.approx(0.0292, abs=1e-4), pytest.approx(14.6146, abs=1e-3))


def test_classes_are_dropped_as_often_as_asked(
    images: TrainingSet, tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session(images, tiny(drop_class=0.25, batch_size=64))
    seen: list[int] = []
    network = session.network.forward

    def watched(noised: torch.Tensor, times: torch.Tensor, class_labels: torch.Tensor) -> object:
        seen.extend(class_labels.tolist())
        return network(noised, times, class_labels=class_labels)

    monkeypatch.setattr(session.network, "forward", watched)
    for _ in range(5):
        session.step(0.0)
    assert seen.count(3) / len(seen) == pytest.approx(0.25, abs=0.08)
    rest = [label for label in seen if label < 3]
    assert all(rest.count(label) / len(rest) == pytest.approx(1 / 3, abs=0.08) for label in range(3))


def test_a_loss_that_is_no_number_stops_with_advice(images: TrainingSet, tiny: Callable[..., TrainConfig]) -> None:
    session = make_session(images, tiny())
    with torch.no_grad():
        next(iter(session.network.parameters())).fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match=r"step 1: the loss is nan.*--lr 0\.000125"):
        session.step(0.0)


def test_the_rate_warms_up_stays_and_falls(tiny: Callable[..., TrainConfig]) -> None:
    config = tiny(warmup_steps=10, decay_share=0.4)
    assert lr_share(0, 0.0, config) == pytest.approx(0.1)
    assert lr_share(10, 0.5, config) == 1.0
    assert lr_share(10, 0.8, config) == pytest.approx(0.01 + 0.99 / 2)
    assert lr_share(10, 1.0, config) == pytest.approx(0.01)


def test_validation_gives_the_same_figure_again_whatever_the_batch(
    images: TrainingSet, tiny: Callable[..., TrainConfig]
) -> None:
    config = tiny()
    session = make_session(images, config)
    code = fit_pixel_codec((image.pixels for image in images.train), 4)
    first = Validation(images, code, size_px=16, device=CPU)
    session.network.eval()
    losses = [first.loss(session.network, session.precision, batch_size=size) for size in (4, 3, 100)]
    losses.append(
        Validation(images, code, size_px=16, device=CPU).loss(session.network, session.precision, batch_size=4)
    )
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-5)
    assert 0.5 < losses[0] < 2  # of an untrained network: about the variance of the velocity


def test_held_out_images_are_taken_from_each_class_in_turn(images: TrainingSet) -> None:
    taken = take_by_turns(images.train, 5)
    assert [image.label for image in taken] == [0, 1, 2, 0, 1]
    assert len(take_by_turns(images.train, 1000)) == len(images.train)


LABELS = [0] * 20 + [1] * 4 + [2] * 3


def order(seed: int = 0, *, balance: bool = True) -> BatchOrder:
    return BatchOrder(LABELS, batch_size=6, balance=balance, generator=torch.Generator().manual_seed(seed))


def test_classes_are_drawn_equally_often_where_balanced() -> None:
    drawn = order()
    counts = Counter(LABELS[index] for _ in range(20) for index in drawn.next_batch())
    assert counts == {0: 40, 1: 40, 2: 40}


def test_images_are_drawn_equally_often_where_not() -> None:
    drawn = order(balance=False)
    counts = Counter(index for _ in range(9) for index in drawn.next_batch())
    assert set(counts.values()) == {2}


@pytest.mark.parametrize("balance", [True, False])
def test_no_image_comes_again_before_all_of_its_pool_came(balance: bool) -> None:
    drawn = order(balance=balance)
    seen = [index for _ in range(18) for index in drawn.next_batch() if not balance or LABELS[index] == 2]
    size = 3 if balance else len(LABELS)
    for start in range(0, len(seen) - size + 1, size):
        assert len(set(seen[start : start + size])) == size


def test_an_order_goes_on_where_it_was() -> None:
    rng = torch.Generator().manual_seed(3)
    first = BatchOrder(LABELS, batch_size=6, balance=True, generator=rng)
    for _ in range(4):
        first.next_batch()
    state, of_chance = first.state(), rng.get_state()
    expected = [first.next_batch() for _ in range(5)]
    other = torch.Generator()
    second = BatchOrder(LABELS, batch_size=6, balance=True, generator=other)
    second.restore(state)
    other.set_state(of_chance)
    assert [second.next_batch() for _ in range(5)] == expected


def squares(*, flips: bool, quarter_turns: bool) -> set[tuple[int, ...]]:
    image = torch.arange(4).view(1, 2, 2)
    rng = torch.Generator().manual_seed(0)
    return {
        tuple(random_square(image, 2, flips=flips, quarter_turns=quarter_turns, generator=rng).flatten().tolist())
        for _ in range(200)
    }


def test_images_are_turned_only_where_that_is_allowed() -> None:
    assert squares(flips=False, quarter_turns=False) == {(0, 1, 2, 3)}
    assert squares(flips=True, quarter_turns=False) == {(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)}
    assert len(squares(flips=False, quarter_turns=True)) == 4
    assert len(squares(flips=True, quarter_turns=True)) == 8


def test_a_long_image_is_shown_in_windows_all_along_and_held_out_by_its_middle() -> None:
    image = torch.arange(5).repeat(2, 1)[None]
    rng = torch.Generator().manual_seed(0)
    starts = {
        int(random_square(image, 2, flips=False, quarter_turns=False, generator=rng)[0, 0, 0]) for _ in range(100)
    }
    assert starts == {0, 1, 2, 3}
    assert centre_square(image, 2)[0, 0].tolist() == [1, 2]
