"""fastai's own means beside a Hybrid: as with the plain Learner, to the bit where nothing is drawn.

A puzzle of weight 0 is asked of every batch and trains nothing but its head. What the plain Learner
does with the same seed is then the reference: its weights, its numbers, its files.
"""

import random
import warnings

import numpy as np
import pytest
import torch
from fastai.callback.channelslast import ChannelsLast  # noqa: F401  patches Learner
from fastai.callback.core import Callback, CancelFitException, FetchPredsCallback
from fastai.callback.fp16 import MixedPrecision  # noqa: F401  patches Learner
from fastai.callback.hook import ActivationStats, Hook, hook_output, hook_outputs
from fastai.callback.mixup import CutMix, MixUp
from fastai.callback.progress import CSVLogger
from fastai.callback.rnn import ModelResetter
from fastai.callback.schedule import ParamScheduler, SchedCos
from fastai.callback.tracker import (
    EarlyStoppingCallback,
    ReduceLROnPlateau,
    SaveModelCallback,
    TerminateOnNaNCallback,
)
from fastai.callback.training import (
    BnFreeze,
    GradientAccumulation,
    GradientClip,
    ShortEpochCallback,
)
from fastai.distributed import ParallelTrainer  # noqa: F401  patches Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.optimizer import OptimWrapper, ranger
from test_guests import fit, items, learner, loaders, numbers, small, unlabelled
from torch import nn

from hmtl import Hybrid, Puzzling

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(CUDA|autocast|GradScaler)", "ignore:Saved file doesn't contain"
)


def groups(model):
    """Body and head, with rates of their own."""
    return [list(part.parameters()) for part in model]


