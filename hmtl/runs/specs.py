"""RunSpec: one training, completely; presets: the scales at which the whole study runs. Ours."""

__all__ = ["PRESETS", "Preset", "RunSpec", "get_preset", "grid"]

import dataclasses
import itertools
import json
import tomllib
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval
from pydantic import ConfigDict, StringConstraints, TypeAdapter

from hmtl.data.pack import Pack
from hmtl.data.sets import full_name, load_pack, parse_data
from hmtl.files import as_kind, has_kind
from hmtl.labels import PROPORTIONS, check_known, hint

_Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
_Count = Annotated[int, Interval(ge=1, le=10**6)]
_People = Annotated[int, Interval(ge=0, le=10**7)]
_Share = Annotated[float, Interval(ge=0, le=1)]
_Weight = Annotated[float, Ge(0)]
_Above0 = Annotated[float, Gt(0)]
_Seed = Annotated[int, Interval(ge=0, lt=2**32)]


@dataclass(frozen=True)
class RunSpec:
    """One training, completely: what is learned from what, how, and from which seed.

    A field without a meaning for a training is set back to its default (`unused`), so that one
    training has one name.

    Args:
        data: A set of `hmtl.data.sets.DATA`; options of its reader after a colon.
        task: What is supervised: a name in `hmtl.method.tasks.TASKS`.
        people: Of "faces": how many in train, valid and test, each in 0..10^7; 8 faces each.
        proportions: Of the emotions in "faces"' train split: "equal" or "affectnet".
        label_noise: Share of "faces"' train labels that are confused as annotators do, in 0..1.
        size: Side of the pictures, in 8..4096 pixels.
        labels: "majority", or "probability" where faces were voted on.
        fraction: Share of the training labels, in (0, 1], stratified; smaller ones lie in larger.
        fraction_seed: Which labels are drawn, in 0..2^32 - 1; None: the same for every seed.
        fill: Whether they are shown again until an epoch is as long as with all labels.
        sampling: "natural", or "balanced": each class equally often.
        weighted: Whether the loss weighs classes.
        arch: "tiny", "small" or any timm backbone.
        init: Where weights come from: "scratch", "imagenet", or a checkpoint or a run's folder.
        augment: "none", "weak" or "strong".
        pretexts: Short names, as `hmtl.method.pretext.make` reads them; () is supervised training.
        views: "paired": the pretext's view has a pass of its own; "shared": it is the picture.
        pretext_weight: Of the pretexts' losses, at least 0; None: the authors'.
        features: Network of perceptual losses: a timm name or a run's folder; "": ImageNet's.
        label_views: Whether the supervised loss is taken on the transformed views too; None: as the
            task says, yes but for head pose.
        multiscale: Whether paired views have the authors' three sizes.
        balance: How losses become one: a name in `hmtl.method.balance.BALANCES`.
        epochs: At least 1.
        lr: Learning rate at the peak of the schedule, above 0.
        schedule: "": one-cycle, or one of `hmtl.runs.callbacks.SCHEDULES`.
        optimizer: "": fastai's Adam, or one of `hmtl.method.optim.OPTIMIZERS`.
        wd: Weight decay, at least 0.
        bs: Pictures a batch, at least 2.
        precision: "", or "bf16" (`hmtl.runs.callbacks`).
        norm_stats: Batch norm's running statistics: "" as the fit left them, or "plain": estimated
            anew after it.
        seed: Of weights, order, augmentation and puzzles, in 0..2^32 - 1.

    Raises:
        ValueError: Naming the field and what it may be, or choices that do not go together.

    Example:
        >>> from hmtl import RunSpec
        >>> RunSpec(pretexts=("puzzling_2x2",), epochs=10).method
        'puzzling_2x2 (paired)'
    """

    data: _Text = "mini"
    task: _Text = "emotion"
    people: tuple[_People, _People, _People] = (300, 50, 125)
    proportions: _Text = "equal"
    label_noise: _Share = 0.0
    size: Annotated[int, Interval(ge=8, le=4096)] = 48
    labels: _Text = "majority"
    fraction: Annotated[_Share, Gt(0)] = 1.0
    fraction_seed: _Seed | None = None
    fill: bool = False
    sampling: _Text = "natural"
    weighted: bool = False
    arch: _Text = "tiny"
    init: _Text = "scratch"
    augment: _Text = "weak"
    pretexts: tuple[_Text, ...] = ()
    views: _Text = "paired"
    pretext_weight: _Weight | None = None
    features: _Text = ""
    label_views: bool | None = None
    multiscale: bool = False
    balance: _Text = "sum"
    epochs: _Count = 5
    lr: _Above0 = 4e-3
    schedule: _Text = ""
    optimizer: _Text = ""
    wd: _Weight = 0.01
    bs: Annotated[_Count, Ge(2)] = 64
    precision: _Text = ""
    norm_stats: _Text = ""
    seed: _Seed = 0

    def __post_init__(self):
        from hmtl.method.pretext import make
        from hmtl.method.pretext.perceptual import PERCEPTUAL

        for entry in dataclasses.fields(self):  # 1 and 1.0 are one training, lists are tuples
            value = as_kind(getattr(self, entry.name), entry.type, entry.name)
            object.__setattr__(self, entry.name, value)
        object.__setattr__(self, "data", full_name(self.data))
        self._check_choices()
        pretexts = [make(name) for name in self.pretexts]
        # one training, one name: what says nothing is left out
        object.__setattr__(self, "pretexts", tuple(pretext.name for pretext in pretexts))
        if self.fraction_seed == 0:  # what None draws
            object.__setattr__(self, "fraction_seed", None)
        if self.features == PERCEPTUAL:
            object.__setattr__(self, "features", "")
        for name in self.unused():
            object.__setattr__(self, name, type(self).__dataclass_fields__[name].default)
        self._check_views(pretexts)

    def unused(self) -> list[str]:
        """Fields without a meaning here, which are set back to their defaults.

        Nothing of a pretext may give a supervised run a second name, nothing of rendered faces a
        run on other data.
        """
        names = []
        if not self.pretexts:
            names += ["views", "pretext_weight", "label_views", "multiscale", "balance"]
        if not any(n.endswith("_pl") and not n.startswith("only_") for n in self.pretexts):
            names += ["features"]
        if self.views == "shared":  # what only paired views have
            names += ["label_views", "multiscale"]
        if self.data != "faces":
            names += ["people", "proportions", "label_noise"]
        if self.fraction == 1:
            names += ["fill", "fraction_seed"]
        if self.task != "emotion":  # whose labels alone are confused
            names += ["label_noise"]
        return names

    @property
    def views_are_labelled(self) -> bool:
        """Whether the supervised loss is taken on the transformed views too."""
        return self.make_task().label_views if self.label_views is None else self.label_views

    def make_task(self):
        """The supervised task (`hmtl.method.tasks`)."""
        from hmtl.method.tasks import make_task

        return make_task(self.task, **({"weighted": True} if self.weighted else {}))

    def _check_views(self, pretexts: list) -> None:
        task = self.make_task()
        if not task.columns and not pretexts:
            raise ValueError(f"task {self.task!r} has no labels: name the pretexts it learns from")
        labelled = task.labelled(pretexts, self.label_views)
        if labelled == task.labelled(pretexts, None):
            object.__setattr__(self, "label_views", None)  # one choice, one identity
        task.check_pretexts(pretexts, self.views, labelled)

    def _check_choices(self) -> None:
        from hmtl.method.augment import LEVELS
        from hmtl.method.balance import BALANCES
        from hmtl.method.batches import LABELS, SAMPLING
        from hmtl.method.checks import VIEWS
        from hmtl.method.optim import OPTIMIZERS
        from hmtl.method.tasks import TASKS, make_task
        from hmtl.runs.callbacks import NORM_STATS, PRECISIONS, SCHEDULES

        for name, valid in (
            ("task", TASKS), ("augment", LEVELS), ("labels", LABELS), ("sampling", SAMPLING),
            ("views", VIEWS), ("balance", BALANCES), ("proportions", PROPORTIONS),
            ("precision", PRECISIONS), ("schedule", SCHEDULES), ("optimizer", OPTIMIZERS),
            ("norm_stats", NORM_STATS),
        ):  # fmt: skip
            check_known(f"unknown {name} {getattr(self, name)!r};", getattr(self, name), valid)
        make_task(self.task).check(self.labels, self.sampling, self.weighted)

    @classmethod
    def preset(cls, name: str, data: str | None = None, **changes) -> "RunSpec":
        """The spec of a preset ("smoke", "quick", ...) on its own or another data set, changed.

        Raises ValueError naming the presets, and TypeError naming an unknown field.
        """
        return get_preset(name).spec(data, **changes)

    def to_json(self) -> str:
        """Canonical JSON of the fields that are not at their defaults: what the identity rests on.

        So a new field renames no finished run; a changed default needs a new version instead.
        """
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        values = dataclasses.asdict(self)
        return json.dumps({k: v for k, v in values.items() if v != defaults[k]}, sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """Its fields for others: of a run that it starts from the name, not where it lies here."""
        own = dataclasses.asdict(self)
        return own | {name: Path(own[name]).name for name in ("init", "features")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunSpec":
        """The inverse of `dataclasses.asdict`; raises ValueError naming unknown or wrong fields."""
        names = [f.name for f in dataclasses.fields(cls)]
        if not isinstance(values, Mapping):
            raise ValueError(f"a RunSpec is made of fields and values, not {values!r}")
        if unknown := sorted(str(name) for name in set(values) - set(names)):
            raise ValueError(
                f"unknown fields of a RunSpec: {', '.join(unknown)}; {hint(unknown[0], names)}"
                f"it has {', '.join(names)}"
            )
        return cls(**values)

    @property
    def method(self) -> str:
        """Short name of the way of training, as tables show it."""
        if not self.pretexts:
            return "SL"
        options = [self.views]
        if self.label_views is not None:
            options.append("labelled views" if self.label_views else "unlabelled views")
        if self.multiscale:
            options.append("three sizes")
        if self.pretext_weight is not None:
            options.append(f"weight {self.pretext_weight:g}")
        if self.features:
            a_run = Path(self.features).name != self.features
            options.append(f"features of {'a run' if a_run else self.features}")
        if self.balance != "sum":
            options.append(self.balance)
        return f"{'+'.join(self.pretexts)} ({', '.join(options)})"

    def load(self, root: str | Path | None = None, progress: bool | None = None) -> Pack:
        """The pack this run learns from."""
        return load_pack(
            self.data, root, people=self.people, size=self.size, labels=self.labels,
            proportions=self.proportions, label_noise=self.label_noise, progress=progress,
        )  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """A scale at which the whole study runs."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # of presets.toml

    name: str
    data: str  # the data set it runs on unless told otherwise
    base: dict  # RunSpec fields
    seeds: int  # runs a cell
    fractions: tuple[float, ...]  # of the training labels, for the tables by label count
    imagenet: dict  # changes for the runs that need a network with ImageNet weights
    few: tuple[float, ...] = (1.0,)  # of the training labels, for the curve over label counts
    lrs: tuple[float, ...] = ()  # learning rates to choose from on the valid split; none: no choice
    imagenet_lrs: tuple[float, ...] = ()  # the same, for the runs of `imagenet`
    imagenet_seeds: int | None = None  # of those at weaker augmentation; None: as elsewhere
    short: dict = field(default_factory=dict)  # changes for the ablations, which are many
    short_seeds: int | None = None  # runs a cell of an ablation; None: as many as elsewhere
    share: dict = field(default_factory=dict)  # of a large data set's labels, by data set
    epochs: dict = field(default_factory=dict)  # by data set
    lengths: dict = field(default_factory=dict)  # of a training, of the emotions' 1, by task
    archs: dict = field(default_factory=dict)  # by task, where it is not the emotions' network
    tasks: tuple[str, ...] = ()  # other pretexts and controls, beside puzzling 2x2
    inpaintings: tuple[str, ...] = ()  # ways to hide and to compare, beside the plain grid
    balances: tuple[str, ...] = ()  # of puzzling 2x2's losses, beside the sum
    jobs: int | None = None  # runs at once; None: one a core

    def spec(self, data: str | None = None, **changes) -> RunSpec:
        """A RunSpec of this preset."""
        from hmtl.method.tasks import TASKS

        merged = {**self.base, "data": data or self.data}
        data, _ = parse_data(merged["data"])
        task = str(changes.get("task", "emotion"))
        epochs = self.epochs.get(data, self.base["epochs"])
        merged["epochs"] = max(1, round(self.lengths.get(task, 1.0) * epochs))
        if task in self.archs:
            merged["arch"] = self.archs[task]
        if task in TASKS and not TASKS[task].has_classes:
            merged.pop("weighted", None)
        merged |= changes
        # the share of a large data set that this preset affords, of which fractions are taken
        share = self.share.get(data, 1.0)
        if share < 1:  # its epochs shall not be filled to the whole set's length
            merged["fill"] = False
        fraction = merged.get("fraction", 1.0)  # what is no number, RunSpec refuses
        if has_kind(fraction, float):
            fraction = round(share * fraction, 12)  # in floats 0.1 * 0.2 is not 0.02
        merged["fraction"] = fraction
        return RunSpec(**merged)


def _presets() -> dict[str, Preset]:
    """The presets of `presets.toml`, beside this file."""
    said = tomllib.loads(Path(__file__).with_name("presets.toml").read_text(encoding="utf-8"))
    made = {}
    for name, own in said["preset"].items():
        shared = [said["shared"][table] for table in own.pop("like")]
        made[name] = dict(ChainMap({"name": name}, own, *shared))  # the first that has a field
    return TypeAdapter(dict[str, Preset]).validate_python(made)


PRESETS = _presets()


def get_preset(name: str) -> Preset:
    """The preset of that name; ValueError naming all of them otherwise."""
    check_known(f"unknown preset {name!r};", name, PRESETS)
    return PRESETS[name]


def grid(base: RunSpec, **choices: Iterable) -> list[RunSpec]:
    """Every combination of choices for fields of a spec, the last one changing fastest.

    Args:
        base: What they have in common.
        choices: Field = its values. A value may be a dict of several fields, whatever the name:
            `method=[{}, {"pretexts": ("puzzling_2x2",), "views": "shared"}]`.

    Returns:
        The specs; as many as the product of the choices' lengths.

    Raises:
        ValueError: As `RunSpec`.
        TypeError: An unknown field.

    Example:
        >>> from hmtl import RunSpec, grid
        >>> [(spec.augment, spec.seed) for spec in grid(RunSpec(), augment=["none"], seed=range(2))]
        [('none', 0), ('none', 1)]
    """
    specs = []
    for values in itertools.product(*(list(v) for v in choices.values())):
        changes: dict[str, Any] = {}
        for name, value in zip(choices, values, strict=True):
            changes |= value if isinstance(value, dict) else {name: value}
        specs.append(dataclasses.replace(base, **changes))
    return specs
