"""What users do with any fastai Learner: with Hybrid added it does as without."""

import copy

import numpy as np
import pytest
import timm
import torch
from fastai.callback.core import Callback
from fastai.callback.mixup import MixUp
from fastai.callback.schedule import lr_find  # noqa: F401  patches Learner
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
from fastai.callback.training import GradientAccumulation
from fastai.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, RegressionBlock
from fastai.data.core import DataLoaders
from fastai.data.transforms import Normalize
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import Adam as fastai_adam
from fastai.optimizer import OptimWrapper, ranger
from fastai.torch_core import TensorImage
from fastai.vision.augment import Resize
from fastai.vision.core import PILImage, PILImageBW, TensorBBox
from fastai.vision.data import ImageBlock, PointBlock
from fastai.vision.models.xresnet import xresnet18
from torch import nn
from torchvision import models

from hmtl import Hybrid, Inpainting, Puzzling, hmtl_learner
from hmtl.method.batches import face_dataloaders
from hmtl.method.body import Watch, as_map, find_body
from hmtl.method.encoder import Encoder
from hmtl.method.pretext import make


@pytest.fixture
def dls(toy_pack):
    return face_dataloaders(toy_pack, bs=16, device="cpu", seed=0)


def small(channels=3, outputs=8):
    body = nn.Sequential(nn.Conv2d(channels, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, outputs))
    return nn.Sequential(body, head)


def learner(dls, *cbs, model=None, path=None, **options):
    torch.manual_seed(0)
    options = {"loss_func": CrossEntropyLossFlat(), **options}
    return Learner(dls, model or small(), cbs=list(cbs), path=path, **options)


def pictures(block, kind=PILImage, count=24, normalize=False, **options):
    """fastai's own DataLoaders of noise, made without a file."""
    rng = np.random.default_rng(0)
    shape = (32, 40) if kind is PILImageBW else (32, 40, 3)
    images = [kind.create(rng.integers(0, 255, shape).astype(np.uint8)) for _ in range(count)]
    data = DataBlock(
        blocks=(ImageBlock(kind), block),
        get_x=lambda i: images[i],
        splitter=lambda items: (items[:16], items[16:]),
        item_tfms=Resize(32),
        batch_tfms=[Normalize.from_stats([0.5] * 3, [0.5] * 3)] if normalize else [],
        **options,
    )
    return data.dataloaders(list(range(count)), bs=8, device="cpu", num_workers=0)


def left(learn):
    """What a fit may not leave: hooks, parameters in the optimizer, metrics, methods."""
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in learn.model.modules())
    return hooks, sum(map(len, learn.opt.param_lists)), len(learn.metrics), {
        "_do_epoch", "_with_events", "save"
    } & set(vars(learn))  # fmt: skip


class Fail(Callback):
    """Raise an error at an event."""

    order = 70

    def __init__(self, event, error):
        self.event, self.error = event, error

    def __call__(self, event):
        if event == self.event:
            raise self.error


# -- errors and interrupts ---


@pytest.mark.parametrize("event", ["before_epoch", "before_batch", "after_batch", "after_epoch"])
def test_wherever_a_fit_fails_the_learner_is_as_it_was(dls, quiet, event):
    learn = learner(dls, Hybrid([Puzzling(2)], balance="uncertainty", seed=0))
    learn.create_opt()
    before = left(learn)
    with quiet(learn):
        for error in (KeyboardInterrupt(), OSError("disk full")):
            with pytest.raises(type(error)):
                learn.fit(1, cbs=[Fail(event, error)])
            assert left(learn) == before
            assert len(learn.validate()) == 1
        learn.fit(1)
    assert left(learn) == before


@pytest.mark.parametrize("added", [True, False])
def test_removing_it_after_a_typo_leaves_nothing(dls, quiet, added):
    hybrid = Hybrid([Puzzling(2)], seed=0)
    learn = learner(dls)
    learn.create_opt()
    before = left(learn)
    if added:
        learn.add_cb(hybrid)
    typo = [EarlyStoppingCallback(monitor="typo"), *([] if added else [hybrid])]
    with quiet(learn):
        with pytest.raises((AssertionError, IndexError)):  # the latter from fastai's own message
            learn.fit(1, cbs=typo)
        learn.remove_cbs([hybrid] if added else [])
        assert left(learn) == before
        learn.fit(1)
    assert hybrid.learn is None
    assert left(learn) == before