def made(*cbs, path=None, dls=None, **options):
    """A Learner from fixed seeds."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    dls = dls() if dls else loaders(items(24))
    options = {"splitter": groups, "metrics": [accuracy], "path": path, **options}
    return learner(*cbs, dls=dls, loss_func=CrossEntropyLossFlat(), **options)


def quietly(learn, do):
    torch.manual_seed(1)
    with learn.no_bar(), learn.no_logging(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return do(learn)


def rates(learn):
    return [hyper["lr"] for hyper in learn.opt.hypers]


def interrupted(learn):
    class Stop(Callback):
        def after_step(self):
            if self.iter == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn.fit(2, 1e-2, cbs=[Stop()])
    learn.fit(2, 1e-2)


class Do(Callback):
    """Calls something once, in the second epoch."""

    order = 70

    def __init__(self, event, call):
        self.call, self.done = call, False
        setattr(self, event, self.go)

    def go(self):
        if self.epoch and not self.done:
            self.done = True
            self.call(self.learn)


def loads(with_opt):
    def do(learn):
        keep = SaveModelCallback(every_epoch=True, with_opt=with_opt, fname="each")
        back = Do("after_epoch", lambda learn: learn.load("each_0", with_opt=with_opt))
        learn.fit(3, 1e-2, cbs=[keep, back])

    return do


def another_optimizer(learn):
    learn.fit(3, 1e-2, cbs=[Do("before_train", lambda learn: learn.create_opt())])
    return rates(learn)


def unfrozen_midway(learn):
    learn.freeze()
    learn.fit(3, slice(1e-3, 1e-2), cbs=[Do("before_epoch", lambda learn: learn.unfreeze())])
    return rates(learn)


MEANS = {
    "one cycle": lambda learn: learn.fit_one_cycle(3, slice(1e-3, 1e-2)),
    "flat cosine": lambda learn: learn.fit_flat_cos(2, 1e-2),
    "warm restarts": lambda learn: learn.fit_sgdr(2, 1, 1e-2),
    "schedule": lambda learn: learn.fit(2, cbs=[ParamScheduler({"lr": SchedCos(1e-2, 1e-3)})]),
    "fine tune": lambda learn: (learn.fine_tune(2, 1e-2, freeze_epochs=2), rates(learn))[1],
    "slice": lambda learn: (learn.fit(2, slice(1e-4, 1e-2)), rates(learn))[1],
    "freeze_to": lambda learn: (
        learn.freeze_to(1), learn.fit(1), learn.unfreeze(), learn.fit(1), None
    )[-1],
    "unfrozen midway": unfrozen_midway,
    "best model": lambda learn: learn.fit(4, 0.5, cbs=[SaveModelCallback()]),
    "best model by accuracy": lambda learn: learn.fit(
        3, 0.5, cbs=[SaveModelCallback("accuracy", with_opt=True)]
    ),
    "last model": lambda learn: learn.fit(2, cbs=[SaveModelCallback(at_end=True, with_opt=True)]),
    "early stopping": lambda learn: (
        learn.fit(9, 0.9, cbs=[EarlyStoppingCallback(patience=1)]), len(learn.recorder.values)
    )[1],
    "plateau": lambda learn: (
        learn.fit(6, 0.9, cbs=[ReduceLROnPlateau(patience=1, min_delta=0.1)]), rates(learn)
    )[1],
    "terminate on nan": lambda learn: learn.fit(2, 1e8, cbs=[TerminateOnNaNCallback()]),
    "accumulation": lambda learn: learn.fit(3, cbs=[GradientAccumulation(20)]),
    "clipping": lambda learn: learn.fit(2, cbs=[GradientClip(0.1)]),
    "frozen norms": lambda learn: (learn.freeze(), learn.fit(2, cbs=[BnFreeze()]), None)[-1],
    "short epochs": lambda learn: learn.fit(2, cbs=[ShortEpochCallback(0.5)]),
    "half precision": lambda learn: (learn.to_fp16(), learn.fit(2), learn.to_fp32(), None)[-1],
    "bfloat16": lambda learn: (learn.to_bf16(), learn.fit(2), learn.to_fp32(), None)[-1],
    "channels last": lambda learn: (learn.to_channelslast(), learn.fit(2), None)[-1],
    "parallel": lambda learn: (
        learn.to_parallel(), learn.fit(2), learn.detach_parallel(), None
    )[-1],
    "interrupt": interrupted,
    "reset optimizer": lambda learn: (learn.fit(1), learn.fit(1, reset_opt=True), None)[-1],
    "start epoch": lambda learn: learn.fit(3, start_epoch=1),
    "finder": lambda learn: (learn.lr_find(show_plot=False, num_it=5), learn.fit(1))[0],
    "loaded midway": loads(False),
    "loaded midway with optimizer": loads(True),
    "another optimizer midway": another_optimizer,
}  # fmt: skip


def left(learn):
    """What a fit may not leave: hooks, parameters in the optimizer, metrics, methods."""
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in learn.model.modules())
    more = len(learn.opt.all_params()) - len(list(learn.model.parameters()))
    methods = {"_with_events", "save", "load", "export", "parameters"} & set(vars(learn))
    return hooks, more, len(learn.metrics), methods


@pytest.mark.parametrize("means", MEANS)
def test_a_weightless_puzzle_leaves_each_of_fastais_means_as_it_is(tmp_path, means):
    ends = []
    for cbs in ([], [unlabelled(weight=0.0)]):
        learn = made(*cbs, path=tmp_path)
        found = quietly(learn, MEANS[means])
        values = [list(map(float, row[:3])) for row in learn.recorder.values]
        assert left(learn) == (0, 0, 1, set())
        ends.append((learn.model.state_dict(), found, values))
    assert all(torch.equal(ends[0][0][name], ends[1][0][name]) for name in ends[0][0])
    assert str(ends[0][1]) == str(ends[1][1])
    np.testing.assert_equal(ends[0][2], ends[1][2])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "ranger"])
@pytest.mark.filterwarnings("error:Could not load the optimizer state")
@pytest.mark.parametrize("with_opt", [False, True])
def test_a_file_loaded_within_a_fit_brings_its_optimizer_and_leaves_the_heads(
    tmp_path, with_opt, optimizer
):
    options = {
        "adam": {},
        "adamw": {"opt_func": lambda p, lr: OptimWrapper(p, torch.optim.AdamW, lr=lr)},
        "ranger": {"opt_func": ranger},
    }[optimizer]
    seen = {}

    def load(learn):
        head = learn.hybrid.heads["puzzling_2x2"]
        before = [p.clone() for p in head.parameters()]
        learn.load("each_0", with_opt=with_opt)
        assert all(map(torch.equal, before, head.parameters()))
        ours = {id(p) for group in learn.opt.param_lists for p in group}
        assert {id(p) for p in head.parameters()} <= ours
        seen.update({k: v.clone() for k, v in learn.model.state_dict().items()})

    learn = made(unlabelled(), path=tmp_path, **options)
    keep = SaveModelCallback(every_epoch=True, with_opt=with_opt, fname="each")
    torch.manual_seed(1)
    with learn.no_bar(), learn.no_logging():
        learn.fit(3, 1e-2, cbs=[keep, Do("after_epoch", load)])
    plain = made(path=tmp_path)
    plain.load("each_0", with_opt=False)
    for name, value in plain.model.state_dict().items():
        assert torch.equal(seen[name], value)


def test_heads_go_into_an_optimizer_that_a_callback_makes():
    heads = []

    class Keep(Callback):
        order = 80

        def after_epoch(self):
            head = self.hybrid.heads["puzzling_2x2"]
            heads.append(torch.cat([p.detach().flatten() for p in head.parameters()]))

    def another(learn):
        learn.opt = learn.opt_func(groups(learn.model), lr=1e-2)

    for change in (lambda learn: learn.create_opt(), another):
        heads.clear()
        learn = made(unlabelled())
        cbs = [Do("before_train", change), Keep()]
        quietly(learn, lambda learn, cbs=cbs: learn.fit(4, 1e-2, cbs=cbs))
        moved = [(b - a).abs().max().item() for a, b in zip(heads, heads[1:], strict=False)]
        assert min(moved) > 1e-4
        assert left(learn) == (0, 0, 1, set())


def test_the_best_model_is_that_of_its_epoch_and_loads_into_the_plain_network(tmp_path):
    kept = []

    class Keep(Callback):
        order = 55

        def after_epoch(self):
            state = {k: v.clone() for k, v in self.learn.model.state_dict().items()}
            kept.append((self.recorder.values[-1][1], state))

    class Spoil(Callback):
        order = 40

        def after_train(self):
            if self.epoch >= 2:
                with torch.no_grad():
                    self.learn.model[1][-1].weight.mul_(-30)

    learn = made(Hybrid([Puzzling(2)], seed=0), path=tmp_path)
    cbs = [Keep(), Spoil(), SaveModelCallback(fname="best")]
    quietly(learn, lambda learn: learn.fit(4, 1e-2, cbs=cbs))
    best = min(kept, key=lambda pair: pair[0])[1]
    assert any(not torch.equal(best[k], kept[-1][1][k]) for k in best), "the last is not the best"
    plain = small()
    plain.load_state_dict(torch.load(tmp_path / "models" / "best.pth", weights_only=True))
    for name, value in best.items():
        assert torch.equal(learn.model.state_dict()[name], value)
        assert torch.equal(plain.state_dict()[name], value)


@pytest.mark.parametrize("monitor", ["puzzling_2x2_loss", "puzzling_2x2_score", "accuracy"])
def test_trackers_follow_the_column_they_name(tmp_path, monitor):
    tracker = SaveModelCallback(monitor, fname="m")
    learn = made(unlabelled(), path=tmp_path)
    quietly(learn, lambda learn: learn.fit(3, 0.1, cbs=[tracker]))
    column = list(learn.recorder.metric_names).index(monitor) - 1
    values = [row[column] for row in learn.recorder.values]
    assert tracker.best == (min if "loss" in monitor else max)(values)


def test_a_reduced_rate_is_the_heads_too_and_frozen_epochs_train_them():
    steps = []

    class Keep(Callback):
        order = 80

        def before_step(self):
            head = self.hybrid.heads["puzzling_2x2"]
            mine = {id(p) for p in head.parameters()}
            for group, hyper in zip(self.opt.param_lists, self.opt.hypers, strict=True):
                if mine & {id(p) for p in group}:
                    frozen = not any(p.requires_grad for p in self.model[0][0].parameters())
                    first = next(head.parameters()).detach().clone()
                    body = self.model[0][0].weight.detach().clone()
                    steps.append((hyper["lr"], rates(self.learn), frozen, first, body))

    learn = made(unlabelled(), Keep())
    quietly(learn, lambda learn: learn.fine_tune(2, 1e-2, freeze_epochs=2))
    assert all(mine == every[-1] for mine, every, *_ in steps), "the rate of the last group"
    frozen = [step for step in steps if step[2]]
    assert 0 < len(frozen) < len(steps)
    assert not torch.equal(frozen[0][3], frozen[-1][3]), "the head learns"
    assert torch.equal(frozen[0][4], frozen[-1][4]), "the body waits"
    assert not torch.equal(steps[-1][4], frozen[-1][4]), "and goes on"
    steps.clear()
    plateau = ReduceLROnPlateau(patience=1, min_delta=9.0)
    quietly(learn, lambda learn: learn.fit(4, slice(1e-3, 1e-2), cbs=[plateau]))
    assert len({mine for mine, *_ in steps}) > 1
    assert all(every[0] == pytest.approx(every[1] / 10) for _, every, *_ in steps)


# -- what others validate and predict within a fit ---


class Within(Callback):
    """Calls something at each event of a kind, and leaves fastai's own record as it was."""

    def __init__(self, event, call, order=95):
        self.call, self.order, self.busy = call, order, False
        setattr(self, event, self.go)

    def go(self):
        if self.busy:  # validating fires the events too
            return
        self.busy = True
        learn, recorder = self.learn, self.learn.recorder
        names = ("dl", "xb", "yb", "iter", "n_iter", "training", "pred", "loss", "epoch")
        mine = {name: vars(learn)[name] for name in names if name in vars(learn)}
        its, smooth = dict(vars(recorder)), dict(vars(recorder.smooth_loss))
        torch_state, python_state = torch.get_rng_state(), random.getstate()
        loss = dict(vars(recorder.loss))
        self.call(learn)
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        vars(learn).update(mine)
        vars(recorder).update(its)
        vars(recorder.smooth_loss).update(smooth)
        vars(recorder.loss).update(loss)
        learn.model.train(mine.get("training", True))
        self.busy = False


