"""Figures show every cell of their table, whatever its size."""

import itertools

import matplotlib.pyplot as plt
import pandas as pd

from hmtl.plots import plot_learning


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
