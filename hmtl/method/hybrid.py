"""Hybrid multi-task learning in one file: pretext tasks beside a network's supervised task.

    L = (L_1 * ... * L_V)^(1/V)  +  sum over the pretexts of  w * L_pretext

L_1 is the supervised loss of the picture, L_2 ... L_V those of its transformed views.

    views="paired"  the picture passes untouched, each pretext's view of it in a pass of its own;
                    V = 1 + the labelled views (the later scripts)
    views="shared"  the view replaces the picture for every head; V = 1 (the first scripts)

Below is a batch in its order: transform, pass, heads, losses, sum. How heads come into a Learner is
in `hmtl.method.guest`, what a fit needs in `session`, what is refused in `checks`.
"""

__all__ = ["Hybrid"]

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from hmtl.method import checks
from hmtl.method.balance import Balance, geometric_mean
from hmtl.method.pretext import Pretext
from hmtl.method.session import Session
from hmtl.method.tasks import Task
from hmtl.method.views import rescale


class Hybrid(Session):
    """Train pretext tasks beside the supervised task of the Learner this is added to.

    Logged by name for each pretext: `train_<name>_loss`; on the validation images `<name>_loss`
    and `<name>_score`. After any fit, interrupted ones included, the Learner is as it was; what is
    saved in one holds nothing of the heads: of a best epoch that is loaded again, the network is
    that epoch's and the heads are the last one's. Clipping and penalties include the heads. A
    forward hook of torch's runs in each view's pass too; fastai's hooks keep the picture's.

    Args:
        pretexts: tasks or their short names (`hmtl.method.pretext.make`), one or several.
        views: "paired": each pretext has a view of its own, beside the picture. "shared": the view
            takes the picture's place, transformed by each in turn.
        weight: w, for all or by name; None: the task's own (of tiles 1 shared, 0.3 paired).
        scales: relative sizes of a paired view, each a pass of its own: numbers, or (low, high)
            drawn once a batch (`AUTHORS_SCALES` for the authors' three).
        label_views: whether the supervised loss is of the views too; None: as its task says, of
            head pose plain views only. Numbers without a task are refused where a pretext turns
            the picture. Unlabelled views leave no trace in batch norm's running statistics.
        body: the module whose output is the representation; None: `find_body` looks for it.
        seed: of the puzzles and of the heads' first weights; None: torch's own seed.
        balance: how the losses become one, a name or a `Balance` (`hmtl.method.balance`).
        task: the supervised task; None: that of the DataLoaders.
        normalize: (mean, std) of the channels, if pictures are normalised elsewhere than by
            fastai's `Normalize`, which is found. Pretexts see pictures in [0, 1].

    Raises:
        ValueError: for arguments that do not fit; in a fit, for labels that a pretext would make
            wrong, pictures outside [0, 1], and networks it cannot read, each with its remedy.

    Example:
        >>> Hybrid(["puzzling_2x2", "inpainting_grid"]).weights  # `learn.add_cb` takes it
        {'puzzling_2x2': 0.3, 'inpainting_grid': 1.0}
    """

    def __init__(
        self, pretexts: Pretext | str | Iterable[Pretext | str], views: str = "paired", *,
        weight: float | dict[str, float] | None = None, scales: Sequence = (1.0,),
        label_views: bool | None = None, body: nn.Module | None = None, seed: int | None = None,
        balance: str | Balance = "sum", task: Task | None = None, normalize: Sequence | None = None,
    ):  # fmt: skip
        super().__init__(body, seed)
        self.pretexts = checks.pretexts_of(pretexts, views)
        self.weights = checks.weights_of(weight, self.pretexts, views)
        self.balance = checks.balance_of(balance)
        self.views = views
        self.scales, self.label_views, self.task, self.normalize = checks.options(
            views, scales=scales, label_views=label_views, task=task, normalize=normalize
        )

    def before_batch(self):
        """Shared views: the transformed picture takes the picture's place."""
        self._forget_batch()
        checks.first_batch(self, self._seen)
        if self.training and self.views == "shared":
            view, self._target = self._transform(self.pretexts)
            self._sizes = "+".join(self._target), view.shape, self.xb[0].shape
            self.learn.xb = (self._pictures.seen(view), *self.xb[1:])
            for pretext in self.pretexts:
                self.learn.yb = pretext.relabel(self.yb)

    def _transform(self, pretexts: list[Pretext]) -> tuple[Tensor, dict]:
        """The picture (B, 3, H, W), transformed by each pretext in turn; targets by name."""
        view, targets = self._pictures.plain(self.xb[0]), {}
        for pretext in pretexts:
            view, targets[pretext.name] = pretext.transform(view, self._draw)
        return view, targets

    def after_pred(self):
        """Paired views take their second pass here, as all do when validating."""
        self._sizes = None
        checks.own_answer(self, self._seen)
        checks.own_picture(self)
        if self.training and self.views == "shared":
            for pretext in self.pretexts:
                self._ask(pretext, self._target[pretext.name], self.representation())
            return
        asked = [p for p in self.pretexts if self.training or p.name in self.heads]
        together = [self.pretexts] if asked and self.views == "shared" else [[p] for p in asked]
        for pretexts in together:
            self._second_pass(pretexts)

    def _second_pass(self, pretexts: list[Pretext]):
        """The network sees a view; its supervised loss counts if the view has a label."""
        view, targets = self._transform(pretexts)
        labelled = self.training and pretexts[0].name in self._labelled
        labels = pretexts[0].relabel(self.yb)
        for scale in self.scales if self.training else (1.0,):
            scaled = rescale(view, scale, self._draw)
            self._sizes = "+".join(targets), scaled.shape, self.xb[0].shape
            remember = labelled or not self.training
            output, features = self.second_pass(self._pictures.seen(scaled), remember)
            self._sizes = None
            for pretext in pretexts:
                self._ask(pretext, targets[pretext.name], features)
            if labelled:
                self._view_losses.append(self.learn.loss_func(output, *labels).mean())

    def _ask(self, pretext: Pretext, target, features: dict):
        """The loss of what a pretext's head answers about the view just seen."""
        found = checks.read(pretext, features)
        head = self.head(pretext.name, found, pretext.head)
        if head is None or (pretext.siamese and len(found) == 1):  # a control, or no other picture
            return
        answer = head(found)
        if pretext.siamese:  # the target is what it answers about the untouched picture
            target = head(checks.read(pretext, self.representation())).float()
        answer = answer.float() if isinstance(answer, Tensor) else answer  # half precision ends
        loss = pretext.loss(answer, target)
        self._predictions.setdefault(pretext.name, []).append(loss)
        self._count(pretext, answer, target, loss, len(found))

    def total(self, loss: Tensor) -> Tensor:
        """The sum that is differentiated in the place of the supervised loss."""
        views = [self.average(part) for part in (loss, *self._view_losses)]
        own = geometric_mean(views, "pass label_views=False")
        self._parts = {"supervised": own}
        for name, (first, *others) in self._predictions.items():
            if weight := self.weights[name]:
                mean = weight * sum(others, first) / (1 + len(others))
                self._parts[name] = self.average(mean)
        return self._balanced(list(self._parts.values()))
