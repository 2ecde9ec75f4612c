from __future__ import annotations

import torch

from trainer.augment import augment
from trainer.config import AugmentConfig

STILL = AugmentConfig(flips=False, quarter_turns=False, warp_rate=0, brightness=0, contrast=0)


def test_without_changes_an_image_stays_as_it_is() -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    same = augment(images, STILL, torch.Generator().manual_seed(0))
    assert torch.allclose(same, images.float(), atol=1e-2)


def test_flips_and_quarter_turns_are_the_eight_of_a_square_and_nothing_else() -> None:
    image = torch.randint(0, 256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    config = STILL.model_copy(update={"flips": True, "quarter_turns": True})
    varied = augment(image.expand(200, -1, -1, -1), config, torch.Generator().manual_seed(0))
    eight = [turned for k in range(4) for base in (image, image.flip(3)) for turned in [base.rot90(k, (2, 3))]]
    found = [
        [place for place, one in enumerate(eight) if torch.allclose(one[0].float(), picture, atol=1e-2)]
        for picture in varied
    ]
    assert all(len(matches) == 1 for matches in found)
    assert {matches[0] for matches in found} == set(range(8))


def test_hue_never_changes() -> None:
    grey = torch.randint(60, 200, (16, 1, 16, 16), dtype=torch.uint8).expand(-1, 3, -1, -1)
    varied = augment(grey, AugmentConfig(), torch.Generator().manual_seed(0))
    assert torch.equal(varied[:, 0], varied[:, 1])
    assert torch.equal(varied[:, 1], varied[:, 2])


def test_a_defect_in_the_middle_stays_in_the_picture() -> None:
    images = torch.zeros((300, 3, 64, 64), dtype=torch.uint8)
    images[:, :, 28:36, 28:36] = 200
    config = AugmentConfig(brightness=0, contrast=0)
    varied = augment(images, config, torch.Generator().manual_seed(0))
    area = varied.sum(dim=(1, 2, 3)) / images.sum(dim=(1, 2, 3))
    assert area.min() > 0.75
    assert area.max() < 1.3
    assert (varied[:, 0, 0] < 1).all()


def test_the_generator_alone_decides() -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    one = augment(images, AugmentConfig(), torch.Generator().manual_seed(5))
    torch.manual_seed(99)
    assert torch.equal(one, augment(images, AugmentConfig(), torch.Generator().manual_seed(5)))
    assert not torch.equal(one, augment(images, AugmentConfig(), torch.Generator().manual_seed(6)))
    assert one.min() >= 0
    assert one.max() <= 255