CALLS = {
    "validate": lambda learn: learn.validate(),
    "validate training pictures": lambda learn: learn.validate(ds_idx=0),
    "get_preds": lambda learn: learn.get_preds(ds_idx=0, with_loss=True),
    "predict": lambda learn: learn.predict(learn.dls.train_ds.items[0]),
    "tta": lambda learn: learn.tta(),
    "show_results": lambda learn: learn.show_results(),
}


@pytest.mark.parametrize(
    ("event", "call", "views"),
    [
        ("before_fit", "validate", "paired"), ("before_fit", "predict", "shared"),
        ("after_step", "get_preds", "paired"), ("after_step", "validate", "shared"),
        ("after_batch", "validate training pictures", "paired"), ("after_batch", "tta", "paired"),
        ("after_batch", "predict", "shared"), ("after_train", "predict", "paired"),
        ("before_validate", "get_preds", "shared"), ("before_validate", "validate", "paired"),
        ("after_epoch", "show_results", "paired"), ("after_epoch", "tta", "shared"),
    ],
)  # fmt: skip
def test_what_others_predict_within_a_fit_changes_no_number_of_it(event, call, views):
    rows = []
    for cbs in ([], [Within(event, CALLS[call])]):
        hybrid = unlabelled() if views == "paired" else Hybrid([Puzzling(2)], views, seed=0)
        learn = made(hybrid, dls=numbers, metrics=[])
        learn.dls[0].shuffle = False  # else who looks draws another order
        quietly(learn, lambda learn, cbs=cbs: learn.fit(2, 1e-2, cbs=cbs))
        names = list(learn.recorder.metric_names[1:-1])
        values = [map(float, row) for row in learn.recorder.values]
        rows.append([dict(zip(names, row, strict=True)) for row in values])
        assert left(learn) == (0, 0, 0, set())
        assert learn.hybrid.heads
    for one, other in zip(*rows, strict=True):
        assert one == pytest.approx(other, rel=1e-6)


