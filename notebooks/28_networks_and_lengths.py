# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does it depend on the network or on the length?
#
# **On the network, yes: on rendered faces the puzzle is 2.0 points above both controls in one, and
# 0.7 to 2.2 below in the other.** That is with a fifth of the labels. In the other network it is
# 5.7 (rendered) and 1.3 points (FER+) above labels alone. On the length, no: in trainings twice as
# long, with all labels, it is 2.2 to 3.0 points below both controls. On FER+ it is then 1.1 below
# labels alone. (Old protocol: twice the epochs still add 2.0 points and more.
# At the plateau of rendered faces the puzzle is above both: [20](20_hmtl_emotion.ipynb).)
#
# The paper shows its tables for two EfficientNets. And a puzzle must be learned before it can
# teach, so what looks worse after a few epochs may be better after many. This page
# reads the recorded study, in seconds; with a preset it trains and shows its own runs.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # folder for tables and figures; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook, readable

here = open_notebook("28_networks_and_lengths", preset, data, root, outputs, seed)

# %% [markdown]
# ## Another network
#
# The preset's own network and its sibling, a small EfficientNet, with a fifth of the labels. Each
# training of each network gets its own learning rate.

# %%
sibling, longer = here.of("28_other_networks"), here.of("29_longer_trainings")


def train_networks():
    few = here.preset.fractions[0]
    ways = [w for a in [{}, *({"arch": n} for n in here.preset.networks)] for w in here.ways(**a)]
    methods = sibling.choose_lr(ways, fraction=few)
    return sibling.train(
        sibling.spec(fraction=few, seed=s, **m) for s in here.seeds for m in methods
    )


def train_lengths():
    methods = longer.choose_lr(here.ways(epochs=2 * here.spec().epochs))
    return longer.train(longer.spec(seed=s, **m) for s in here.seeds for m in methods)


nets, outcomes = sibling.results(train_networks()) if here.trains else sibling.record()

# %%
from hmtl.study.plots import network_label, plot_trainings
from hmtl.study.tables import name_trainings

named = name_trainings(nets)
named["network"] = named["arch"].map(network_label)
caption = "Accuracy by training: in the EfficientNet both controls are above the puzzle."
here.save_figure(plot_trainings(named, "network"), "networks", caption)

# %%
networks = sibling.table("networks", nets, outcomes)
readable(networks)

# %% [markdown]
# Gaps are within one network.
#
# ## Twice as long
#
# The trainings with all labels, each for twice its epochs, over the passes of a face: a pass is an
# epoch of one view. The shorter ones are those of [20_hmtl_emotion](20_hmtl_emotion.ipynb).

# %%
import pandas as pd

from hmtl.study.plots import plot_lengths

long, bits = longer.results(train_lengths()) if here.trains else longer.record()
shorter, _ = here.of("20_hmtl_emotion").record()
shorter = shorter[shorter["fraction"].eq(1) & shorter["method"].isin(long["method"])]
both = pd.concat([shorter, long]).drop_duplicates("run")
caption = "Accuracy against passes of a face: at every length the puzzle is below both controls."
here.save_figure(plot_lengths(both), "lengths", caption)

# %% [markdown]
# At equal compute the puzzle is below a second view and below more epochs, on either kind of faces
# and at either length.

# %%
lengths = longer.table("lengths", long, bits)
readable(lengths)


# %%
def cells(table, bases):
    rows = table[table["method"] == "puzzling_2x2 (paired)"].set_index("data")
    return rows[[f"− {base}" for base in bases]].map(lambda cell: float(cell.split()[0]))


if not here.trains:  # the sentences at the top, of the record
    controls = ["second view", "2× epochs"]
    other = networks[networks["arch"] == "test_efficientnet"]
    assert cells(other, ["SL"])["− SL"].tolist() == [5.7, 1.3]
    gap = cells(other, controls)
    assert (gap.max(axis=None), gap.min(axis=None)) == (-0.7, -2.2)
    assert gap.loc["faces"].tolist() == [-0.7, -2.2]
    own = networks[networks["arch"] == "tiny"]
    assert cells(own, controls).loc["faces"].min() == 2.0
    gap = cells(lengths, controls)
    assert (gap.max(axis=None), gap.min(axis=None)) == (-2.2, -3.0)
    assert cells(lengths, ["SL"]).loc["ferplus", "− SL"] == -1.1
judged = longer.verdicts(long, bits) if here.trains else None
judged

# %% [markdown]
# ## What to take away
#
# - **On the network, yes: on rendered faces the puzzle is 2.0 points above both controls in one,
#   and 0.7 to 2.2 below in the other.** Their intervals are up to ± 2.9, so this decides nothing.
# - On the length, no: in trainings twice as long, with all labels, it is 2.2 to 3.0 points below
#   both controls. The gap is smaller than at half the length, so a part of it is how fast a puzzle
#   is learned.
# - Twice the epochs still add 4.1 (rendered) and 2.0 points (FER+): these had not converged
#   either.
#
# **Where this departs from the paper:** its networks are EfficientNet-B0 and B2, those of the
# presets `paper` and `paper-first`. Where there is no GPU, timm's smallest EfficientNet stands in
# for them.
#
# ### Exercises
#
# 1. `python -m hmtl run --preset quick --set arch resnet18 --set pretexts puzzling_2x2`: when does
#    the valid split say that a network learns its faces by heart?
# 2. At which length would the lines of puzzle and second view meet, if they went on as they do?
#
# Next: [40_look_inside](40_look_inside.ipynb).

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here).T