# -- saving, the finder ---


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "ranger"])
@pytest.mark.filterwarnings("error:Could not load the optimizer state")
def test_what_is_saved_within_a_fit_loads_with_its_optimizer(dls, quiet, tmp_path, optimizer):
    options = {
        "adam": {},
        "adamw": {"opt_func": lambda p, lr: OptimWrapper(p, torch.optim.AdamW, lr=lr)},
        "ranger": {"opt_func": ranger},
    }[optimizer]
    hybrid = Hybrid([Puzzling(2)], balance="uncertainty", seed=0)
    learn = learner(dls, hybrid, path=tmp_path, **options)
    keep = SaveModelCallback(monitor="valid_loss", every_epoch=True, with_opt=True, fname="m")
    with quiet(learn):
        learn.fit(2, cbs=[keep])
    other = learner(dls, path=tmp_path, **options)
    other.load("m_0", with_opt=True)
    other.load("m_1", with_opt=True)
    with quiet(other):
        other.fit(1)


def test_saving_within_a_fit_changes_no_number(dls, quiet, tmp_path):
    weights = []
    for keep in ([], [SaveModelCallback(every_epoch=True, with_opt=True, monitor="valid_loss")]):
        loaders = face_dataloaders(dls.train.dataset.pack, bs=16, device="cpu", seed=0)
        learn = learner(loaders, Hybrid([Puzzling(2)], seed=0), path=tmp_path)
        with quiet(learn):
            learn.fit(3, cbs=keep)
        head = learn.hybrid.heads["puzzling_2x2"]
        weights.append([p.detach() for m in (learn.model, head) for p in m.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize("fits", [0, 1])
def test_the_finder_leaves_a_learned_balance_alone(dls, quiet, tmp_path, fits):
    hybrid = Hybrid([Puzzling(2)], balance="uncertainty", seed=0)
    learn = learner(dls, hybrid, path=tmp_path)
    with quiet(learn):
        if fits:
            learn.fit(1)
        before = fits and hybrid.balance.module.log_var.detach().clone()
        learn.lr_find(show_plot=False, num_it=20, end_lr=1)
        if fits:
            assert torch.equal(hybrid.balance.module.log_var, before)
        else:
            assert hybrid.balance.module is None
        learn.fit(1)


def test_ranger_takes_the_heads_back_and_another_hybrid(dls, quiet):
    learn = learner(dls, Hybrid([Puzzling(2)], seed=0), opt_func=ranger)
    with quiet(learn):
        learn.fit(1)
        learn.fit(1)
        learn.remove_cb(Hybrid)
        learn.add_cb(Hybrid([Puzzling(3)], seed=0))
        learn.fit(1)
    assert left(learn)[1] == len(list(learn.model.parameters()))


# -- networks ---


@pytest.mark.parametrize(
    ("arch", "grid"),
    [
        ("test_vit", (2, 2)), ("test_convnext", (1, 1)), ("test_efficientnet", (1, 1)),
        ("regnetx_002", (1, 1)),
    ],
)  # fmt: skip
def test_any_timm_backbone_gives_its_map(dls, quiet, arch, grid):
    learn = hmtl_learner(dls, arch, pretexts=["inpainting_grid"], seed=0)
    seen = []

    class Look(Callback):
        order = Hybrid.order + 1

        def after_pred(self):
            seen.append(self.hybrid._watch.calls[-1].features["map"].shape)

    with quiet(learn):
        learn.fit(1, cbs=[Look()])
    assert seen[0][1] == learn.model.encoder.map_features
    assert tuple(seen[0][2:]) == grid


def test_the_map_is_no_other_than_before_the_pooling():
    # by the pooling layer's own input, where there is one
    encoder = Encoder("test_efficientnet").eval()
    found, images = {}, torch.rand(2, 3, 64, 64)
    encoder.map.register_forward_pre_hook(lambda m, x: found.update(ours=x[0]))
    encoder.body.global_pool.register_forward_pre_hook(lambda m, x: found.update(timm=x[0]))
    encoder(images)
    assert torch.equal(found["ours"], found["timm"])


def test_tokens_lie_where_their_patches_do():
    # a grid of known numbers, with and without tokens before it, on pictures of several shapes
    for (height, width), prefix in (
        ((3, 3), 1),
        ((2, 4), 1),
        ((16, 8), 1),
        ((2, 2), 5),
        ((2, 3), 0),
    ):
        tokens = torch.arange(height * width).float() + prefix
        tokens = torch.cat([torch.arange(prefix).float(), tokens])[None, :, None].repeat(2, 1, 4)
        found = as_map(tokens, (16 * height, 16 * width), prefix)
        right = torch.arange(height * width).reshape(height, width) + prefix
        assert torch.equal(found[1, 3], right.float())
    assert as_map(torch.zeros(2, 1 + 8, 4), (32, 32), 1) is None  # eight tokens are no square
    assert as_map(torch.zeros(2, 1 + 9, 4)).shape == (2, 4, 3, 3)
    assert as_map(torch.zeros(2, 4)) is None


def test_a_first_part_without_weights_is_no_encoder():
    network = nn.Sequential(nn.Sequential(nn.Identity()), small())
    with pytest.raises(ValueError, match="body="):
        find_body(network)


class Tutorial(nn.Module):
    """As in PyTorch's tutorial: one pooling layer for all, the rest by functions."""

    def __init__(self, around=False):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.pool, self.head, self.around = nn.MaxPool2d(2), nn.Linear(8, 8), around

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x) + (x if self.around else 0)))
        return self.head(x.mean((2, 3)))