def test_predictions_fetched_after_each_validation_are_the_plain_networks():
    rows = []
    for cbs in ([], [FetchPredsCallback(ds_idx=0)]):
        learn = made(unlabelled(), dls=numbers, metrics=[])
        quietly(learn, lambda learn, cbs=cbs: learn.fit(1, 1e-2, cbs=cbs))
        rows.append(list(map(float, learn.recorder.values[-1])))
    assert rows[0] == pytest.approx(rows[1], rel=1e-6)
    after = quietly(learn, lambda learn: learn.get_preds(ds_idx=0)[0])
    torch.testing.assert_close(cbs[0].preds[0], after)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_validation_within_a_fit_shows_the_plain_numbers(epochs):
    found = []

    class Peek(Callback):
        order, busy = 40, False

        def before_fit(self):
            self.peek(2)

        def after_train(self):
            self.peek(5)

        def peek(self, count):
            if not self.busy:
                self.busy = True
                values = list(map(float, self.learn.validate()))
                self.busy = False
                own = nn.functional.cross_entropy
                with torch.no_grad():
                    x, y = (torch.cat(p) for p in zip(*self.learn.dls.valid, strict=True))
                    wanted = own(self.learn.model.eval()(x), y).item()
                assert values[0] == pytest.approx(wanted, rel=1e-5)
                assert len(values) == count
                assert np.isnan(values[2:]).all(), "no pretext is involved"
                found.append(count)

    learn = made(unlabelled())
    quietly(learn, lambda learn: learn.fit(epochs, 1e-2, cbs=[Peek()]))
    assert found == [2] + [5] * epochs
    assert learn.hybrid.heads


