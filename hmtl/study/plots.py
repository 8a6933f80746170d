"""One palette, one function a figure. Every function returns a matplotlib Figure."""

__all__ = [
    "METHOD_COLORS", "in_few_colours", "method_label", "network_label", "plot_balance",
    "plot_confusion", "plot_gains", "plot_learning", "plot_ranking", "plot_slices",
    "plot_trainings", "plot_verdicts", "set_label", "set_style", "show_as_jpeg",
    "show_captioned", "show_faces", "show_in_few_colours",
]  # fmt: skip

import io
import itertools
import re
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image

from hmtl.labels import EMOTIONS, GENDERS, SPLITS
from hmtl.study.tables import interval

# seaborn's colour-blind palette, one fixed colour a method, so figures can be read side by side
_COLORS = sns.color_palette("colorblind", 10)
_LIGHT = sns.color_palette("pastel", 10)  # of a dark page
METHOD_COLORS = {
    "SL": _COLORS[7],
    "second_view (paired)": _COLORS[1],
    "puzzling_2x2 (paired)": _COLORS[0],
    "SL, 2× epochs": _COLORS[3],
    "inpainting_grid_pl (paired)": _COLORS[2],
}
_WORDS = {
    "SL": "labels alone",
    "SL, 2× epochs": "labels alone, twice the epochs",
    "second_view (paired)": "a second plain view",
    "puzzling_2x2 (paired)": "a 2×2 puzzle",
    "inpainting_grid_pl (paired)": "in-painting",
    "only_puzzling_2x2 (paired)": "the puzzle's pictures, without its loss",
    "unlabelled_puzzling_2x2 (paired)": "a 2×2 puzzle, of unlabelled pictures too",
}
_ARCHS = {
    "tiny": "small ResNet",
    "test_efficientnet": "small EfficientNet",
    "tf_efficientnet_lite0": "EfficientNet-Lite0",
}
_HATCHES = ("", "//", "..", "xx")
_SETS = {"faces": "rendered faces", "ferplus": "real faces (FER+)", "mini": "shipped faces"}
_NIGHT = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "#0d1117"),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), "#e6edf3"),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), "#3d444d"),
}


def set_style() -> None:
    """The look of every figure: seaborn's white grid, small type, the colour-blind palette."""
    sns.set_theme("notebook", "whitegrid", _COLORS, font_scale=0.85)
    # faces as faces, not as blocks: they are easier to read, and smaller as JPEG
    plt.rcParams.update({"figure.dpi": 72, "image.interpolation": "bicubic"})
    show_in_few_colours()


def show_as_jpeg(quality: int = 62) -> None:
    """From here on a notebook keeps its figures as JPEG: sheets of pictures are a fifth as large.

    Saved figures stay what they are.
    """
    _show_as("jpeg", pil_kwargs={"quality": quality, "optimize": True, "progressive": True})


def show_in_few_colours() -> None:
    """From here on a notebook keeps its figures as PNG with a palette: diagrams, a third as large.

    Saved figures stay what they are.
    """
    _show_as("png")


def _show_as(kind: str, **options) -> None:
    """A notebook's figures as "png" or "jpeg", at twice the pixels of their size, with alt text.

    It lasts for the session. Outside a notebook nothing happens.
    """
    import matplotlib_inline.backend_inline  # noqa: F401, sets a format of its own when imported
    from IPython import get_ipython
    from IPython.core.pylabtools import print_figure

    def as_picture(figure: Figure) -> tuple[bytes, dict] | None:
        shown = print_figure(figure, fmt=kind, dpi=2 * figure.dpi, **options)
        if not shown:  # an empty figure has no picture
            return None
        alt = getattr(figure, "caption", "")
        return in_few_colours(shown) if kind == "png" else shown, {"alt": alt} if alt else {}

    if shell := get_ipython():
        formatters = shell.display_formatter.formatters
        for mime in ("image/png", "image/jpeg"):
            formatters[mime].type_printers.pop(Figure, None)
        formatters[f"image/{kind}"].for_type(Figure, as_picture)


