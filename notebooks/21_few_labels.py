# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How many labels does it take?
#
# *The same trainings with fewer and fewer labels: does a pretext help most where labels are
# scarce?*
#
# The paper says that the gain of hybrid training is larger with few labels (claim C4): a pretext
# needs none, so it should make up for those that are missing. Here the share of the labelled
# pictures shrinks; the others are left out, so no pretext sees them either. A training takes as
# many steps as with all of them, at a learning rate chosen anew. At notebook defaults a small
# training runs, in under a minute, and the tables show the recorded study.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # folder for tables and figures; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("21_few_labels", preset, data, root, outputs, seed)

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here)

# %% [markdown]
# ## Fewer labels, the same work
#
# The shares are stratified and nested: the faces of the smaller ones lie inside the larger. They
# are drawn once: all seeds see the same faces, so no interval below is of another draw. An
# epoch shows the few faces again and again until it is as long as one of all faces, so that fewer
# labels never mean fewer steps.

# %%
import matplotlib.pyplot as plt
import numpy as np

from hmtl import face_dataloaders, load_pack

mini = load_pack("mini")
for share in (1.0, 0.2, 0.05):
    dls = face_dataloaders(mini, fraction=share, fill=True, device="cpu")
    faces, times = np.unique(dls.train_ds.rows, return_counts=True)
    print(f"{share:4.0%}: {len(faces)} faces, each {times.min()} to {times.max()} times an epoch")
    assert times.sum() == len(mini.rows("train"))

# %% [markdown]
# ## The runs
#
# Supervised training, the same for twice the epochs, a second plain view, the 2 × 2 puzzle. Each
# way of training gets a learning rate for each share of the labels, as in
# [`20_hmtl_emotion`](20_hmtl_emotion.ipynb).

# %% tags=["nbval-ignore-output"]
from hmtl.runs.store import runs_table

methods = here.choose_lr(
    way for fraction in here.preset.few for way in here.ways(fraction=fraction)
)
runs = here.train(here.spec(seed=s, **method) for s in here.seeds for method in methods)
runs_table(runs)[["method", "epochs", "fraction", "seed", "train_faces", "accuracy"]].round(3)

# %% [markdown]
# ## Accuracy by the share of the labels
#
# Columns as in [`20_hmtl_emotion`](20_hmtl_emotion.ipynb); `fraction` is the share of the labels.

# %%
from hmtl.study.tables import gap_lines, name_trainings, near_chance, split_gaps, study_tables

recorded, outcomes = here.results(runs)
table = here.save(study_tables(recorded, outcomes)["few-labels"], "accuracy")
scores, gaps = split_gaps(table)
scores

# %%
gaps

# %%
from hmtl.study.plots import plot_label_curve, show_in_few_colours

show_in_few_colours()  # keeps this file small
named = name_trainings(recorded)
here.save_figure(plot_label_curve(named), "labels")
plt.show()

# %% [markdown]
# ## Claim C4, judged
#
# The gain with a twentieth of the labels (C4), and with a fifth, the paper's share (C4b, asked
# later), minus the gain with all of them, by the rule in `hmtl/verdicts.py`; a preset without such
# a share has no row. The record's intervals are wide enough for all claims of the study together;
# at other presets, for those of this notebook.

# %%
here.verdicts(recorded, outcomes)

# %% [markdown]
# ## Had they converged?
#
# The score on the valid split after every epoch: one-cycle training anneals, so each curve rises to
# its own end, and only a longer training can tell whether that was the end of what there is to
# learn.

# %% tags=["nbval-ignore-output"]
from hmtl.study.plots import plot_learning

curves = here.curves(recorded)
if len(curves):
    here.save_figure(plot_learning(curves), "curves")
    plt.show()

# %% [markdown]
# Written by the numbers, not by us: what twice the epochs add to supervised training. Where that is
# little, its curve had flattened; where it is much, every comparison at these epochs measures in
# part how fast a method learns. A training that never began to learn is named: its row's mean says
# nothing.

# %%
print(gap_lines(table, "^SL, 2"))
print(gap_lines(table, "^puzzling"))
print(near_chance(named))

# %% [markdown]
# **Where we depart from the paper:** its few-label row is of 20 % of AffectNet, tens of thousands
# of faces; ours go down to a dozen a class on rendered faces, and on FER+, where some emotions are
# rare, to a single one. Its row is of in-painting
# ([`20_hmtl_emotion`](20_hmtl_emotion.ipynb)), ours here of puzzling.
#
# ### Exercises
# 1. `papermill notebooks/21_few_labels.ipynb out.ipynb -p preset quick` with other shares in
#    `PRESETS["quick"].few`. From how many faces on is the network above chance?
# 2. Which training profits most from the best epoch on the valid split, and why that one?
#
# Next: [`22_pretraining_versus_hmtl`](22_pretraining_versus_hmtl.ipynb).