def test_a_callback_may_go_on_after_a_validation_that_failed():
    class Broken(Callback):
        def __init__(self, event):
            setattr(self, event, self.fail)

        def fail(self):
            raise LookupError

    class Try(Callback):
        order = 40

        def before_epoch(self):
            if self.learn.lock.locked():
                return
            for event in ("before_batch", "after_pred", "after_validate"):
                with pytest.raises(LookupError):
                    self.learn.validate(cbs=[Broken(event)])

    learn = made(unlabelled())
    quietly(learn, lambda learn: learn.fit(3, 1e-2, cbs=[Try()]))
    row = learn.recorder.values[-1]  # what failed left rows too
    assert np.isfinite(list(map(float, row[-3:]))).all(), "the pretext was asked"
    assert left(learn) == (0, 0, 1, set())


def test_one_hybrid_goes_from_one_learner_to_another():
    class Broken(Callback):
        order = 95

        def before_fit(self):
            raise LookupError

    hybrid = unlabelled()
    first, second = made(hybrid), made()
    with pytest.raises(LookupError):
        fit(first, cbs=[Broken()])
    second.add_cb(hybrid)
    assert len(first.metrics) == 1
    assert "save" not in vars(first)
    fit(second)
    assert hybrid.heads
    assert left(second) == (0, 0, 1, set())


# -- hooks and answers ---


