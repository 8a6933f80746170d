"""What a Hybrid does once a fit, once an epoch, or after a training; its batches are in `hybrid`.

The streams of random numbers, the meters, the learned balance, and what a trained pretext answers.
"""

__all__ = ["Session"]

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from fastai.metrics import ValueMetric
from matplotlib.figure import Figure
from torch import Tensor, nn

from hmtl.method import checks
from hmtl.method.balance import Balance
from hmtl.method.body import Watch
from hmtl.method.guest import Guest, gathered, mean_of_all, slopes
from hmtl.method.meters import Meters
from hmtl.method.pretext import Pretext
from hmtl.method.views import Pictures


class Session(Guest):
    """A guest whose heads are those of pretext tasks; base of `Hybrid`."""

    pretexts: list[Pretext]
    balance: Balance
    views: str
    normalize: Sequence | None

    def __init__(self, body: nn.Module | None, seed: int | None):
        super().__init__(body, seed)
        self.generator: torch.Generator | None = None
        self._meters = Meters()
        self._balanced_count = 0

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "_meters": Meters()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.pretexts}, views={self.views!r})"

    # -- a fit -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Check the Learner, and start the random numbers that are not there yet."""
        checks.one_hybrid(self, self.learn)
        self._labelled = checks.labelled_views(self, self.learn)
        for pretext in self.pretexts:
            pretext.attach(self.dls)
        if self.generator is None:
            self.generator = self._generator(0)
        self._seen: set[bool] = set()
        self._balanced_count = 0

    def forget(self) -> None:
        """The streams of random numbers begin anew too."""
        super().forget()
        self.generator = None

    def end(self) -> None:
        """The balance is of this process alone again."""
        self.balance.__dict__.pop("average", None)

    _reached: tuple[list[int], list[nn.Parameter]] = [], []

    def _forget_fit(self) -> None:
        super()._forget_fit()
        self._reached = [], []
        self._forget_batch()

    def _forget_batch(self) -> None:
        self._parts: dict[str, Tensor] = {}
        self._predictions: dict[str, list[Tensor]] = {}
        self._view_losses: list[Tensor] = []
        self._target: dict = {}
        self._sizes: tuple | None = None

    def _generator(self, stream: int) -> torch.Generator:
        # Not manual_seed(seed): the augmentation starts there, and a second view would repeat the
        # first one, number by number.
        entropy = [self.fixed_seed(), 2105, stream]
        mixed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(mixed[0]) >> 1)

    def explain(self, error: BaseException) -> None:
        """ValueError for the error of a network of one size that was shown a view of another."""
        checks.tell_sizes(error, self._sizes)

    # -- an epoch ----------------------------------------------------------------------------

    def before_train(self):
        """Count from nothing; the puzzles go on where they were."""
        super().before_train()
        if self._several:
            self.balance.average = mean_of_all
        self._meters.clear()
        self._draw = self.generator

    def after_train(self):
        """Let the balance see that an epoch ended."""
        super().after_train()
        if self._attached and self._balanced_count:
            self.balance.after_epoch()

    def before_validate(self):
        """The same puzzles after every epoch, so that scores compare."""
        if self.present:
            self._draw = self._generator(1)

    def after_validate(self):
        """The losses and scores of all processes together."""
        if self.present and self._several:
            self._meters.replace(gathered(self._meters.sums()))

    def metrics(self) -> list:
        """A loss of training, a loss and a score of validation by the name of each pretext."""
        shown = [p.name for p in self.pretexts if type(p).loss is not Pretext.loss]
        names = [m for n in shown for m in (f"train_{n}_loss", f"{n}_loss", f"{n}_score")]
        return [ValueMetric(partial(self._mean, name), name) for name in names]

    def _mean(self, name: str) -> float:
        """The epoch's mean; nan in a validation of others, which involves no pretext."""
        return self._meters.mean(name) if self.present else float("nan")

    def _count(self, pretext: Pretext, answer, target, loss: Tensor, count: int) -> None:
        if self.training:
            self._meters.add(f"train_{pretext.name}_loss", loss, count)
            return
        self._meters.add(f"{pretext.name}_loss", loss, count)
        with torch.no_grad():
            self._meters.add(f"{pretext.name}_score", pretext.score(answer, target), count)

    # -- the balance of losses ---------------------------------------------------------------

    @property
    def extra(self) -> nn.Module | None:
        """What the balance learns by the optimizer, if anything."""
        return self.balance.module

    @extra.setter
    def extra(self, module: nn.Module | None):
        self.balance.module = module

    def losses(self) -> dict[str, float]:
        """The last training batch's losses by name, as they are balanced: "supervised" first."""
        return {name: float(loss.detach()) for name, loss in self._parts.items()}

    def _balanced(self, parts: list[Tensor]) -> Tensor:
        """The supervised loss and the pretexts' weighted ones as one."""
        if len(parts) == 1:
            return parts[0]
        losses = torch.stack([part.as_subclass(Tensor) for part in parts])
        if self._balanced_count != len(parts):
            self.start_balance(len(parts), losses.device)
        return self.balance.combine(losses, self._shared_parameters)

    def start_balance(self, count: int, device: torch.device) -> None:
        """Prepare to balance so many losses."""
        known = self.balance.module
        self.balance.start(count, device)
        if self.balance.module is not known:
            self._guests.leave(self.learn.opt, [known] if known else [])
            self._guests.enter(self.learn.opt, [self.balance.module] if self.balance.module else [])
        self._balanced_count = count

    def _shared_parameters(self) -> list[nn.Parameter]:
        """The encoder's trainable parameters, in order, that the network's loss and a pretext's
        both reach: of a timm model, whose pooling has none, those of all but its head.
        """
        asked = [p for p in self.model.parameters() if p.requires_grad]
        if [*map(id, asked)] != self._reached[0]:
            ways = zip(asked, *(slopes(loss, asked) for loss in self._parts.values()), strict=True)
            used = [p for p, g, *more in ways if g is not None and any(h is not None for h in more)]
            own = {id(p) for p in self.watched().parameters()}
            self._reached = [*map(id, asked)], [p for p in used if id(p) in own] or used
        return self._reached[1]

    # -- after a training --------------------------------------------------------------------

    @torch.no_grad()
    def ask(
        self, images: Tensor, name: str | None = None, seed: int = 0, also: Sequence = ()
    ) -> tuple:
        """What a trained pretext answers about pictures.

        Args:
            images: float (B, 3, H, W) in [0, 1].
            name: the pretext's; None: the first one's.
            seed: of the transformed views.
            also: the network's further inputs, if it takes more than pictures.

        Returns:
            The views, the target and the head's answer, as the pretext has them.

        Raises:
            ValueError: if the pretext is unknown, was not trained yet or has no head; without a
                Learner; for pictures outside [0, 1].
        """
        checks.added(self)
        checks.in_unit_range(images, "asked")
        known = {p.name: p for p in self.pretexts}
        pretext = checks.trained(self.pretexts[0].name if name is None else name, known, self.heads)
        head, training = self.heads[pretext.name], self.model.training
        images = images.to(next(self.model.parameters()))
        view, target = pretext.transform(images, Pretext.seeded(seed))
        watch = Watch(self.watched(), self.model, view.shape[-2:])
        try:
            seen = Pictures(self.dls, self.normalize).seen(view)
            self.model.eval()(seen, *(part.to(seen.device) for part in also))
            found = checks.read(pretext, self._told(watch.calls, seen))
            return view, target, head.eval()(found)
        finally:
            self.model.train(training)
            watch.close()

    def show(self, count: int = 4) -> list[Figure]:
        """Draw what each pretext asks of the first `count` validation pictures; a figure each."""
        checks.added(self)
        valid = self.dls.valid  # fastai's, or torch's own
        batch = valid.one_batch() if hasattr(valid, "one_batch") else next(iter(valid))
        images = Pictures(self.dls, self.normalize).plain(batch[0])[:count].cpu()
        for pretext in self.pretexts:
            pretext.attach(self.dls)
        return [pretext.show(images) for pretext in self.pretexts]