def flat(last=None):
    last = [last or nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 8)]
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(), nn.Conv2d(8, 16, 3), nn.ReLU(), *last)


def scripted(network, *parts):
    """The network with parts, by their places, that take no hooks; without any the whole."""
    for place in parts:
        network[place] = torch.jit.script(network[place])
    return network if parts else torch.jit.script(network)


@pytest.mark.parametrize(
    ("model", "body", "pixels", "cells"),
    [
        (lambda: models.resnet18(num_classes=8), "layer4", 64, 2),
        (lambda: models.resnet18(num_classes=8), "layer4", 32, 1),
        (lambda: models.mobilenet_v3_small(num_classes=8), "features", 64, 2),
        (lambda: xresnet18(n_out=8), "7", 64, 2),
        (flat, "4", 16, 12),
        (lambda: flat(nn.AdaptiveMaxPool2d(1)), "4", 16, 12),
        (lambda: scripted(flat(), 3), "4", 16, 12),
        (Tutorial, "conv2", 16, 8),
    ],
)
def test_the_last_map_is_found_whatever_the_network(quiet, model, body, pixels, cells):
    """To the bit as if it had been named; what is drawn at random is drawn as without looking."""
    data = [(torch.rand(3, pixels, pixels), i % 8) for i in range(4)]
    trained = []
    for named in (False, True):
        torch.manual_seed(0)
        network = model()
        given = {"body": network.get_submodule(body)} if named else {}
        hybrid = Hybrid([Puzzling(2)], seed=0, **given)
        loaders = (torch.utils.data.DataLoader(data, 2) for _ in range(2))
        learn = learner(DataLoaders(*loaders, device="cpu"), hybrid, model=network)
        with quiet(learn):
            learn.fit(1)
        watch = Watch(hybrid.watched(), network, (pixels, pixels))
        network(data[0][0][None])
        assert watch.calls[-1].features["map"].shape[2:] == (cells, cells)
        watch.close()
        trained.append(network.state_dict())
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())