class Centre(Callback):
    """Reads features by one of fastai's hooks, after the loss."""

    order, run_valid = 30, False

    def __init__(self, hook):
        self.make, self.seen = hook, []

    def before_fit(self):
        self.hook = self.make(self.model[0])

    def after_loss(self):
        found = self.hook.stored
        self.seen.append((found if isinstance(found, torch.Tensor) else found[0]).clone())

    def after_fit(self):
        self.hook.remove()


@pytest.mark.parametrize(
    "hook", [hook_output, lambda body: hook_outputs([body]), lambda body: Hook(body, given_first)]
)
def test_what_fastais_hooks_hold_is_of_the_batchs_own_pass(hook):
    seen = []
    for cbs in ([], [unlabelled(weight=0.0)]):
        look = Centre(hook)
        quietly(made(*cbs, look), lambda learn: learn.fit(2, 1e-2))
        seen.append(look.seen)
    assert len(seen[0]) == 6
    assert all(map(torch.equal, *seen))


def given_first(module, given, output):
    return given[0].detach()


def test_activation_statistics_are_the_plain_networks():
    stats = []
    for cbs in ([], [unlabelled(weight=0.0)]):
        learn = made(*cbs, ActivationStats())
        quietly(learn, lambda learn: learn.fit(2, 1e-2))
        stats.append([dict(layer) for batch in learn.activation_stats.stats for layer in batch])
    assert stats[0] == stats[1]


@pytest.mark.parametrize("how", ["returned", "in place"])
def test_a_hook_that_changes_features_changes_those_of_views_too(how):
    def views(change):
        passes = []
        learn = made(unlabelled())
        if change:
            learn.model[0][0].register_forward_hook(change)
        learn.model[0][0].register_forward_hook(lambda m, x, out: passes.append(out.norm().item()))
        quietly(learn, lambda learn: learn.fit(1, 0.0))
        return passes

    def change(module, given, output):
        return 2 * output

    def change_in_place(module, given, output):
        output.mul_(2)

    changed, plain = views(change if how == "returned" else change_in_place), views(None)
    assert changed == pytest.approx([2 * norm for norm in plain], rel=1e-4)


class Answers(Callback):
    """Changes what the network says."""

    def __init__(self, how):
        self.how = how

    def after_pred(self):
        how = {"first": lambda p: p[0], "scaled": lambda p: 2 * p, "same": lambda p: p + 0}
        self.learn.pred = how[self.how](self.pred)


