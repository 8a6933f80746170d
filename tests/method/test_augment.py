import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torchvision.transforms import functional as V

from hmtl.method.augment import (
    LEVELS,
    VALID_CROP,
    Level,
    _blur,
    _colour,
    _resample,
    augment,
    augment_and_tell,
    center_crop,
)


def images(count=6, size=32):
    # smooth pictures: interpolation of noise would hide real differences
    noise = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(ndimage.gaussian_filter(noise.numpy(), (0, 0, 3, 3))) * 3 - 1


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [24, 32, 40])
def test_levels_keep_shape_and_range(level, size):
    out = augment(images().clamp(0, 1), LEVELS[level], size, generator())
    assert out.shape == (6, 3, size, size)
    assert out.min() >= 0
    assert out.max() <= 1


def test_the_same_generator_gives_the_same_images_whatever_is_switched_on():
    x = images().clamp(0, 1)
    first = augment(x, LEVELS["strong"], 32, generator())
    assert torch.equal(first, augment(x, LEVELS["strong"], 32, generator()))
    assert not torch.equal(first, augment(x, LEVELS["strong"], 32, generator(1)))
    # another level consumes as many numbers, so the next batch is drawn alike
    a, b = generator(), generator()
    augment(x, LEVELS["none"], 32, a)
    augment(x, LEVELS["strong"], 32, b)
    assert torch.equal(torch.rand(3, generator=a), torch.rand(3, generator=b))


def test_identity_level_changes_nothing():
    x = images().clamp(0, 1)
    torch.testing.assert_close(
        augment(x, Level(crop=(1, 1), flip=0), 32, generator()), x, atol=1e-6, rtol=0
    )


