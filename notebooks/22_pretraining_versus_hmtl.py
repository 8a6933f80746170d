# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One after the other, or both at once?
#
# **Neither: with a tenth of the rendered faces' labels both at once is -0.7 [-2.1, +0.6] points
# above puzzles first, then labels. Claim C5 is undecided there.** On FER+ it is not tested yet.
# Training on rendered faces first is worth 2.0 to 2.4 points with 5 % of FER+'s labels, as much as
# the puzzle.
#
# The usual order is to learn a pretext on every picture first, without labels, and then to
# fine-tune. The paper says that training both at once is better (claim C5). This page reads the
# recorded study, in seconds; with a preset it trains and shows its own runs.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
real: str = "ferplus"  # the real set, for the second half
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # folder for tables and figures; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook, readable

here = open_notebook("22_pretraining_versus_hmtl", preset, data, root, outputs, seed)

# %% [markdown]
# ## What each way costs
#
# One unit is a supervised training. Equal in cost, they are not equal in pictures: pre-training
# sees all of them, hybrid training those with labels alone.
#
# | way | before | then | units |
# |---|---|---|---|
# | labels alone | | 1 | 1 |
# | twice the epochs, a second plain view, or the puzzle beside the labels | | 2 | 2 |
# | pre-training, then labels | 1 | 1 | 2 |
# | pre-training, then the puzzle for half the epochs (old protocol) | 1 | 1 | 2 |

# %%
from hmtl.study.tables import name_trainings, planned

names = ("puzzling_2x2", "image_rotation", "inpainting_grid_pl")


def pretrain():
    first = {
        (name, s): here.spec(task="pretraining", pretexts=(name,), views="shared", seed=s)
        for s in here.seeds
        for name in names
    }
    return dict(zip(first, here.train(first.values()), strict=True))


