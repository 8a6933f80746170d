"""Figures show every cell of their table, whatever its size."""

import io
import itertools
import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from PIL import Image

from hmtl.runs.specs import PRESETS
from hmtl.study.notebook import write_index
from hmtl.study.plots import (
    METHOD_COLORS,
    in_few_colours,
    method_label,
    plot_learning,
    plot_trainings,
)
from hmtl.study.tables import interval, name_trainings, recorded_runs


def test_every_recorded_training_has_words_of_its_own():
    names = set(name_trainings(recorded_runs()[0])["method"])
    words = [method_label(name) for name in names]
    assert len(set(words)) == len(words) >= 6
    for told in [*words, method_label("no augmentation")]:
        assert not {"_", "→"} & set(told), told
        assert "SL" not in told.split(), told
        assert not told.endswith(", "), told
    assert method_label("puzzling_3x3 (shared)") == "labels + puzzling 3×3, shared"
    assert method_label("puzzling_2x2 → SL") == "puzzling 2×2, then labels alone"
    assert method_label("puzzling_2x2 (paired) → SL") == "labels + puzzling 2×2, then labels alone"


def test_the_report_shows_pictures_of_either_kind_with_their_captions(tmp_path):
    outputs = [
        nbformat.v4.new_output("display_data", data, metadata={kind: {"alt": f"of <{kind}>"}})
        for kind in ("image/png", "image/jpeg")
        for data in ({kind: "AAAA"}, {"text/markdown": f"of the {kind}"})
    ]
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])
    nbformat.write(page, tmp_path / "x.ipynb")
    text = write_index(tmp_path, "study", [(tmp_path / "x.ipynb", "done", None)]).read_text()
    assert not re.search(r'(?:src|href)="(?!"|data:|x\.html|#)', text), "it reads offline"
    for kind in ("image/png", "image/jpeg"):
        assert f'src="data:{kind};base64,AAAA"' in text
        assert f"of &lt;{kind}&gt;" in text, "alternative text"
        assert f"<p>of the {kind}</p>" in text, "caption"


def test_bars_of_trainings_are_the_intervals_of_the_tables():
    rows = [
        {"data": "faces", "labels": "few", "method": name, "accuracy": a, "mean_recall": a}
        for name, scores in (("SL", (0.3, 0.32, 0.37)), ("second_view (paired)", (0.4, 0.41, 0.45)))
        for a in scores
    ]
    runs = pd.DataFrame(rows)
    figure = plot_trainings(runs, "labels")
    lines = [line.get_xydata() for line in figure.axes[0].lines]
    bars = [line[:, 0] for line in lines if len(line) == 2 and line[0, 1] == line[1, 1]]
    means = runs.groupby("method", sort=False)["accuracy"].apply(interval)
    wanted = [[100 * (mean - half), 100 * (mean + half)] for mean, half in means]
    assert np.allclose(bars, wanted)
    plt.close(figure)


def test_a_figure_has_as_many_shares_as_a_preset_trains():
    shares = [f"{share:.0%} of the labels" for share in PRESETS["study"].few]
    rows = [
        {"data": "faces", "labels": share, "method": name, "accuracy": a, "mean_recall": a}
        for share, name, a in itertools.product(shares, ("SL", "second_view (paired)"), (0.3, 0.4))
    ]
    figure = plot_trainings(pd.DataFrame(rows), "labels")
    legend = figure.axes[-1].get_legend() or figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == shares
    plt.close(figure)


def test_learning_curves_have_a_panel_a_share_and_none_is_lost():
    cells = [("faces", 0.1), ("faces", 1.0), ("ferplus", 0.05), ("ferplus", 1.0)]
    names = ("SL", "SL, 2× epochs", "puzzling_2x2 (paired)")
    rows = [
        {"data": data, "fraction": share, "method": name, "seed": 0, "epoch": e, "valid": e / 4}
        for (data, share), name, e in itertools.product(cells, names, range(3))
    ]
    figure = plot_learning(pd.DataFrame(rows))
    assert [axis.get_title() for axis in figure.axes] == [
        "rendered faces, 10% of the labels", "rendered faces, 100% of the labels",
        "real faces (FER+), 5% of the labels", "real faces (FER+), 100% of the labels",
    ]  # fmt: skip
    for axis in figure.axes:
        drawn = [line for line in axis.lines if len(line.get_xdata())]
        assert [line.get_ydata().tolist() for line in drawn] == [[0, 25, 50]] * 3
        assert [line.get_color() for line in drawn] == [METHOD_COLORS[name] for name in names]
    plt.close(figure)


def test_a_palette_makes_a_figure_smaller_and_keeps_the_colours_of_thin_lines_apart():
    figure, axis = plt.subplots(figsize=(9, 7))
    for i, color in enumerate(METHOD_COLORS.values()):
        axis.plot([0, 9], [i, i], "-o", color=color, lw=1.5, ms=5)
    axis.set_title("as many greys as words have " * 3)
    png = io.BytesIO()
    figure.savefig(png, dpi=72)
    plt.close(figure)
    small = in_few_colours(png.getvalue())
    assert len(small) < 0.7 * len(png.getvalue())
    shown = np.asarray(Image.open(io.BytesIO(small)).convert("RGB")).reshape(-1, 3).astype(int)
    for color in METHOD_COLORS.values():
        off = np.abs(shown - np.round(255 * np.array(to_rgb(color)))).max(axis=1)
        assert off.min() <= 8, color  # of 255; no two of them are as near