def test_flip_and_crop_equal_slicing():
    x = images()
    draw = torch.full((6, 5), 0.5)
    draw[:3, 2] = 0.0  # the first three are mirrored
    out = _resample(x, Level(crop=(0.75, 0.75)), 24, torch.where(draw == 0.5, 0.9, draw))
    cut = x[..., 4:28, 4:28]
    torch.testing.assert_close(out[:3], cut[:3].flip(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(out[3:], cut[3:], atol=1e-5, rtol=0)


def test_rotation_agrees_with_torchvision():
    x = images(1)
    draw = torch.tensor([[0.0, 1.0, 0.9, 0.5, 0.5]])  # all the way to +20 degrees, no flip
    ours = _resample(x, Level(crop=(1, 1), rotate=20, flip=0.5), 32, draw)
    theirs = V.rotate(x, 20, interpolation=V.InterpolationMode.BILINEAR)
    inside = (..., slice(8, 24), slice(8, 24))  # borders are filled differently
    torch.testing.assert_close(ours[inside], theirs[inside], atol=1e-4, rtol=0)


def test_crop_rotation_and_flip_are_one_affine_map():
    """Reference: torch's affine_grid, of matrices written out by hand."""
    x, level = images(), Level(crop=(0.6, 0.9), centred=False, rotate=30, flip=0.5)
    draw = torch.rand(6, 5, generator=generator(3))
    theta = []
    for c, a, f, dx, dy in draw.double().tolist():
        scale, angle = 0.6 + 0.3 * c, math.radians((2 * a - 1) * 30)
        cos, sin, mirror = scale * math.cos(angle), scale * math.sin(angle), -1 if f < 0.5 else 1
        shift = [(2 * dx - 1) * (1 - scale), (2 * dy - 1) * (1 - scale)]
        theta.append([[cos * mirror, -sin, shift[0]], [sin * mirror, cos, shift[1]]])
    grid = F.affine_grid(torch.tensor(theta), [6, 3, 24, 24], align_corners=False)
    expected = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(_resample(x, level, 24, draw), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_told_of_a_picture_is_what_was_done_to_it(level):
    """Undoing the told turn and flip gives back the plain crop."""
    x, level = images(), dataclasses.replace(LEVELS[level], crop=(1, 1), jitter=0, grey=0, blur=0)
    level = dataclasses.replace(level, coarse=0, cutout=0, rotate=min(level.rotate, 10))
    seen, moves = augment_and_tell(x, level, 32, generator(4))
    assert torch.equal(seen, augment(x, level, 32, generator(4)))
    assert 0 < moves.flipped.sum() < 6
    assert (moves.turned.abs() > 1).any() == bool(level.rotate)
    upright = torch.where(moves.flipped[:, None, None, None], seen.flip(-1), seen)
    for before, after, angle in zip(x, upright, moves.turned.tolist(), strict=True):
        back = V.rotate(after[None], -angle, interpolation=V.InterpolationMode.BILINEAR)[0]
        inside = (..., slice(10, 22), slice(10, 22))  # borders are filled, and twice interpolated
        torch.testing.assert_close(back[inside], before[inside], atol=0.02, rtol=0)


@pytest.mark.parametrize("change", [{"blur": 0.5}, {"coarse": 0.5}])
def test_a_change_of_some_pictures_leaves_the_others(change):
    x = images().clamp(0, 1)
    plain = augment(x, Level(crop=(1, 1), flip=0), 32, generator(5))
    some = augment(x, Level(crop=(1, 1), flip=0, **change), 32, generator(5))
    every = augment(x, Level(crop=(1, 1), flip=0, **dict.fromkeys(change, 1.0)), 32, generator(5))
    column = {"blur": 11, "coarse": 12}[next(iter(change))]
    chosen = torch.rand(6, 16, generator=generator(5))[:, column] < 0.5
    assert 0 < chosen.sum() < 6
    expected = torch.where(chosen[:, None, None, None], every, plain)
    torch.testing.assert_close(some, expected, atol=1e-6, rtol=0)


def _one(level, **on):
    """The draw that switches on a single change of colour at its upper end."""
    draw = torch.full((6, 6), 0.5)
    draw[:, 4] = 0.0 if level.jitter else 1.0
    draw[:, 5] = 0.0 if level.grey else 1.0
    for column, value in on.items():
        draw[:, {"brightness": 0, "contrast": 1, "saturation": 2, "hue": 3}[column]] = value
    return draw


def test_saturation_and_grey_agree_with_torchvision():
    x = images() * 0.3 + 0.4  # away from 0 and 1, where clamping would hide differences
    level = Level(crop=(1, 1), jitter=1)
    ours = _colour(x, level, _one(level, saturation=1.0))
    torch.testing.assert_close(ours, V.adjust_saturation(x, 1.32), atol=2e-3, rtol=0)
    level = Level(crop=(1, 1), grey=1)
    torch.testing.assert_close(
        _colour(x, level, _one(level)), V.rgb_to_grayscale(x, 3), atol=2e-3, rtol=0
    )


def test_brightness_adds_and_contrast_keeps_the_mean():
    x = images() * 0.2 + 0.3
    level = Level(crop=(1, 1), jitter=1)
    brighter = _colour(x, level, _one(level, brightness=1.0))
    torch.testing.assert_close(brighter, x + 0.32, atol=1e-3, rtol=0)
    harder = _colour(x, level, _one(level, contrast=1.0))
    torch.testing.assert_close(harder.mean((2, 3)), x.mean((2, 3)), atol=1e-3, rtol=0)
    torch.testing.assert_close(harder.std((2, 3)), 1.32 * x.std((2, 3)), atol=1e-3, rtol=0)


def test_hue_keeps_luminance_and_greys():
    x = images() * 0.2 + 0.4
    level = Level(crop=(1, 1), jitter=1)
    turned = _colour(x, level, _one(level, hue=1.0))
    torch.testing.assert_close(V.rgb_to_grayscale(turned), V.rgb_to_grayscale(x), atol=2e-3, rtol=0)
    assert (turned - x).abs().max() > 0.02
    grey = V.rgb_to_grayscale(x, 3)
    torch.testing.assert_close(_colour(grey, level, _one(level, hue=1.0)), grey, atol=2e-3, rtol=0)


def test_blur_agrees_with_torchvision():
    x = images()
    torch.testing.assert_close(_blur(x, 0.8), V.gaussian_blur(x, 3, [0.8, 0.8]), atol=1e-5, rtol=0)


def test_cut_out_is_one_grey_square():
    x = torch.zeros(4, 3, 28, 28)
    out = augment(x, Level(crop=(1, 1), flip=0, cutout=0.5), 28, generator())
    holes = (out == 0.5).all(1)
    assert holes.sum((1, 2)).tolist() == [14 * 14] * 4
    assert (holes.any(1).sum(1) == 14).all()


def test_validation_images_are_only_cropped_and_resized():
    x = images(size=40)
    cut = x[..., 3:37, 3:37]  # round(40 * 0.85) = 34
    assert torch.equal(center_crop(x, VALID_CROP, 34), cut)
    small = center_crop(x, VALID_CROP, 17)
    torch.testing.assert_close(small, V.resize(cut, [17, 17], antialias=True), atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_images():
    x = images().clamp(0, 1)
    on_cpu = augment(x, LEVELS["strong"], 32, generator())
    on_gpu = augment(x.cuda(), LEVELS["strong"], 32, generator()).cpu()
    torch.testing.assert_close(on_cpu, on_gpu, atol=1e-3, rtol=0)