class Parts(nn.Module):
    """A network of parts with names, one after another."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        for part in self.children():
            x = part(x)
        return x


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda: Tutorial(around=True), r"body=learn\.model\.conv2 \(Conv2d\) or"),
        (lambda: nn.Sequential(*flat()[:5], nn.Conv2d(16, 16, 1), *flat()[5:]),
         r"body=learn\.model\[5\] \(Conv2d\) or"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.ReLU()), "the representation$"),
        (lambda: Parts(backbone=timm.create_model("test_vit", img_size=16, num_classes=0),
                       head=nn.Linear(64, 8)),
         r"such as body=learn\.model\.backbone \(VisionTransformer\)"),
        (lambda: Parts(down=nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU()),
                       up=nn.Upsample(scale_factor=2), last=nn.Conv2d(16, 16, 3, padding=1),
                       head=nn.Conv2d(16, 8, 1)),
         r"such as body=learn\.model\.down \(Sequential\) or"),
        (lambda: scripted(small()), r"Sequential was made by torch\.jit and takes no hooks"),
        (lambda: scripted(small(), 0), r"Sequential was made by torch\.jit and takes no hooks"),
        (lambda: scripted(timm.create_model("test_resnet", num_classes=8)), r"ResNet was made by"),
    ],
)  # fmt: skip
def test_where_it_is_not_certain_the_maps_are_named(quiet, model, told):
    data = [(torch.rand(3, 16, 16), i % 8) for i in range(8)]
    loaders = (torch.utils.data.DataLoader(data, 4) for _ in range(2))
    learn = learner(DataLoaders(*loaders, device="cpu"), Hybrid([Puzzling(2)]), model=model())
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    with quiet(learn), pytest.raises(ValueError, match=told):
        learn.fit(1)
    assert all(torch.equal(value, before[n]) for n, value in learn.model.state_dict().items())
    assert all(m.training and not m._forward_hooks for m in learn.model.modules())


@pytest.mark.parametrize("arch", ["test_convnext", "mobilenetv3_small_050"])
def test_gradnorm_finds_the_last_weights_that_run(dls, quiet, arch):
    # timm's body ends in a norm or a convolution that only its own head would use
    model = timm.create_model(arch, num_classes=0)

    class Body(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model.forward_features(x)

    width = Body().eval()(torch.rand(1, 3, 32, 32)).shape[1]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 8))
    learn = learner(
        dls, Hybrid([Puzzling(2)], balance="gradnorm"), model=nn.Sequential(Body(), head)
    )
    with quiet(learn):
        learn.fit(1)
    assert learn.hybrid.balance.weights.sum() == pytest.approx(2, rel=1e-3)


def test_gradnorm_with_a_frozen_encoder_is_the_sum(dls, quiet):
    learn = learner(dls, Hybrid([Puzzling(2)], balance="gradnorm"))
    for parameter in learn.model[0].parameters():
        parameter.requires_grad_(False)
    with quiet(learn):
        learn.fit(1)
    assert learn.hybrid.balance.weights.tolist() == [1, 1]


# -- pictures, labels, losses ---


def test_grey_pictures_are_rebuilt_as_coloured_ones_are():
    torch.manual_seed(0)
    grey = torch.rand(4, 1, 32, 32)
    prediction = torch.rand(4, 1, 32, 32).repeat(1, 3, 1, 1)
    answers = []
    for images in (grey, grey.repeat(1, 3, 1, 1)):
        task = Inpainting("grid")
        _, target = task.transform(images, task.seeded(0))
        answers.append((task.loss(prediction, target), task.score(prediction, target)))
    torch.testing.assert_close(answers[0], answers[1])


def test_a_grey_picture_is_not_taken_for_its_map(quiet):
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

        def forward(self, x):
            return self.net(x)

    dls = pictures(CategoryBlock(vocab=[0, 1]), PILImageBW, get_y=lambda i: i % 2)
    model = nn.Sequential(Pooled(), nn.Linear(4, 2))
    learn = learner(dls, Hybrid("inpainting_grid"), model=model)
    with quiet(learn), pytest.raises(ValueError, match="feature map"):
        learn.fit(1)
    learn = learner(dls, Hybrid([Puzzling(2), "inpainting_grid"]), model=small(1, 2))
    with quiet(learn):
        learn.fit(1)


@pytest.mark.parametrize("normalize", [False, True])
def test_show_draws_the_pictures_themselves(normalize):
    drawn = []

    class Look(Puzzling):
        def show(self, images, seed=0):
            drawn.append(images)

    dls = pictures(CategoryBlock(vocab=[0, 1]), normalize=normalize, get_y=lambda i: i % 2)
    learn = learner(dls, Hybrid(Look(2)), model=small(3, 2))
    learn.hybrid.show(3)
    assert drawn[0].shape == (3, 3, 32, 32)
    assert 0.4 < float(drawn[0].mean()) < 0.6
    assert 0 <= float(drawn[0].min()) < 0.1
    assert 0.9 < float(drawn[0].max()) <= 1 + 1e-5


def test_mixup_mixes_our_losses_and_is_refused_beside_an_unmixed_view(dls, quiet):
    learn = hmtl_learner(dls, "tiny", pretexts=[Puzzling(2)], seed=0, cbs=[MixUp()])
    with quiet(learn):
        learn.fit(1)
    learn = hmtl_learner(dls, "tiny", pretexts=["second_view"], seed=0, cbs=[MixUp()])
    with quiet(learn), pytest.raises(ValueError, match="MixUp mixes"):
        learn.fit(1)


def test_torchs_own_loaders_will_do(quiet):
    data = [(torch.rand(3, 32, 32), i % 8) for i in range(32)]
    loaders = [torch.utils.data.DataLoader(data, batch_size=8) for _ in range(2)]
    learn = learner(DataLoaders(*loaders, device="cpu"), Hybrid([Puzzling(2), "inpainting_grid"]))
    with quiet(learn):
        learn.fit(1)
    assert set(learn.hybrid.heads) == {"puzzling_2x2", "inpainting_grid"}
    learn = learner(DataLoaders(*loaders, device="cpu"), Hybrid("second_view"))
    with quiet(learn), pytest.raises(ValueError, match="face_dataloaders"):
        learn.fit(1)


@pytest.mark.parametrize(
    ("block", "label", "named"),
    [
        (MultiCategoryBlock(vocab=["a", "b"]), lambda i: ["a", "b"][: 1 + i % 2], "BCE"),
        (RegressionBlock(n_out=2), lambda i: (float(i), 1.0), "MSE"),
    ],
)
def test_labels_that_are_not_one_class_are_not_taken_for_emotions(block, label, named):
    dls = pictures(block, get_y=label)
    with pytest.raises(ValueError, match=named):
        hmtl_learner(dls, "tiny", pretexts=[Puzzling(2)])
    hmtl_learner(dls, "tiny", pretexts=[Puzzling(2)], loss_func=dls.loss_func)


def test_places_do_not_follow_a_puzzle(quiet):
    def apart(out, y):
        return (out.reshape(-1, 2, 2) - y.reshape(-1, 2, 2)).abs().mean()

    dls = pictures(PointBlock, get_y=lambda i: [[i, 3.0], [5.0, 6.0]])
    shared = Hybrid([Puzzling(2)], views="shared")
    learn = learner(dls, shared, model=small(3, 4), loss_func=apart)
    with quiet(learn), pytest.raises(ValueError, match=r"TensorPoint.*views='paired', label_views"):
        learn.fit(1)
    learn = learner(dls, Hybrid([Puzzling(2)]), model=small(3, 4), loss_func=apart)
    with quiet(learn), pytest.raises(ValueError, match=r"TensorPoint.*label_views=False"):
        learn.fit(1)
    plain = Hybrid([Puzzling(2)], label_views=False)
    learn = learner(dls, plain, model=small(3, 4), loss_func=apart)
    with quiet(learn):
        learn.fit(1)


def test_a_negative_loss_has_no_geometric_mean(dls, quiet):
    def negative(out, y):
        return CrossEntropyLossFlat()(out, y) - 100

    learn = learner(dls, Hybrid([Puzzling(2)]), loss_func=negative)
    with quiet(learn), pytest.raises(ValueError, match="label_views=False"):
        learn.fit(1)
    learn = learner(dls, Hybrid([Puzzling(2)], label_views=False), loss_func=negative)
    with quiet(learn):
        learn.fit(1)
    for balance in ("geometric", "focused"):
        unlabelled = Hybrid([Puzzling(2)], label_views=False, balance=balance)
        learn = learner(dls, unlabelled, loss_func=negative)
        with quiet(learn), pytest.raises(ValueError, match="losses above 0: pass another balance"):
            learn.fit(1)


class Keep(Callback):
    """Keeps, or goes back to, what a user's own checkpoint holds."""

    def before_fit(self):
        self.first = copy.deepcopy(self.opt.state_dict())

    def after_epoch(self):
        if self.epoch == 1:
            self.opt.load_state_dict(self.first)  # a rollback
        self.learn.kept = copy.deepcopy(self.opt.state_dict())
        self.learn.copied = copy.deepcopy(self.opt)