class Several(nn.Module):
    """A network that says more than its answer, as some of torchvision's do."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = small()

    def forward(self, x):
        found = self.head(self.encoder(x))
        return found, 0 * found


@pytest.mark.parametrize("how", ["first", "scaled"])
def test_views_are_not_compared_with_an_answer_that_callbacks_change(how):
    def trained(*cbs, **options):
        torch.manual_seed(0)
        model = Several() if how == "first" else small()
        options = {"splitter": lambda m: [list(m.parameters())], "model": model, **options}
        learn = made(*cbs, Answers(how), **options)
        quietly(learn, lambda learn: learn.fit(2, 1e-2))
        return list(learn.model.state_dict().values())

    with pytest.raises(ValueError, match="changes the network's answer.*label_views=False"):
        trained(Hybrid([Puzzling(2)], seed=0))
    plain, weightless = trained(), trained(unlabelled(weight=0.0))
    assert all(map(torch.equal, plain, weightless))
    trained(Hybrid([Puzzling(2)], "shared", seed=0))


def test_an_answer_that_only_was_copied_is_the_networks_own():
    quietly(made(Hybrid([Puzzling(2)], seed=0), Answers("same")), lambda learn: learn.fit(1))


def test_parts_of_batches_on_several_devices_are_refused():
    learn = made(unlabelled())
    learn.model.device_ids = [0, 1]
    with pytest.raises(ValueError, match="DataParallel.*one device"):
        fit(learn)


# -- mixtures, tables ---


@pytest.mark.parametrize("mix", [MixUp, CutMix])
def test_a_pretext_sees_the_mixed_pictures_and_the_view_has_their_labels(mix):
    seen, checked = [], []

    class Look(Callback):
        order = 80

        def after_loss(self):
            if not self.training:
                return
            assert torch.equal(seen.pop(), self.xb[0]), "what the network saw"
            lam, hybrid = self.mixer.lam, self.hybrid
            logits = [hybrid.answers.pop()]
            for found, wanted in zip(logits, hybrid._view_losses, strict=True):
                one, other = (
                    nn.functional.cross_entropy(found, y, reduction="none")
                    for y in (self.mixer.yb1[0], self.yb[0])
                )
                torch.testing.assert_close(wanted.detach(), (one + lam * (other - one)).mean())
            checked.append(1)

    class Looking(Hybrid):
        answers = []

        def second_pass(self, picture, remember=True):
            output, features = super().second_pass(picture, remember)
            self.answers.append(output.detach())
            return output, features

    class Watched(Puzzling):
        def transform(self, images, generator):
            seen.append(images.clone())
            return super().transform(images, generator)

    hybrid = Looking([Watched(2)], seed=0)
    hybrid.__dict__["name"] = "hybrid"
    mixer = mix()
    learn = made(hybrid, mixer, Look())
    learn.mixer, learn.hybrid = mixer, hybrid
    quietly(learn, lambda learn: learn.fit(2, 1e-2))
    assert len(checked) == 6


@pytest.mark.parametrize(("train", "valid"), [(False, True), (True, True)])
def test_columns_have_the_names_of_their_numbers(tmp_path, train, valid):
    learn = made(unlabelled(), path=tmp_path)
    learn.recorder.train_metrics, learn.recorder.valid_metrics = train, valid
    quietly(learn, lambda learn: learn.fit(2, 1e-2))
    names = list(learn.recorder.metric_names[1:-1])
    row = dict(zip(names, map(float, learn.recorder.values[-1]), strict=True))
    means, before = learn.hybrid._meters, "valid_" if train else ""
    for name in ("train_puzzling_2x2_loss", "puzzling_2x2_loss", "puzzling_2x2_score"):
        assert row[before + name] == means.mean(name)
    if train:  # by training, there is no score
        assert row["train_train_puzzling_2x2_loss"] == means.mean("train_puzzling_2x2_loss")
        assert np.isnan(row["train_puzzling_2x2_score"])


def test_the_csv_has_a_column_for_each_number(tmp_path):
    learn = made(unlabelled(), path=tmp_path)
    with learn.no_bar():
        learn.fit(2, 1e-2, cbs=[CSVLogger()])
    lines = (tmp_path / "history.csv").read_text().splitlines()
    table = [line.split(",") for line in lines]
    assert {len(line) for line in table} == {8}
    column = table[0].index("puzzling_2x2_loss")
    wanted = [row[column - 1] for row in learn.recorder.values]
    assert [float(line[column]) for line in table[1:]] == pytest.approx(wanted)


def test_a_network_with_a_reset_is_reset_as_without():
    class Reset(nn.Sequential):
        count = 0

        def reset(self):
            Reset.count += 1

    counts = []
    for cbs in ([], [unlabelled(weight=0.0)]):
        Reset.count = 0
        torch.manual_seed(0)
        learn = made(*cbs, ModelResetter(), model=Reset(*small()))
        quietly(learn, lambda learn: learn.fit(2))
        counts.append(Reset.count)
    assert counts[0] == counts[1] > 0


def test_a_cancelled_fit_is_none_of_an_error():
    class Stop(Callback):
        order = 95

        def after_train(self):
            raise CancelFitException

    learn = made(unlabelled())
    quietly(learn, lambda learn: learn.fit(3, 1e-2, cbs=[Stop()]))
    assert left(learn) == (0, 0, 1, set())
    quietly(learn, lambda learn: learn.fit(1, 1e-2))
    assert len(learn.recorder.values) == 1
