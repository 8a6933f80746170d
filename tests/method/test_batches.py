import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from fastai.interpret import Interpretation
from fastai.learner import load_learner
from fastai.torch_core import TensorCategory
from fastai.vision.core import TensorImage
from PIL import Image
from toys import make_toy_pack

from hmtl.data.sets import load_pack
from hmtl.labels import EMOTIONS, class_indices
from hmtl.method.augment import VALID_CROP, center_crop
from hmtl.method.batches import FaceDataset, face_dataloaders, nested_fraction
from hmtl.method.learner import hmtl_learner


def loaders(pack, **options):
    return face_dataloaders(pack, bs=16, device="cpu", **options)


def test_batches_hold_the_images_and_labels_of_the_pack(toy_pack):
    dls = loaders(toy_pack)
    got = [(x, y) for x, y in dls.valid]
    x, y = torch.cat([x for x, _ in got]), torch.cat([y for _, y in got])
    rows = toy_pack.rows("valid")
    pixels = torch.from_numpy(np.array(toy_pack.images[rows])).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(
        torch.Tensor(x), center_crop(pixels, VALID_CROP, toy_pack.size), atol=1e-6, rtol=0
    )
    assert (
        y.tolist()
        == class_indices(toy_pack.labels["emotion"].iloc[rows], EMOTIONS, "emotion").tolist()
    )


def test_an_epoch_shows_every_training_image_once_in_another_order(toy_pack):
    dls = loaders(toy_pack, augment="none")
    seen = []
    dls.train.dataset.gather, original = (
        (lambda p: seen.append(list(p)) or original(p)),
        dls.train.dataset.gather,
    )
    for _ in range(2):
        list(dls.train)
    first, second = sum(seen[:5], []), sum(seen[5:], [])
    assert sorted(first) == sorted(second) == list(range(80))
    assert first != second


def test_order_and_augmentation_follow_the_seed_alone(toy_pack):
    def epoch(seed):
        torch.manual_seed(np.random.randint(1000))  # the global state must not matter
        return torch.cat([x for x, _ in loaders(toy_pack, augment="strong", seed=seed).train])

    assert torch.equal(epoch(3), epoch(3))
    assert not torch.equal(epoch(3), epoch(4))


def test_grey_images_become_three_equal_channels(tmp_path):
    pack = make_toy_pack(tmp_path / "grey", channels=1)
    x, _ = loaders(pack).valid.one_batch()
    assert x.shape[1] == 3
    assert torch.equal(x[:, 0], x[:, 2])


def test_types_are_those_fastai_knows(toy_pack):
    dls = loaders(toy_pack)
    x, y = dls.one_batch()
    assert isinstance(x, TensorImage)
    assert isinstance(y, TensorCategory)
    assert (dls.c, list(dls.vocab), len(dls.loaders)) == (8, list(EMOTIONS), 3)
    assert str(dls.train_ds.decode(dls.train_ds[0])[1]) in EMOTIONS


def test_label_fractions_are_nested_stratified_and_seeded():
    classes = np.repeat(np.arange(8), [400, 300, 200, 100, 60, 40, 20, 3])
    chosen = [set(nested_fraction(classes, f, seed=1)) for f in (0.05, 0.1, 0.2, 0.5, 1.0)]
    for small, large in zip(chosen, chosen[1:], strict=False):
        assert small < large
    assert len(chosen[-1]) == len(classes)
    tenth = np.bincount(classes[sorted(chosen[1])], minlength=8)
    assert tenth.tolist() == [40, 30, 20, 10, 6, 4, 2, 1]  # never none of a class
    assert set(nested_fraction(classes, 0.1, seed=1)) == chosen[1]
    assert set(nested_fraction(classes, 0.1, seed=2)) != chosen[1]


def test_few_labels_fill_an_epoch(toy_pack):
    whole = loaders(toy_pack).train_ds
    few = loaders(toy_pack, fraction=0.3).train_ds
    filled = loaders(toy_pack, fraction=0.3, fill=True).train_ds
    assert len(filled) == len(whole)
    rows, times = np.unique(filled.rows, return_counts=True)
    assert rows.tolist() == few.rows.tolist()  # the same faces
    assert times.max() - times.min() <= 1  # as often as one another
    assert filled.left_out == few.left_out
    again = loaders(toy_pack, fraction=0.3, fill=True, seed=5).train_ds
    assert again.rows.tolist() == filled.rows.tolist()  # not of the run's seed
    assert len(loaders(toy_pack, fill=True).train_ds) == len(whole)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01])
def test_a_fraction_outside_zero_to_one_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        nested_fraction(np.zeros(10, int), fraction)


def test_fraction_reaches_the_training_set_only(toy_pack):
    dls = loaders(toy_pack, fraction=0.5)
    assert [len(d.dataset) for d in dls.loaders] == [40, 40, 40]


def test_balanced_sampling_evens_out_the_classes(tmp_path):
    pack = make_toy_pack(tmp_path / "p", count=800)
    dls = loaders(pack, sampling="balanced")
    data = dls.train.dataset
    # keep one face of "happy" for every ten of the others
    keep = (data.classes != 1) | (np.cumsum(data.classes == 1) % 10 == 0)
    data = FaceDataset(pack, data.rows[keep])
    counts = np.bincount(data.classes, minlength=8)
    data.sampling_weights = (1 / counts[data.classes]).tolist()
    loader = dls.train.new(data)
    epochs = [loader.shuffle_fn(list(range(len(data)))) for _ in range(20)]
    drawn = np.bincount(data.classes[np.concatenate(epochs)], minlength=8)
    assert drawn.min() > 0.8 * drawn.mean()