@pytest.mark.parametrize("opt_func", [fastai_adam, ranger])
def test_a_users_own_state_of_the_optimizer_is_the_plain_one(dls, quiet, opt_func):
    shapes = []
    for cbs in ([], [Hybrid([Puzzling(2)], balance="uncertainty", seed=0)]):
        learn = learner(dls, Keep(), *cbs, opt_func=opt_func)
        with quiet(learn):
            learn.fit(3)
        shapes.append([sorted(state) for state in learn.kept["state"]])
        assert len(learn.copied.all_params()) == len([*learn.model.parameters()])
        assert not {"state_dict", "__deepcopy__"} & set(vars(learn.copied))
        again = learner(dls, opt_func=opt_func)
        again.create_opt()
        again.opt.load_state_dict(learn.kept)
        with quiet(again):
            again.fit(1)
    assert shapes[0] == shapes[1]
    assert not {"state_dict", "load_state_dict"} & set(vars(learn.opt))


class Penalty(Callback):
    """Adds to the losses, in place as fastai's own callbacks multiply, or by new tensors."""

    def __init__(self, in_place):
        self.in_place = in_place

    def after_loss(self):
        part = 0.1 * sum(p.pow(2).sum() for p in self.learn.model[1].parameters())
        if self.in_place:
            self.learn.loss_grad += part
            self.learn.loss += part.detach()
        else:
            self.learn.loss_grad = self.learn.loss_grad + part
            self.learn.loss = self.learn.loss + part.detach()