def show_captioned(figure: Figure, caption: str) -> None:
    """Show a figure in a notebook, its caption below it; outside a notebook nothing happens."""
    from IPython import get_ipython
    from IPython.display import Markdown, display

    if get_ipython():
        figure.caption = caption  # type: ignore[attr-defined]  # `_show_as` makes it the alt text
        escaped = re.sub(r"([\\`*_\[\]<$])", r"\\\1", caption)
        display(figure, Markdown(f"*{escaped}*"))
        plt.close(figure)


def in_few_colours(png: bytes) -> bytes:
    """A PNG with a palette of at most 256 colours."""
    small, picture = io.BytesIO(), Image.open(io.BytesIO(png)).convert("RGB")
    # an octree keeps rare colours; a median cut makes one of two thin lines' red and orange
    picture.quantize(256, Image.Quantize.FASTOCTREE).save(small, "PNG", optimize=True)
    return small.getvalue()


def method_label(method: str) -> str:
    """A training's name for people: "puzzling_3x3 (paired)" -> "labels + puzzling 3×3".

    Views are paired unless it says otherwise. The ways of training that most figures compare have
    plain words. What began with another training says so: "puzzling_2x2 → SL" -> "puzzling 2×2,
    then labels alone".
    """
    start, _, method = method.rpartition(" → ")
    if start:
        names, _, views = start.partition(" (")
        before = _task_words(names) if names != "SL" else "labels"
        return f"{'labels + ' if views else ''}{before}, then {method_label(method)}"
    if method in _WORDS:
        return _WORDS[method]
    if method.split(",")[0] == "SL":
        return f"labels alone{method[2:]}"
    names, _, views = method.replace(")", "").partition(" (")
    how = f"labels + {_task_words(names)}, {views}" if views else _task_words(names)
    return how.replace(", paired", "")


def _task_words(names: str) -> str:
    """Pretexts by the names of a run, for people."""
    words = names.replace("_", " ").replace("+", " + ")
    for code, said in (
        ("inpainting grid pl", "in-painting"), ("inpainting", "in-painting of pixels,"),
        (r"(\d)x(\d)", r"\1×\2"), (r"(\d+)percent", r"\1 %"), (r"cell(\d+)", r"\1 px"),
        (r"gap(\d+)", r"with gaps of \1 px"),
    ):  # fmt: skip
        words = re.sub(code, said, words)
    return words


def network_label(arch: str) -> str:
    """A network's name for people."""
    return _ARCHS.get(arch, arch)


def set_label(data: str) -> str:
    """A data set's name for people."""
    return _SETS.get(data, data)


def show_faces(
    images: np.ndarray,
    titles: Sequence[str] = (),
    columns: int = 8,
    *,
    rows: Sequence[str] = (),
    side: float = 1.2,
) -> Figure:
    """A sheet of pictures.

    Args:
        images: (N, H, W, 1 or 3), uint8 or float in [0, 1].
        titles: Above the pictures.
        columns: Pictures a row.
        rows: Beside the rows.
        side: Of a picture, inches.
    """
    count = -(-len(images) // columns)
    height = side * 1.2 if len(titles) > columns else side
    margin = 1.1 if len(rows) else 0.0
    figure, axes = plt.subplots(
        count, columns, figsize=(columns * side + margin, count * height + (0.2 if titles else 0)),
        squeeze=False, layout="constrained", gridspec_kw={"wspace": 0.02, "hspace": 0.02},
    )  # fmt: skip
    for axis in axes.flat:
        axis.set_axis_off()
    for i, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(np.asarray(image).squeeze(), cmap="gray")
        if len(titles):
            axis.set_title(titles[i] if i < len(titles) else "", fontsize=8, pad=2)
    for axis, text in zip(axes[:, 0], rows, strict=False):
        axis.text(-0.08, 0.5, text, fontsize=9, ha="right", va="center", transform=axis.transAxes)
    return figure


def plot_ranking(runs: pd.DataFrame, bases: Sequence[str] = ()) -> Figure:
    """Test accuracy, a row a method from best to worst: a dot a run, a stroke their mean.

    Args:
        runs: Rows of `runs_table`.
        bases: Methods whose means are drawn through all rows.
    """
    runs = runs.assign(shown=100 * runs["accuracy"])
    order = runs.groupby("method")["shown"].mean().sort_values(ascending=False)
    figure, axis = plt.subplots(figsize=(8, 0.6 + 0.27 * len(order)), layout="constrained")
    options = {"data": runs, "x": "shown", "y": "method", "order": order.index, "ax": axis}
    sns.stripplot(**options, jitter=False, size=4.5, color=_COLORS[0], alpha=0.7)
    sns.pointplot(
        **options, errorbar=None, color=_COLORS[3], linestyle="none", marker="|", markersize=13
    )
    for base, style in zip(bases, ("-", "--", ":"), strict=False):
        axis.axvline(order[base], color="0.3", lw=1, ls=style, label=method_label(base))
    axis.set(xlabel="test accuracy (%)", ylabel="")
    axis.set_yticks(range(len(order)), [method_label(name) for name in order.index])
    if bases:
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, title="mean of")
    return figure


