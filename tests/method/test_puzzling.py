import numpy as np
import pytest
import torch

from hmtl import Hybrid
from hmtl.method.pretext import Jigsaw, Puzzling, SecondView, make
from hmtl.method.pretext.puzzling import shuffle_tiles, unshuffle_tiles


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def slow_puzzle(image, order, n):
    """Tile by tile, as one would do it with scissors; image (H, W, C)."""
    out = np.empty_like(image)
    h, w = image.shape[0] // n, image.shape[1] // n
    for place, tile in enumerate(order):
        to_row, to_column = divmod(place, n)
        row, column = divmod(int(tile), n)
        out[to_row * h : (to_row + 1) * h, to_column * w : (to_column + 1) * w] = image[
            row * h : (row + 1) * h, column * w : (column + 1) * w
        ]
    return out


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("shape", [(24, 24), (12, 36)])
def test_puzzle_equals_scissors_and_target_names_the_tiles(n, shape):
    images = torch.rand(5, 3, *shape)
    views, target = Puzzling(n).transform(images, generator())
    for image, view, order in zip(images, views, target, strict=True):
        expected = slow_puzzle(image.permute(1, 2, 0).numpy(), order.numpy(), n)
        np.testing.assert_array_equal(view.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_unshuffling_undoes_shuffling(n):
    images = torch.rand(7, 3, 30, 30)
    order = torch.rand(7, n * n).argsort(1)
    assert torch.equal(unshuffle_tiles(shuffle_tiles(images, order, n), order, n), images)


def test_each_picture_has_its_own_permutation_and_all_occur():
    _, target = Puzzling(2).transform(torch.zeros(4000, 3, 4, 4), generator())
    assert torch.equal(target.sort(1).values, torch.arange(4).expand(4000, 4))
    kinds, counts = target.unique(dim=0, return_counts=True)
    assert len(kinds) == 24
    assert counts.min() > 100  # 167 expected of each


@pytest.mark.parametrize(
    ("size", "n", "fitted"), [(224, 3, 225), (112, 3, 111), (48, 3, 48), (47, 2, 48), (48, 5, 50)]
)
def test_sizes_that_n_does_not_divide_are_resized_to_the_nearest(size, n, fitted):
    views, target = Puzzling(n).transform(torch.rand(2, 3, size, size), generator())
    assert views.shape == (2, 3, fitted, fitted)
    assert target.shape == (2, n * n)


def test_only_shuffling_refuses_what_does_not_divide():
    with pytest.raises(ValueError, match="2 x 2"):
        shuffle_tiles(torch.zeros(1, 3, 5, 5), torch.zeros(1, 4, dtype=torch.long), 2)
    with pytest.raises(ValueError, match="n >= 2"):
        Puzzling(1)


def test_head_loss_equals_one_softmax_a_place():
    """The n^4 outputs of one layer are n^2 separate classifiers."""
    puzzle = Puzzling(3, dropout=0.0)
    head = puzzle.head(16)
    features, target = torch.randn(4, 16), torch.rand(4, 9).argsort(1)
    logits = head(features)
    assert logits.shape == (4, 9, 9)
    weight = head.linear.weight.view(9, 9, 16)
    bias = head.linear.bias.view(9, 9)
    separate = 0.0
    for place in range(9):
        own = features @ weight[place].T + bias[place]
        separate += torch.nn.functional.cross_entropy(own, target[:, place])
    torch.testing.assert_close(puzzle.loss(logits, target), separate)


def test_score_and_loss_of_a_perfect_and_of_an_ignorant_head():
    target = torch.tensor([[1, 0, 3, 2]])
    perfect = 50 * torch.nn.functional.one_hot(target, 4).transpose(1, 2).float()
    puzzle = Puzzling(2)
    assert puzzle.score(perfect, target) == 1
    assert puzzle.loss(perfect, target) < 1e-6
    # an even guess costs ln 4 a place, four places: by hand 5.545
    assert puzzle.loss(torch.zeros(1, 4, 4), target).item() == pytest.approx(5.545, abs=1e-3)


def test_same_generator_same_puzzle():
    images = torch.rand(3, 3, 8, 8)
    first = Puzzling(2).transform(images, generator())
    again = Puzzling(2).transform(images, generator())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_show_draws_pictures_and_puzzles():
    figure = Puzzling(2).show(torch.rand(3, 3, 16, 16))
    assert len(figure.axes) == 6


def test_short_names():
    assert make("puzzling_3x3").n == 3
    assert isinstance(make("second_view"), SecondView)
    for wrong in ("puzzling", "puzzling_2x3", "jigsaw_2x3", "second_view_2x2", "only_jigsaw", ""):
        with pytest.raises(ValueError, match="puzzling_NxN; .*second_view"):
            make(wrong)


@pytest.mark.parametrize("n", [2, 3])
def test_right_answers_solve_the_puzzle_and_every_tile_is_used_once(n):
    task, images = Puzzling(n), torch.rand(5, 3, 12, 12)
    views, target = task.transform(images, generator())
    right = torch.nn.functional.one_hot(target, n * n).transpose(1, 2).float() * 9
    assert torch.equal(task.solve(views, right), images)
    # two places claim one tile: the surer one gets it, no tile is lost
    unsure = torch.randn(5, n * n, n * n, generator=generator(1))
    solved = task.solve(views, unsure)
    assert torch.equal(solved.flatten(1).sort(1).values, images.flatten(1).sort(1).values)


def test_a_gap_takes_the_edges_away_and_nothing_else():
    task = make("puzzling_2x2_gap4")
    assert task.name == "puzzling_2x2_gap4"
    assert make("puzzling_3x3_gap2_map").name == "puzzling_3x3_gap2_map"
    rows = torch.arange(48.0).view(1, 1, 48, 1).expand(40, 3, 48, 48)
    views, order = task.transform(rows, generator())
    plain, same = Puzzling(2).transform(rows, generator())
    assert views.shape == plain.shape
    assert torch.equal(order, same)
    tiles, whole = (unshuffle_tiles(v, order, 2) for v in (views, plain))
    assert torch.equal(whole, rows)
    first = tiles[:, 0, 0, 0]  # each upper left square begins 0 to 4 rows down
    assert first.min() < 0.5
    assert 3.5 < first.max() < 4.5
    step = tiles[:, 0, 24, 0] - tiles[:, 0, 23, 0]  # across the cut, where it was 1
    assert 3 < step.mean() < 7
    with pytest.raises(ValueError, match="a gap of 24 pixels leaves nothing"):
        make("puzzling_2x2_gap24").transform(rows, generator())


@pytest.mark.parametrize("n", ["2x2", "2", 2.0, None, 1, -3])
@pytest.mark.parametrize("kind", [Puzzling, Jigsaw])
def test_tiles_a_side_are_a_whole_number(kind, n):
    with pytest.raises(ValueError, match=f"needs n >= 2 tiles a side, got {n!r}"):
        kind(n)


def test_a_class_in_the_place_of_a_task_is_told():
    with pytest.raises(ValueError, match=r"tasks such as Puzzling\(2\), or names"):
        Hybrid([Puzzling])
