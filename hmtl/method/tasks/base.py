"""What every supervised task offers; the docstring of `hmtl.method.tasks` says what each name
means.
"""

__all__ = ["NumbersTask", "Task", "TaskLoss"]

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Metric
from fastai.metrics import AccumMetric, AvgMetric
from fastai.torch_core import TensorBase, TitledStr
from torch import Tensor, nn

from hmtl.labels import check_known


class Task:
    """Base of the supervised tasks: override what raises NotImplementedError."""

    name = "task"
    # Raised when the same task begins to give other numbers, as for pretexts.
    revision = 1
    # Columns of the label table that the label is made of.
    columns: tuple[str, ...] = ()
    # What fastai's `vocab` holds: the classes, or the numbers that are measured.
    names: tuple[str, ...] = ()
    # Kinds of labels it can learn from, of `hmtl.method.batches.LABELS`, and whether its labels are
    # classes, which can be weighted and sampled evenly.
    kinds: tuple[str, ...] = ("majority",)
    has_classes = False
    # Of the numbers it answers; "" for classes.
    unit: str = ""
    # Which moves of the picture change the label ("flip", "rotation"): `follow` says how.
    changed_by: tuple[str, ...] = ()
    # Whether the label still describes a picture that a pretext has transformed.
    label_views = True
    # The metric a validation table is read by, and which of two values of it is better.
    metric: str = ""
    better: Callable = max

    def has_label(self, table: pd.DataFrame) -> np.ndarray:
        """Which rows have a label.

        Args:
            table: Labels, N rows.

        Returns:
            Bool (N,).

        Raises:
            ValueError: Naming the columns that the table lacks.
        """
        if missing := [name for name in self.columns if name not in table]:
            raise ValueError(
                f"task {self.name!r} needs the column{'s' * (len(missing) > 1)} "
                f"{', '.join(missing)}, which these labels lack; the data sets mini and faces "
                "have the labels of every task"
            )
        return table[list(self.columns)].notna().all(axis=1).to_numpy()

    def strata(self, table: pd.DataFrame) -> np.ndarray:
        """The groups that a share of the labels keeps even.

        Args:
            table: Labels, N rows.

        Returns:
            Number of each row's group, int64 (N,).
        """
        return np.zeros(len(table), np.int64)

    def targets(self, table: pd.DataFrame, kind: str = "majority") -> Tensor:
        """What the loss compares with.

        Args:
            table: Labels, N rows; all of them have one.
            kind: One of `kinds`.

        Returns:
            Classes int64 (N,), distributions float32 (N, K) or numbers float32 (N, columns).
        """
        raise NotImplementedError

    def label_type(self, targets: Tensor) -> type:
        """fastai's type for a batch or an item of `targets`."""
        raise NotImplementedError

    def decode(self, target: Tensor) -> Any:
        """One target, or one prediction after `activation`, as fastai shows it above a picture."""
        raise NotImplementedError

    def follow(self, targets: Tensor, flipped: Tensor, turned: Tensor) -> Tensor:
        """Targets of pictures that were turned, then mirrored.

        Args:
            targets: Of the pictures as they were, (B, ...).
            flipped: Bool (B,): mirrored left to right.
            turned: Float (B,): degrees against the clock.

        Returns:
            As `targets`.
        """
        return targets

    def head(self, num_features: int, outputs: int) -> nn.Module:
        """The supervised head.

        Args:
            num_features: F of the representation (B, F).
            outputs: Classes or numbers, as the DataLoaders count them.

        Returns:
            (B, F) -> what the loss reads.
        """
        raise NotImplementedError

    def loss(self, dls: DataLoaders | None) -> "TaskLoss":
        """The loss.

        Args:
            dls: Whose labels it is for; None: for its `activation` alone.

        Returns:
            Outputs and targets (B, ...) -> a scalar.
        """
        raise NotImplementedError

    def metrics(self, dls: DataLoaders) -> list:
        """What the progress table shows.

        Args:
            dls: Whose labels are compared with.

        Returns:
            fastai metrics.
        """
        raise NotImplementedError

    def predictions(self, table: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
        """The table that a run stores.

        Args:
            table: Labels, N rows.
            predicted: Outputs after `activation`, float (N, ...).

        Returns:
            One row a face: key, what was asked for, what was answered.
        """
        raise NotImplementedError

    def check_predictions(self, predictions: pd.DataFrame) -> None:
        """Refuse a table that `predictions` cannot have made.

        Args:
            predictions: Of a run's file.

        Raises:
            ValueError: Naming the column and line that it cannot have made.
        """
        if predictions.empty:
            raise ValueError("no test face in it")

    @staticmethod
    def check_numbers(
        table: pd.DataFrame, columns: Sequence[str], low: float = -np.inf, high: float = np.inf
    ) -> None:
        """Raise ValueError naming the column and line of what is no number from `low` to `high`."""
        for name in columns:
            values = pd.to_numeric(table.get(name, np.nan), errors="coerce")
            values = np.broadcast_to(np.asarray(values, float), len(table))
            odd = np.flatnonzero(~(np.isfinite(values) & (values >= low) & (values <= high)))
            if len(odd):
                span = f" from {low:g} to {high:g}" if np.isfinite(low) else ""
                raise ValueError(f"line {odd[0] + 2}, column {name}: a number{span} is needed")

    def scores(self, predictions: pd.DataFrame) -> dict[str, float]:
        """What is computed of a run's answers.

        Args:
            predictions: A table that `predictions` made, N rows.

        Returns:
            Scores by name, and `test_faces`, N.
        """
        raise NotImplementedError

    def check(self, kind: str, sampling: str, weighted: bool) -> None:
        """Refuse what the task cannot be trained by.

        Args:
            kind: Of labels, one of `kinds`.
            sampling: "natural" or "balanced".
            weighted: Whether the loss weighs classes.

        Raises:
            ValueError: It knows no such labels, sampling or weights.
        """
        check_known(f"task {self.name!r} has no labels={kind!r};", kind, self.kinds)
        if not self.has_classes and (sampling == "balanced" or weighted):
            raise ValueError(
                f"task {self.name!r} has no classes to balance; use sampling='natural' and "
                "weighted=False"
            )

    def labelled(self, pretexts: Sequence, label_views: bool | None) -> set[str]:
        """The pretexts whose views the supervised loss sees.

        Plain views of the picture, such as the control's, have a label whatever the task; views of
        other pictures have none.

        Args:
            pretexts: All of a training.
            label_views: What was asked for; None: the task's choice.

        Returns:
            Their names.
        """
        return {
            p.name
            for p in pretexts
            if p.own_pictures
            and ((self.label_views or p.plain_view) if label_views is None else label_views)
        }

    def check_pretexts(self, pretexts: Sequence, views: str, labelled: Collection[str]) -> None:
        """Refuse pretexts that make the labels wrong.

        Args:
            pretexts: All of a training.
            views: "paired" or "shared".
            labelled: Names of those whose views the supervised loss sees.

        Raises:
            ValueError: One turns a picture whose label would then be wrong.
        """
        if "rotation" not in self.changed_by:
            return
        for name in [pretext.name for pretext in pretexts if pretext.turns]:
            if views == "shared":
                raise ValueError(
                    f"{name} turns the picture, or parts of it, that the {self.name} head would "
                    "see with the label of the upright one; use views='paired', where it sees the "
                    "untouched picture"
                )
            if name in labelled:
                raise ValueError(
                    f"{name} turns the picture, or parts of it, so its view has another "
                    f"{self.name} label; use label_views=False"
                )

    @staticmethod
    def plain(tensor: Tensor) -> Tensor:
        """Without fastai's subclass, which costs a dispatch for every operation."""
        # while a network is exported its tensors are of another kind, which must stay
        return tensor if torch.compiler.is_compiling() else tensor.as_subclass(torch.Tensor)


@dataclass(frozen=True)
class NumbersTask(Task):
    """Numbers of each face by plain regression, a column each: base of head pose and affect.

    Args:
        dropout: Before the head's one linear layer, in 0..1.
    """

    dropout: float = 0.3

    # The largest size that a label and an answer may have.
    limit, reach = np.inf, np.inf
    # fastai's type of the labels, one of them in words, and which scores the progress table shows:
    # of a whole split, or the mean over its batches.
    kind: ClassVar[type] = TensorBase
    words = "{:g}"
    shown: ClassVar[tuple[str, ...]] = ()
    by_batch = False

    @staticmethod
    def measure(predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Scores by name of answers and labels, float (N, columns)."""
        raise NotImplementedError

    def has_label(self, table: pd.DataFrame) -> np.ndarray:
        """Rows with all numbers, none beyond the limit; bool (N,)."""
        known = super().has_label(table)
        return known & (table[list(self.columns)].abs() <= self.limit).all(axis=1).to_numpy()

    def targets(self, table: pd.DataFrame, kind: str = "majority") -> Tensor:
        """The numbers, float32 (N, columns)."""
        return torch.from_numpy(table[list(self.columns)].to_numpy(np.float32))

    def label_type(self, targets: Tensor) -> type:
        """Numbers of their own type."""
        return self.kind

    def decode(self, target: Tensor) -> TitledStr:
        """The numbers in `words`."""
        return TitledStr(" ".join(map(self.words.format, target.tolist())))

    def metrics(self, dls: DataLoaders) -> list:
        """fastai metrics by the names that `measure` gives, those `shown`."""
        activation = self.loss(dls).activation

        def metric(name: str) -> Metric:
            def score(outputs: Tensor, target: Tensor) -> float:
                answers = activation(self.plain(outputs)).float().numpy(force=True)
                return self.measure(answers, self.plain(target).numpy(force=True))[name]

            score.__name__ = name
            return AvgMetric(score) if self.by_batch else AccumMetric(score, flatten=False)

        return [metric(name) for name in self.shown]

    def head(self, num_features: int, outputs: int = 0) -> nn.Module:
        """(B, num_features) -> (B, columns), in the units of the loss."""
        return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(num_features, len(self.columns)))

    def predictions(self, table: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
        """key, `target_<column>` and `predicted_<column>`."""
        told = {f"target_{name}": table[name].to_numpy() for name in self.columns}
        told |= {f"predicted_{name}": predicted[:, i] for i, name in enumerate(self.columns)}
        return pd.DataFrame({"key": table["key"].to_numpy(), **told})

    def check_predictions(self, predictions: pd.DataFrame) -> None:
        """Raise ValueError naming the column and line of what is no such number."""
        super().check_predictions(predictions)
        names = [f"{kind}_{name}" for kind in ("target", "predicted") for name in self.columns]
        self.check_numbers(predictions, names, -self.reach, self.reach)

    def scores(self, predictions: pd.DataFrame) -> dict[str, float]:
        """As `measure` names them, and `test_faces`."""
        predicted, target = (
            predictions[[f"{kind}_{name}" for name in self.columns]].to_numpy(float)
            for kind in ("predicted", "target")
        )
        return self.measure(predicted, target) | {"test_faces": len(target)}


class TaskLoss(nn.Module):
    """A loss that fastai reads answers from: base of the tasks' losses."""

    reduction = "mean"  # of the faces' losses; or "sum", or "none" to keep each: fastai sets it

    def each(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Loss of each face, (B,)."""
        raise NotImplementedError

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Outputs and targets (B, ...) -> a scalar, or (B,) for the reduction "none"."""
        loss = self.each(Task.plain(outputs), Task.plain(target))
        return loss if self.reduction == "none" else getattr(loss, self.reduction)()

    def activation(self, outputs: Tensor) -> Tensor:
        """Outputs -> what is answered; here they are that."""
        return outputs

    def decodes(self, answers: Tensor) -> Tensor:
        """Answers -> what is shown; here they are that."""
        return answers
