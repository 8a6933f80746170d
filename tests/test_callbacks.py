"""What a run adds to a fit: precision, and the memory of the best epoch."""

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision

from hmtl import face_dataloaders, hmtl_learner, load_pack
from hmtl.callbacks import BestEpoch, MixedBFloat16, mixed_precision


class Watch(Callback):
    """Note the losses, the types in the network and the state after every epoch."""

    order = 70

    def before_fit(self):
        self.losses, self.types, self.states = [], set(), []
        self.hook = self.learn.model.encoder.body.conv1.register_forward_hook(
            lambda module, inputs, output: self.types.add(output.dtype)
        )

    def after_loss(self):
        if self.training:
            self.losses.append(self.learn.loss.detach().float().item())
            assert self.learn.loss.dtype == torch.float32

    def after_epoch(self):
        self.states.append({k: v.clone() for k, v in self.learn.model.state_dict().items()})

    def after_fit(self):
        self.hook.remove()


def trained(*callbacks, epochs=1, pretexts=(), lr=4e-3):
    dls = face_dataloaders(load_pack("mini"), bs=32, seed=0, device="cpu")
    torch.manual_seed(0)
    learn = hmtl_learner(dls, pretexts=pretexts, seed=0)
    with learn.no_bar(), learn.no_logging():
        learn.fit(epochs, lr, cbs=callbacks)
    return learn


@pytest.mark.parametrize("pretexts", [(), ("puzzling_2x2",)])
def test_bfloat16_is_in_the_products_alone(pretexts):
    full, half = Watch(), Watch()
    trained(full, pretexts=pretexts)
    learn = trained(half, *mixed_precision("bf16", "cpu"), pretexts=pretexts)
    assert full.types == {torch.float32}
    assert half.types == {torch.bfloat16}
    assert {p.dtype for p in learn.model.parameters()} == {torch.float32}
    # the same training up to eight bits of mantissa, then not the same to the bit
    np.testing.assert_allclose(half.losses[:3], full.losses[:3], rtol=0.02)
    assert half.losses != full.losses
    assert learn.model(torch.rand(2, 3, 48, 48)).dtype == torch.float32  # over with the fit


def test_precision_by_name_and_device():
    assert mixed_precision("", "cpu") == []
    assert [type(c) for c in mixed_precision("", "cuda")] == [MixedPrecision]
    assert [type(c) for c in mixed_precision("bf16", "cuda")] == [MixedBFloat16]
    with pytest.raises(ValueError, match="'bf16'"):
        mixed_precision("fp8", "cpu")


@pytest.mark.parametrize(("metric", "better"), [("accuracy", max), ("valid_loss", min)])
def test_the_best_epochs_weights_are_kept_and_the_last_ones_stay(metric, better):
    keeper, watch = BestEpoch(metric, better), Watch()
    learn = trained(keeper, watch, epochs=4, lr=0.02)
    column = learn.recorder.metric_names[1:].index(metric)
    scores = [row[column] for row in learn.recorder.values]
    best = scores.index(better(scores))  # the first of equals
    assert keeper.epoch_number == best + 1
    for name, weight in watch.states[best].items():
        assert torch.equal(keeper.state[name], weight), name
    for name, weight in watch.states[-1].items():
        assert torch.equal(learn.model.state_dict()[name], weight), name
