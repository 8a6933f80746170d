"""Figures show every cell of their table, whatever its size."""

import io
import itertools

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from PIL import Image

from hmtl.study.notebook import write_index
from hmtl.study.plots import (
    METHOD_COLORS,
    in_few_colours,
    method_label,
    plot_learning,
    plot_lengths,
)
from hmtl.study.tables import name_trainings, recorded_runs


def test_every_recorded_training_has_words_of_its_own():
    names = set(name_trainings(recorded_runs()[0])["method"])
    words = [method_label(name) for name in names]
    assert len(set(words)) == len(words) > 50
    for told in [*words, method_label("no augmentation")]:
        assert not {"_", "→"} & set(told), told
        assert "SL" not in told.split(), told
        assert not told.endswith(", "), told
    assert method_label("puzzling_3x3 (shared)") == "labels + puzzling 3×3, shared"
    assert method_label("puzzling_2x2 → SL") == "puzzling 2×2, then labels alone"
    assert method_label("puzzling_2x2 (paired) → SL") == "labels + puzzling 2×2, then labels alone"


def test_the_report_shows_pictures_of_either_kind_with_their_captions(tmp_path):
    outputs = [
        nbformat.v4.new_output(
            "display_data", {kind: "AAAA"}, metadata={kind: {"alt": f"of <{kind}>"}}
        )
        for kind in ("image/png", "image/jpeg")
    ]
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])
    nbformat.write(page, tmp_path / "x.ipynb")
    text = write_index(tmp_path, "study", [(tmp_path / "x.ipynb", "done", None)]).read_text()
    for kind in ("image/png", "image/jpeg"):
        assert f"src='data:{kind};base64,AAAA'" in text
        assert text.count(f"of &lt;{kind}&gt;") == 2, "alternative text and caption"


def test_learning_curves_of_many_shares_stand_three_in_a_row_at_most_and_none_is_lost():
    shares = {"faces": [0.01, 0.05, 0.1, 0.2], "ferplus": [0.05, 1.0]}
    cells = [(data, share) for data, own in shares.items() for share in own]
    table = pd.DataFrame(
        [
            {"data": data, "fraction": share, "method": "SL", "seed": 0, "epoch": e, "valid": e / 4}
            for (data, share), e in itertools.product(cells, range(3))
        ]
    )
    figure = plot_learning(table)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == [f"{d}, {share:.0%}" for d, share in cells]
    assert all(axis.lines[0].get_ydata().tolist() == [0, 25, 50] for axis in shown)
    tops = [axis.get_subplotspec().rowspan.start for axis in shown]
    assert tops == [0, 0, 1, 1, 2, 2]  # four in two rows
    plt.close(figure)


def test_trainings_of_another_length_have_a_panel_of_their_own():
    rows = [
        {"data": "faces", "fraction": 1.0, "length": length, "method": "SL", "seed": 0,
         "epoch": e, "valid": e / 8}
        for length, epochs in (("", 3), ("twice as long", 6)) for e in range(epochs)
    ]  # fmt: skip
    figure = plot_learning(pd.DataFrame(rows))
    short, long = figure.axes
    assert (short.get_title(), long.get_title()) == ("faces, 100%", "faces, 100%, twice as long")
    assert [len(axis.lines[0].get_ydata()) for axis in (short, long)] == [3, 6]
    plt.close(figure)


def test_a_long_name_of_a_training_leaves_the_panel_its_width():
    name = "image_rotation → puzzling_2x2 (paired), 0.5× epochs"
    rows = [
        {"data": "faces", "fraction": 1.0, "method": m, "seed": 0, "epoch": e, "valid": 2.0 + e}
        for m, e in itertools.product(("SL", name), range(3))
    ]
    figure = plot_learning(pd.DataFrame(rows))
    figure.draw_without_rendering()
    (axis,) = figure.axes
    assert axis.get_window_extent().width / figure.dpi > 1.5  # inches
    plt.close(figure)


def test_lengths_count_both_views_of_a_pair():
    rows = [
        {"data": "faces", "method": method, "epochs": epochs, "seed": 0, "accuracy": 0.5}
        for method, epochs in (("SL", 16), ("SL", 32), ("puzzling_2x2 (paired)", 16))
    ]
    figure = plot_lengths(pd.DataFrame(rows))
    drawn = {tuple(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata())}
    assert drawn >= {(16, 32), (32,)}
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["16", "32"]
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