@pytest.mark.parametrize("balance", ["sum", "geometric", "focused"])
@pytest.mark.parametrize("pretext", ["puzzling_2x2", "only_puzzling_2x2"])
def test_losses_may_be_changed_in_place(toy_pack, quiet, balance, pretext):
    """A whole batch accumulated is a batch; a penalty counts as one of new tensors does."""
    found = []
    for extra in ([], [GradientAccumulation(16)], [Penalty(True)], [Penalty(False)]):
        dls = face_dataloaders(toy_pack, bs=16, device="cpu", seed=0)
        learn = learner(dls, Hybrid(pretext, balance=balance, seed=0), *extra, lr=0.01)
        with quiet(learn):
            learn.fit(1)
        found.append(learn.model[1][2].weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(found[2], found[3])


@pytest.mark.parametrize("shape", [(5, 2), (5, 3)])
def test_points_are_places_whatever_their_type(quiet, shape):
    data = [(torch.rand(3, 32, 32), torch.rand(shape)) for _ in range(16)]
    dls = DataLoaders.from_dsets(data, data, bs=8, device="cpu")
    outputs = shape[0] * shape[1]
    for hybrid in (Hybrid([Puzzling(2)]), Hybrid([Puzzling(2)], label_views=False)):
        model = nn.Sequential(small(3, outputs), nn.Unflatten(1, shape))
        learn = learner(dls, hybrid, model=model, loss_func=nn.MSELoss())
        hybrid.body = model[0][0]
        with quiet(learn):
            if hybrid.label_views is None:
                with pytest.raises(ValueError, match="places in the picture"):
                    learn.fit(1)
            else:
                learn.fit(1)


def test_places_are_known_in_the_very_first_fit(quiet):
    data = [(TensorImage(torch.rand(3, 32, 32)), TensorBBox(torch.rand(4))) for _ in range(16)]
    dls = DataLoaders.from_dsets(data, data, bs=8, device="cpu")
    learn = learner(dls, Hybrid([Puzzling(2)]), model=small(3, 4), loss_func=nn.MSELoss())
    with quiet(learn), pytest.raises(ValueError, match="TensorBBox labels are places"):
        learn.fit(1)


def test_a_shared_view_is_always_labelled():
    with pytest.raises(ValueError, match="label_views=False needs views='paired'"):
        Hybrid(["image_rotation"], "shared", label_views=False)


@pytest.mark.parametrize("inplace", [True, False])
def test_a_network_that_changes_its_input_is_told_to_copy_it(dls, quiet, inplace):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = small()

        def forward(self, x):
            return self.inner(x.sub_(0.5) if inplace else x - 0.5)

    model = Own()
    learn = learner(dls, Hybrid([Puzzling(2)], body=model.inner[0]), model=model)
    with quiet(learn):
        if inplace:
            with pytest.raises(ValueError, match="changes its input in place"):
                learn.fit(1)
        else:
            learn.fit(1)


@pytest.mark.parametrize("kind", [torch.Tensor, TensorImage])
def test_a_normalisation_that_leaves_plain_tensors_alone_is_not_undone(quiet, kind):
    class Saw(Callback):
        order = Hybrid.order + 1

        def after_pred(self):
            self.learn.saw = self.learn.hybrid._pictures.plain(self.xb[0])

    data = [(kind(torch.full((3, 16, 16), 0.25 + i % 2 / 2)), i % 4) for i in range(8)]
    steps = [Normalize.from_stats([0.5] * 3, [0.25] * 3)]
    dls = DataLoaders.from_dsets(data, data, bs=4, device="cpu", after_batch=steps)
    learn = learner(dls, Hybrid([Puzzling(2)], seed=0), Saw(), model=small(3, 4))
    with quiet(learn):
        learn.fit(1)
    assert sorted(learn.saw.unique().tolist()) == [0.25, 0.75]


def test_what_is_asked_needs_a_learner_and_pictures(dls, quiet):
    hybrid = Hybrid([Puzzling(2)], seed=0)
    learn = learner(dls)
    with quiet(learn):
        learn.fit(1, cbs=hybrid)  # fastai takes it away again
    for ask in (hybrid.show, lambda: hybrid.ask(torch.rand(2, 3, 32, 32))):
        with pytest.raises(ValueError, match=r"in no Learner: add it by learn\.add_cb"):
            ask()
    learn.add_cb(hybrid)
    hybrid.ask(torch.rand(2, 3, 32, 32))
    with pytest.raises(ValueError, match=r"the asked pictures go from .* need them in \[0, 1\]"):
        hybrid.ask(torch.randn(2, 3, 32, 32))


def test_a_hybrid_that_comes_into_a_fit_says_so(dls, quiet):
    class Late(Callback):
        def before_epoch(self):
            if self.epoch == 1:
                self.learn.add_cb(Hybrid([Puzzling(2)]))

    learn = learner(dls, Late())
    with quiet(learn), pytest.raises(ValueError, match="came into a fit that had begun"):
        learn.fit(2)


def test_a_siamese_task_can_be_probed(dls, quiet):
    learn = hmtl_learner(dls, "tiny", pretexts=["probe_barlow_twins"], seed=0)
    with quiet(learn):
        learn.fit(1)
    assert make("probe_barlow_twins").siamese
    assert make("only_second_view").plain_view


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"balance": None}, "balance"), ({"scales": 1.0}, "scales"), ({"weight": [1]}, "weight"),
        ({"task": "emotion"}, "task"), ({"pretexts": Puzzling}, "pretexts"),
    ],
)  # fmt: skip
def test_arguments_of_a_wrong_kind_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        Hybrid(**{"pretexts": [Puzzling(2)], **options})