def test_probability_labels_are_distributions(toy_pack):
    _, y = loaders(toy_pack, labels="probability").one_batch()
    assert y.shape == (16, 8)
    torch.testing.assert_close(torch.Tensor(y).sum(1), torch.ones(16))


def test_wrong_choices_name_the_right_ones(toy_pack, tmp_path):
    with pytest.raises(ValueError, match="natural, balanced"):
        loaders(toy_pack, sampling="even")
    with pytest.raises(ValueError, match="majority, probability"):
        loaders(toy_pack, labels="soft")
    with pytest.raises(ValueError, match="use labels='majority'"):
        loaders(make_toy_pack(tmp_path / "p"), labels="probability")


@pytest.mark.parametrize(
    ("level", "means"),
    [
        ("none", [0.684934, 0.269684, 0.502163, 0.611283]),
        ("weak", [0.691651, 0.140063, 0.252424, 0.410322]),
        ("strong", [0.663814, 0.190677, 0.252789, 0.449599]),
    ],
)
def test_batches_of_emotions_are_those_of_earlier_versions(level, means):
    """Mean brightness of the first four pictures as version 0.3.0 drew them first.

    Means, not bits: another processor may round otherwise.
    """
    dls = face_dataloaders(
        load_pack("mini"), bs=4, augment=level, seed=5, device="cpu", fraction=0.5
    )
    x, y = dls.train.one_batch()
    torch.testing.assert_close(
        torch.Tensor(x).mean((1, 2, 3)), torch.tensor(means), atol=2e-6, rtol=0
    )
    assert y.tolist() == [2, 6, 6, 3]


# -- what fastai asks of a Learner's data ---


@pytest.fixture
def learn(toy_pack):
    made = hmtl_learner(loaders(toy_pack), seed=0, pretexts="puzzling_2x2")
    with made.no_bar(), made.no_logging():
        made.fit(1)
    return made


@pytest.mark.parametrize("kind", ["file", "text", "array", "image", "tensor", "bytes"])
@pytest.mark.parametrize("exported", [False, True])
def test_a_picture_of_the_users_is_answered(learn, tmp_path, kind, exported):
    face = np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    file = tmp_path / "face.png"
    Image.fromarray(face).save(file)
    given = {
        "file": file, "text": str(file), "array": face, "image": Image.fromarray(face),
        "tensor": TensorImage(torch.tensor(face).permute(2, 0, 1)), "bytes": file.read_bytes(),
    }[kind]  # fmt: skip
    size = learn.dls.train.dataset.pack.size
    square = Image.fromarray(face[10:60]).resize((size, size), Image.Resampling.LANCZOS)
    pixels = torch.tensor(np.asarray(square)).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        expected = learn.model.eval()(center_crop(pixels, VALID_CROP, size)).softmax(1)[0]
    if exported:
        learn.export(tmp_path / "learn.pkl")
        learn = load_learner(tmp_path / "learn.pkl")
    with learn.no_bar():
        said, at, shares = learn.predict(given)
    torch.testing.assert_close(torch.Tensor(shares), torch.Tensor(expected))
    assert int(at) == int(expected.argmax())
    assert str(said) == EMOTIONS[int(at)]


def test_a_network_of_grey_faces_sees_grey(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 20, 20, 3), dtype=np.uint8)
    pack = make_toy_pack(tmp_path / "grey", channels=1)
    (found,) = loaders(pack).valid.new(list(pixels)).one_batch()
    assert found.shape == (2, 3, pack.size, pack.size)
    assert torch.equal(found[:, 0], found[:, 1])
    square = Image.fromarray(pixels[0]).convert("L").resize((pack.size,) * 2, 1)
    seen = torch.tensor(np.asarray(square))[None, None] / 255
    torch.testing.assert_close(
        torch.Tensor(found[:1, :1]), center_crop(seen, VALID_CROP, pack.size)
    )


def test_a_folder_of_pictures_is_answered_in_order(learn, toy_pack, tmp_path):
    rows = toy_pack.rows("valid")
    for i, row in enumerate(rows):
        Image.fromarray(np.array(toy_pack.images[row])).save(tmp_path / f"{i:03d}.png")
    with learn.no_bar():
        expected, _ = learn.get_preds()
        found, none = learn.get_preds(dl=learn.dls.test_dl(sorted(tmp_path.iterdir())))
    assert none is None
    torch.testing.assert_close(found, expected)


def test_faces_that_fastai_takes_out_are_those_that_they_were(learn):
    with learn.no_bar():
        told = Interpretation.from_learner(learn)
        losses, places = told.top_losses(5)
        shown, answers, labels, _, again = told[places]
        every, targets = learn.get_preds()
        assert torch.equal(torch.Tensor(again), torch.Tensor(losses))
        assert torch.equal(torch.Tensor(labels), torch.Tensor(targets[places]))
        torch.testing.assert_close(torch.Tensor(answers), torch.Tensor(every[places]))
        x = torch.cat([images for images, _ in learn.dls.valid])
        assert torch.equal(torch.Tensor(shown), torch.Tensor(x[places]))
        told.plot_top_losses(4)
    plt.close("all")


def test_tta_is_the_mean_of_augmented_passes_and_leaves_no_trace(learn):
    with learn.no_bar():
        plain, targets = learn.get_preds()
        shares, same = learn.tta(n=3)
        alone, _ = learn.tta(n=3, beta=1.0)  # the plain pass alone
        assert torch.equal(targets, same)
        torch.testing.assert_close(shares.sum(1), torch.ones(len(shares)))
        torch.testing.assert_close(alone, plain)
        assert not torch.allclose(shares, plain)
        assert torch.equal(learn.get_preds()[0], plain)