def train():
    few, before = here.preset.fractions[0], pretrain()
    half = {"pretexts": ("puzzling_2x2",), "epochs": max(1, here.spec().epochs // 2)}
    started = [(name, {}) for name in names] + [("puzzling_2x2", half)]
    starts = [{"init": str(before[name, here.seed].path), **way} for name, way in started]
    plain, rates = here.choose_lr(here.ways(), fraction=few), here.choose_lr(starts, fraction=few)
    specs = [here.spec(fraction=few, seed=s, **method) for s in here.seeds for method in plain]
    specs += [
        here.spec(fraction=few, seed=s, **{**method, "init": str(before[name, s].path)})
        for s in here.seeds
        for (name, _), method in zip(started, rates, strict=True)
    ]
    return here.train(specs) + list(before.values())


# %%
if here.trains:
    shown, outcomes = here.results(train())
    named = name_trainings(shown[shown["task"] == "emotion"])
else:
    shown, outcomes = here.of("decide").record()
    ways = ("puzzling_2x2 → SL", "SL", "SL, 2× epochs", "puzzling_2x2 (paired)")
    named = planned(shown, "few", ways)

# %% [markdown]
# ## Few labels, at the plateau

# %%
from hmtl.study.plots import plot_trainings

named["labels"] = named["fraction"].map("{:.0%} of the labels".format)
caption = (
    "Test accuracy with few labels: puzzles first and puzzles beside the labels overlap, above "
    "labels alone."
)
here.save_figure(plot_trainings(named, "labels", "primary"), "accuracy", caption)

# %% [markdown]
# "puzzling 2×2, then labels alone" was pre-trained by puzzles of all pictures, for as many epochs.
# Large marks are means with 95 % intervals over seeds, small dots the seeds.

# %%
table = here.table("pretraining" if here.trains else "decided", shown, outcomes)
readable(table if here.trains else table[table["fraction"] < 1])

# %%
judged = here.verdicts(shown, outcomes)
judged[["faces", "effect", "verdict", "n"]]

# %%
if not here.trains:  # the sentences above, of the record
    told = judged.loc[["C5"]].set_index("faces")
    assert told.loc["faces", "effect"] == "-0.7 [-2.1, +0.6]"
    assert told.loc["faces", "verdict"] == "undecided"

# %% [markdown]
# ## Other pretexts first (old protocol)
#
# Five seeds with a fifth of the labels, not converged with all. Rotated pictures and in-painting
# were learned first, too.

# %%
older, bits = here.record() if not here.trains else (shown, outcomes)
caption = "Accuracy before the plateau: puzzles first and puzzles beside the labels lie close."
few = name_trainings(older[older["task"] == "emotion"])
few["labels"] = few["fraction"].map("{:.0%} of the labels".format)
here.save_figure(plot_trainings(few, "labels"), "old-protocol", caption)

# %%
if not here.trains:
    means = few.groupby(["data", "method"])["accuracy"].mean().mul(100).unstack()
    both = means["puzzling_2x2 (paired)"] - means["puzzling_2x2 → SL"]
    assert both.round(1).to_dict() == {"faces": 0.9, "ferplus": -0.3}

# %% [markdown]
# There both at once is 0.9 points above one after the other on rendered faces, and 0.3 below on
# real ones. Puzzles before and beside, for the same cost, are worse by 3 points and more.
#
# ## From rendered faces to real ones
#
# Networks learn from rendered faces: by labels, by labels and puzzles, by puzzles alone. Then they
# are tested on FER+ as they are, and fine-tuned on 5 % of its labels. With a preset this part
# needs `-p root DIR`, your copy of the real set.

# %%
import pandas as pd

from hmtl.data.sets import RENDERED
from hmtl.runs.fit import predict_test
from hmtl.runs.store import score_predictions

puzzle = {"pretexts": ("puzzling_2x2",)}
moved = here.of("27_rendered_to_real")


def render():
    alone, beside = moved.choose_lr([{}, puzzle])
    blind = {"task": "pretraining", "views": "shared", **puzzle}
    ways = {"SL": alone, "puzzling_2x2 (paired)": beside, "puzzling_2x2": blind}
    first = {(way, s): moved.spec(seed=s, **ways[way]) for s in here.seeds for way in ways}
    return dict(zip(first, moved.train(first.values()), strict=True))


def test_as_they_are(rendered, pack):
    rows = []
    for (way, s), run in rendered.items():
        if run.spec.task == "emotion":
            found = predict_test(run, pack)
            rows.append({"data": real, "trained": way, "seed": s, **score_predictions(found)})
    commonest = found["target"].value_counts(normalize=True).iloc[0]
    rows.append({"data": real, "trained": "the commonest emotion", "seed": 0})
    rows[-1]["accuracy"] = commonest
    return moved.save(pd.DataFrame(rows), "as-they-are")


# %%
def fine_tune(rendered, there):
    few = min(share for share in there.preset.few if share >= 0.05)
    ways = list(dict.fromkeys(way for way, _ in rendered))
    plain = there.choose_lr(there.ways(fraction=few))
    starts = [{"fraction": few, "init": str(rendered[way, here.seed].path)} for way in ways]
    specs = [there.spec(seed=s, **method) for s in here.seeds for method in plain]
    specs += [
        there.spec(seed=s, **{**method, "init": str(rendered[way, s].path)})
        for s in here.seeds
        for way, method in zip(ways, there.choose_lr(starts), strict=True)
    ]
    return there.train(specs)


real_runs = None
if not here.trains:
    (real_runs, bits), tested = moved.record(), moved.kept("as-they-are")
elif root and here.data in RENDERED:
    rendered, there = render(), moved.on(real, root)
    tested = test_as_they_are(rendered, there.load())
    real_runs, bits = there.results(fine_tune(rendered, there))
else:
    print("left out: it needs rendered faces as data, and the real set's folder as root")

# %%
if real_runs is not None:
    named = name_trainings(real_runs)
    named["labels"] = named["fraction"].map("{:.0%} of the labels".format)
    caption = "Accuracy on FER+ with 5 % of its labels: a start from rendered labels helps."
    here.save_figure(plot_trainings(named, "labels"), "rendered-to-real", caption)

# %%
transfer = pd.DataFrame()
if real_runs is not None:
    transfer = moved.table("rendered-to-real", real_runs, bits)
readable(transfer) if len(transfer) else None

# %%
if real_runs is not None:
    means = tested.groupby("trained", sort=False)["accuracy"].mean()
    for way, share in means.items():
        print(f"{way}: {share:.1%} of the real faces, as it is")
if not here.trains:
    start = transfer.set_index("method")["− SL"]
    assert start["SL → SL"].startswith("+2.0")
    assert start["puzzling_2x2 (paired) → SL"].startswith("+2.4")
    assert start["puzzling_2x2 (paired)"].startswith("+2.3")
    assert means["SL"] < means["the commonest emotion"]

# %% [markdown]
# As they are, networks of rendered faces name fewer real ones rightly than the commonest emotion
# would. As a start they help.
#
# ## What to take away
#
# - **Neither: with a tenth of the rendered faces' labels both at once is -0.7 [-2.1, +0.6] points
#   above puzzles first, then labels.** Both lie above labels alone. Pre-training saw the pictures
#   without labels too; the arm where the puzzle beside the labels sees them (C5b) is not made.
# - A start from rendered labels adds 2.0 to 2.4 points with 5 % of FER+'s labels, the first
#   training not counted as a cost.
#
# **Where this departs from the paper:** it reports no number for claim C5 known to us; data,
# network and length are other ones. The question of rendered faces is ours.
#
# ### Exercises
#
# 1. Freeze the pre-trained encoder (`learn.freeze()`). What does it know of emotions before a
#    label has touched it?
# 2. Train on rendered faces in grey (`Level(..., grey=1.0)`). How much of the gap to real faces
#    was colour?
#
# Next: [23_other_face_tasks](23_other_face_tasks.ipynb).

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here).T