def test_a_hybrid_of_another_network_begins_anew(dls, quiet):
    hybrid = Hybrid([Puzzling(2)], seed=0)
    learn = learner(dls, hybrid)
    with quiet(learn):
        learn.fit(1)
    learn.remove_cb(hybrid)
    learn = hmtl_learner(dls, "tiny", cbs=[hybrid])
    with quiet(learn):
        learn.fit(1)
    head = hybrid.heads["puzzling_2x2"]
    learn.model = small()
    with quiet(learn), pytest.raises(ValueError, match="this network has 8; add a new Hybrid"):
        learn.fit(1)
    assert hybrid.heads["puzzling_2x2"] is head


@pytest.mark.parametrize(
    "options", [{}, {"scales": (1.0, 0.5)}, {"views": "shared"}], ids=["grid", "scales", "shared"]
)
def test_a_network_of_one_size_is_told_what_else_it_was_shown(dls, quiet, options):
    side = dls.one_batch()[0].shape[-1]
    # puzzles of another size
    n = 2 if "scales" in options else next(n for n in (3, 5) if side % n)
    hybrid = Hybrid([Puzzling(n)], seed=0, **options)

    def vit(**more):
        options = {"img_size": side, "patch_size": 8, "depth": 1, "num_classes": 0, **more}
        body = timm.create_model("vit_tiny_patch16_224", **options)
        return nn.Sequential(body, nn.Linear(body.num_features, 8))

    learn = learner(dls, hybrid, model=vit())
    with quiet(learn), pytest.raises(ValueError, match=rf"puzzling.*\[{side}, {side}\].*size"):
        learn.fit(1)
    learn = learner(dls, hybrid, model=vit(dynamic_img_size=True, dynamic_img_pad=True))
    with quiet(learn):
        learn.fit(1)