def plot_trainings(
    runs: pd.DataFrame, hue: str, score: str = "accuracy", *, panel: str = "", night: bool = False,
    side: float = 7,
) -> Figure:  # fmt: skip
    """A test score by training: means with 95 % intervals over seeds, a panel a data set.

    Small dots are the seeds.

    Args:
        runs: Rows of `runs_table`, trainings by their full names; the order of rows is kept.
        hue: A column whose values have a colour and a marker each, such as "labels".
        score: "accuracy", shown in %; "primary", accuracy where the test faces are balanced and
            else mean recall; or an error in degrees such as "mae".
        panel: A column each of whose values has a panel of its own, under its name.
        night: For a dark page.
        side: Width in inches with one panel. The smaller, the larger is the type on a phone.
    """
    methods, kinds = list(dict.fromkeys(runs["method"])), list(dict.fromkeys(runs[hue]))
    sets = list(runs.groupby(["data", panel] if panel else ["data"], sort=False))
    width = side + min(3, side - 1.2) * (len(sets) - 1)
    with plt.rc_context(_NIGHT if night else {}):  # type: ignore[arg-type]
        figure, axes = plt.subplots(
            1, len(sets), figsize=(width, 1.2 + 0.42 * len(methods)),
            layout="constrained", squeeze=False, sharey=True,
        )  # fmt: skip
        for axis, ((data, *parts), own) in zip(axes.flat, sets, strict=True):
            name = _primary(own) if score == "primary" else score
            percent = name in ("accuracy", "mean_recall")
            told = {
                "data": own.assign(shown=own[name] * (100 if percent else 1)), "x": "shown",
                "y": "method", "hue": hue, "order": methods, "hue_order": kinds, "ax": axis,
                "palette": _LIGHT[: len(kinds)] if night else _COLORS[: len(kinds)],
            }  # fmt: skip
            several = own[hue].nunique() > 1
            sns.stripplot(**told, dodge=several, size=3, alpha=0.4, jitter=False, legend=False)
            sns.pointplot(
                **told, markers=list("oDs^vPX*dp")[: len(kinds)], linestyle="none",
                dodge=0.35 if several else False, errorbar=_student,
                legend=len(kinds) > 1 and axis is axes.flat[-1], err_kws={"linewidth": 1.5},
            )  # fmt: skip
            axis.grid(visible=True, axis="y")
            axis.set(title="\n".join([set_label(data), *parts]), ylabel="")
            axis.set_xlabel(f"test {name.replace('_', ' ')} (%)" if percent else "error (degrees)")
            words = [method_label(name).replace(", ", ",\n") for name in methods]
            axis.set_yticks(range(len(methods)), words)
        if len(kinds) > 1:
            axes.flat[-1].legend(title="", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def _student(scores: pd.Series) -> tuple[float, float]:
    """The ends of the 95 % interval that the tables have."""
    mean, half = interval(scores)
    return mean - half, mean + half


def _primary(runs: pd.DataFrame) -> str:
    """The score a data set is judged by: mean recall where its test faces are not balanced."""
    balanced = np.allclose(runs["accuracy"], runs["mean_recall"], atol=2e-3, equal_nan=True)
    return "accuracy" if balanced else "mean_recall"


def plot_balance(labels: pd.DataFrame) -> Figure:
    """How often each class occurs in each split, in % of the split: emotions, or else genders.

    A set with neither, but with head poses, gets its angles, a panel each. Raises ValueError for a
    table without any of them.
    """
    splits = [split for split in SPLITS if (labels["split"] == split).any()]
    colors = dict(zip(SPLITS, _COLORS, strict=False))
    for column, names in (("emotion", EMOTIONS), ("gender", GENDERS)):
        if column in labels:
            shares = pd.crosstab(labels[column], labels["split"], normalize="columns")
            shares = 100 * shares.reindex(index=names, columns=splits).fillna(0)
            figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
            shares.plot.bar(ax=axis, rot=0, width=0.8, color=colors)
            axis.set(xlabel="", ylabel="% of the split")
            axis.axhline(100 / len(names), color="0.3", ls=":", lw=1)
            axis.legend(title="", frameon=False)
            return figure
    angles = [name for name in ("yaw", "pitch", "roll") if name in labels]
    if not angles:
        raise ValueError("the table has neither emotion nor gender nor head pose to count")
    figure, axes = plt.subplots(1, len(angles), figsize=(7, 2.4), layout="constrained")
    for axis, name in zip(np.atleast_1d(axes), angles, strict=True):
        options = {"stat": "percent", "common_norm": False, "element": "step", "fill": False}
        sns.histplot(labels, x=name, hue="split", hue_order=splits, palette=colors, bins=18,
                     ax=axis, legend=axis is np.atleast_1d(axes)[-1], **options)  # fmt: skip
        axis.set(xlabel=f"{name}, degrees", ylabel="")
    return figure


def plot_learning(curves: pd.DataFrame) -> Figure:
    """The accuracy on the valid split by epoch: a line a training, its band over all seeds.

    Args:
        curves: A row a run and epoch: epoch, valid (accuracy in [0, 1]), data, fraction, and method
            (of `METHOD_COLORS`). Data set and share of the labels have a panel each.
    """
    curves = curves.sort_values(["data", "fraction"], kind="stable")
    panel = curves["data"].map(set_label) + curves["fraction"].map(", {:.0%} of the labels".format)
    shown = curves.assign(valid=100 * curves["valid"], panel=panel)
    shown["training"] = curves["method"].map(method_label)
    colors = {method_label(name): METHOD_COLORS[name] for name in curves["method"].unique()}
    grid = sns.relplot(
        shown, kind="line", x="epoch", y="valid", hue="training", style="training", palette=colors,
        col="panel", col_wrap=2, height=2.8, aspect=1.15, errorbar=("pi", 100),
        facet_kws={"sharex": False, "sharey": False}, err_kws={"alpha": 0.1},
    )  # fmt: skip
    for axis in grid.axes.flat:
        axis.xaxis.get_major_locator().set_params(integer=True)
    grid.set_titles("{col_name}")
    grid.set_axis_labels("epoch", "valid accuracy (%)")
    return grid.figure


def plot_gains(table: pd.DataFrame, gain: str, unit: str = "points") -> Figure:
    """Gains by slice, of `hmtl.study.slices.slice_gains`: a dot and its interval a slice, a panel a
    column; `gain` names the contrast."""
    columns = list(dict.fromkeys(table["column"]))
    figure, axes = plt.subplots(
        2, -(-len(columns) // 2), figsize=(9, 4.6), layout="constrained", sharey=True, squeeze=False
    )
    for axis in axes.flat[len(columns) :]:
        axis.set_axis_off()
    for axis, column in zip(axes.flat, columns, strict=False):
        own = table[table["column"] == column]
        places = range(len(own))
        axis.axhline(0, color="0.3", lw=1, ls=":")
        axis.errorbar(
            places, own["gain"], (own["gain"] - own["low"], own["high"] - own["gain"]), fmt="o",
            ms=4, lw=1,
        )  # fmt: skip
        axis.set_xticks(places, own["slice"], rotation=90, fontsize=7)
        axis.set_title(column, fontsize=8)
        axis.set_xlim(-0.5, len(own) - 0.5)
    for axis in axes[:, 0]:
        axis.set_ylabel(f"{gain} ({unit})", fontsize=8)
    return figure


_KINDS = {
    "base": ("what the paper compares with", "o"),
    "control": ("a second plain view", "s"),
    "longer": ("twice the epochs", "^"),
}


def plot_verdicts(effects: pd.DataFrame) -> Figure:
    """The claims' effects, of `hmtl.study.verdicts.effect_table`: a dot and its interval a
    contrast.

    A panel a unit, a row a claim and kind of faces. A full dot is a contrast decided, a hollow one
    is not.
    """
    from hmtl.study.verdicts import DECIDED

    panels = list(effects.groupby("unit", sort=False))
    names = [own.groupby(["claim", "faces"], sort=False).ngroups for _, own in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(9, 1.6 + 0.36 * sum(names)), layout="constrained",
        height_ratios=names, squeeze=False,
    )  # fmt: skip
    looks = {
        kind: {"color": color, "marker": marker, "ms": 5, "lw": 1.5}
        for (kind, (_, marker)), color in zip(_KINDS.items(), _COLORS, strict=False)
    }
    for axis, (unit, own) in zip(axes.flat, panels, strict=True):
        ticks = []
        axis.axvline(0, color="0.3", lw=1, ls=":")
        for row, (cell, group) in enumerate(own.groupby(["claim", "faces"], sort=False)):
            ticks.append(f"{cell[0]}: {group['short'].iloc[0]}, {set_label(cell[1])}")
            for i, effect in enumerate(group.itertuples()):
                place = row + 0.24 * (i - (len(group) - 1) / 2)
                ends = [[effect.gain - effect.low], [effect.high - effect.gain]]
                full = {} if effect.verdict in DECIDED else {"mfc": "white"}
                axis.errorbar(effect.gain, place, xerr=ends, **looks[effect.kind], **full)
        axis.set_yticks(range(len(ticks)), ticks, fontsize=8)
        axis.set_ylim(len(ticks) - 0.5, -0.5)
        words = {"points": "points gained: accuracy, on FER+ mean recall"}
        axis.set_xlabel(words.get(unit, "degrees saved"))
        axis.grid(visible=False, axis="y")
    handles = [plt.Line2D([], [], **looks[k], label=f"against {w}") for k, (w, _) in _KINDS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def plot_confusion(predictions: pd.DataFrame, title: str = "") -> Figure:
    """Rows are the true emotions, columns the predicted ones, in % of the row."""
    table = pd.crosstab(predictions["target"], predictions["predicted"], normalize="index")
    table = 100 * table.reindex(index=EMOTIONS, columns=EMOTIONS).fillna(0)
    figure, axis = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
    sns.heatmap(table, annot=True, fmt=".0f", cmap="crest", cbar=False, ax=axis, vmin=0, vmax=100)
    axis.set(xlabel="predicted", ylabel="true", title=title)
    axis.tick_params(axis="x", rotation=45)
    return figure


def plot_slices(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracy by slices of the test faces, a panel a column: tables of `slice_tables`."""
    figure, axes = plt.subplots(
        1, len(tables), figsize=(4.6 * len(tables), 3.8), sharey=True, layout="constrained"
    )
    for axis, (column, table) in zip(np.atleast_1d(axes), tables.items(), strict=True):
        networks = list(dict.fromkeys(table["network"]))
        width = 0.8 / len(networks)
        for i, (network, hatch) in enumerate(zip(networks, itertools.cycle(_HATCHES))):
            own = table[table["network"] == network]
            place = np.arange(len(own)) + (i - (len(networks) - 1) / 2) * width
            axis.bar(place, own["accuracy %"], width, yerr=own["± %"], label=_network(network),
                     alpha=0.7, hatch=hatch, edgecolor="white", error_kw={"lw": 1})  # fmt: skip
        axis.set_xticks(np.arange(len(own)), own[column].str.replace(" to ", "–"))
        axis.set_xlabel({"yaw": "yaw, degrees to either side"}.get(column, column))
        axis.axhline(100 / len(EMOTIONS), color="0.3", ls=":", lw=1)
    figure.axes[0].set_ylabel("test accuracy (%), dotted: a guess")
    figure.legend(
        *figure.axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2,
        frameon=False,
    )  # fmt: skip
    return figure


def _network(name: str) -> str:
    """A network and its start for people: "tiny, scratch" -> "small ResNet, from nothing"."""
    arch, *start = name.split(", ")
    words = {"scratch": "from nothing", "imagenet": "from ImageNet"}
    return ", ".join([network_label(arch), *(words.get(part, part) for part in start)])
