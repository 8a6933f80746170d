"""The method in one file: a callback of 45 lines trains to the bits of `hmtl.Hybrid`."""

import random

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback

import hmtl
from hmtl import face_dataloaders, hmtl_learner
from hmtl.method.pretext import make


class Core(Callback):
    """Hybrid multi-task learning, without anything that makes it a good guest.

    L = (product of the supervised losses of V views)^(1/V) + sum of w L_pretext
    """

    order, run_valid = 9, False

    def __init__(self, pretexts, views, generator, seed=0):
        self.pretexts, self.views, self.generator, self.seed = pretexts, views, generator, seed
        self.heads, self.found = {}, {}

    def before_fit(self):
        encoder, self.shared = self.model.encoder, self.views == "shared"
        self.hooks = [
            encoder.register_forward_hook(lambda m, x, out: self.found.update(pooled=out)),
            encoder.map.register_forward_hook(lambda m, x, out: self.found.update(map=out)),
        ]

    def before_batch(self):  # transform: the shared picture is replaced
        self.supervised, self.extra, self.targets = [], [], {}
        if self.shared:
            view = self.x.as_subclass(torch.Tensor)
            for task in self.pretexts:
                view, self.targets[task.name] = task.transform(view, self.generator)
            self.learn.xb = (view,)

    def after_pred(self):
        for task in self.pretexts:
            target = self.targets.get(task.name)
            if not self.shared:  # a second pass, with the label of the picture
                view, target = task.transform(self.x.as_subclass(torch.Tensor), self.generator)
                self.supervised.append(self.loss_func(self.model(view), *self.yb))
            answer = self.head(task)(self.found[task.reads])
            self.extra.append(task.weight[self.views] * task.loss(answer, target))

    def after_loss(self):
        losses = torch.stack([self.learn.loss, *self.supervised])
        mean = losses.log().mean().exp() if self.supervised else self.learn.loss
        self.learn.loss_grad = torch.stack([mean, *self.extra]).sum()

    def head(self, task):
        if task.name not in self.heads:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                self.heads[task.name] = task.head(self.found[task.reads].shape[1])
            self.opt.param_lists[-1].extend(self.heads[task.name].parameters())
        return self.heads[task.name]

    def after_fit(self):
        for hook in self.hooks:
            hook.remove()


def trained(pack, callback, epochs=1):
    """All weights after a training: of the network, then of the heads."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    dls = face_dataloaders(pack, bs=16, augment="weak", seed=0, device="cpu")
    learn = hmtl_learner(dls, "tiny", seed=0, cbs=[callback])
    learn.remove_cbs(ProgressCallback)
    with learn.no_logging():
        learn.fit_one_cycle(epochs, 4e-3)
    modules = [learn.model, *(callback.heads[name] for name in sorted(callback.heads))]
    assert not any(m._forward_hooks for m in learn.model.modules())
    return [tensor for module in modules for tensor in module.state_dict().values()]


@pytest.mark.parametrize(
    ("names", "views"),
    [
        (["puzzling_2x2"], "paired"),
        (["puzzling_2x2", "tile_rotation_2x2"], "paired"),
        (["puzzling_2x2", "inpainting_grid"], "paired"),
        (["puzzling_2x2"], "shared"),
        (["puzzling_2x2", "tile_rotation_2x2"], "shared"),
        (["image_rotation"], "shared"),
    ],
)
def test_one_screen_trains_to_the_bits_of_hybrid(toy_pack, names, views):
    ours = hmtl.Hybrid([make(name) for name in names], views, seed=0)
    core = Core(
        [make(name) for name in names], views, hmtl.Hybrid(names, views, seed=0)._generator(0)
    )
    for one, other in zip(trained(toy_pack, ours), trained(toy_pack, core), strict=True):
        assert torch.equal(one, other)
    assert set(ours.heads) == set(names)