@pytest.mark.parametrize("arch", ["test_vit", "test_vit4", "test_maxvit", "test_convnext"])
def test_a_whole_timm_network_can_be_asked(dls, quiet, arch):
    side = dls.one_batch()[0].shape[-1]
    size = {} if "conv" in arch else {"img_size": side}
    model = timm.create_model(arch, num_classes=8, **size)
    learn = learner(dls, Hybrid([Puzzling(2)], seed=0), model=model)
    with quiet(learn):
        learn.fit(1)
    views, _, prediction = learn.hybrid.ask(torch.rand(3, 3, side, side))
    with torch.no_grad():
        found = model.eval().forward_features(views)
        pooled = found.mean((2, 3) if found.ndim == 4 else 1)
        wanted = learn.hybrid.heads["puzzling_2x2"].eval()(pooled)
    assert torch.allclose(prediction, wanted, atol=1e-5)
    assert "forward_features" not in vars(model)


def test_a_body_called_by_name_is_watched_as_by_place():
    class Mean(nn.Module):
        def forward(self, input):
            return input.mean((2, 3))

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.global_pool = nn.Conv2d(8, 4, 3), Mean()

        def forward(self, input):
            return self.global_pool(input=self.conv(input))

    for body in (nn.Conv2d(8, 4, 3), Mean(), Pooled()):
        watch, given = Watch(body, body), torch.rand(2, 8, 6, 6)
        body(given)
        wanted = watch.calls[-1].features
        body(input=given)
        assert set(watch.calls[-1].features) == set(wanted) == {"pooled", "map"}
        for name, features in wanted.items():
            assert torch.equal(watch.calls[-1].features[name], features)


def test_a_body_of_several_maps_is_refused(dls, quiet):
    class Last(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.answer = nn.Linear(width, 8)

        def forward(self, maps):
            return self.answer(maps[-1].mean((2, 3)))

    body = timm.create_model("test_efficientnet", features_only=True, pretrained=False)
    model = nn.Sequential(body, Last(body.feature_info.channels()[-1]))
    learn = learner(dls, Hybrid([Puzzling(2)], seed=0), model=model)
    with quiet(learn), pytest.raises(ValueError, match="gives a list.*body="):
        learn.fit(1)
