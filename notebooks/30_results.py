# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Results
#
# *Everything that was measured, on one page.*
#
# This notebook trains nothing. At notebook defaults it reads the committed record in
# `outputs/reference`; under the study runner it reads the runs the notebooks before it have just
# made. Every number comes from a run that can be repeated from its seed: to the bit on the same
# kind of processor, on another within what seeds differ by.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # folder for tables and figures; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("30_results", preset, data, root, outputs, seed)

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here)

# %% [markdown]
# ## What there is
#
# The runs by notebook and data set, the seeds of each cell, and what they cost in core-hours. The
# trials of learning rates are not counted: one training a row and rate of `learning-rates.csv`.

# %%
recorded, outcomes = here.recorded()
once = recorded["cpu_seconds"].where(~recorded["run"].duplicated(), 0)  # some serve two notebooks
inventory = (
    recorded.assign(once=once)
    .groupby(["study", "data"], sort=False)
    .agg(runs=("run", "nunique"), seeds=("seed", "nunique"), core_hours=("once", "sum"))
)
inventory["core_hours"] = (inventory["core_hours"] / 3600).round(2)
inventory

# %% [markdown]
# ## The claims, and what became of them
#
# Each is judged against what the paper compares with, and against two ways to spend the same
# compute as a puzzle: a second plain view, and twice the epochs. The rule stands in
# `hmtl/verdicts.py`: an interval over seeds and faces at once, wide enough for all of the table
# together; a margin of one point, or a tenth of a degree; five seeds at least, else nothing is
# decided.

# %%
import pandas as pd

from hmtl.study.tables import claims
from hmtl.study.verdicts import effect_table, verdict_table

pd.set_option("display.max_colwidth", None)
claims()[["id", "claim", "source", "notebook"]].fillna("").set_index("id")

# %%
effects = effect_table(recorded, outcomes)
judged = verdict_table(recorded, outcomes, effects=effects)
here.save(judged, "verdicts").set_index("claim").drop(columns="notebook")

# %% [markdown]
# The same in a figure: a full dot is a contrast that the rule decides, a hollow one is not decided;
# an arrow means that the interval goes on. Where the effect itself lies beyond the axis, its number
# and verdict stand at the edge in place of the dot.

# %%
import matplotlib.pyplot as plt

from hmtl.study.plots import plot_verdicts, show_in_few_colours

show_in_few_colours()  # keeps this file small
if len(effects):
    here.save_figure(plot_verdicts(effects), "verdicts")
    plt.show()

# %% [markdown]
# An empty verdict, or a table below without a row, means not tested yet. C8, the same network at
# inference, is no matter of seeds: it is checked to the bit in
# [`25_same_model_at_inference`](25_same_model_at_inference.ipynb).

# %% [markdown]
# ## C1: ImageNet or scratch
#
# See [`10_imagenet_versus_scratch`](10_imagenet_versus_scratch.ipynb) for what the scale allows to
# conclude: little more than that a few epochs from nothing are not enough for this network.

# %%
from hmtl.study.tables import split_gaps, study_tables

tables = study_tables(recorded, outcomes)
here.save(tables["c1"], "c1")

# %%
here.save(tables["c1-contrasts"], "c1-contrasts")

# %% [markdown]
# ## C2 and C3: puzzling and in-painting beside supervised training
#
# See [`20_hmtl_emotion`](20_hmtl_emotion.ipynb). SL is supervised training; `second_view` and `SL,
# 2× epochs` are the controls at the compute of a puzzle (in-painting costs more). Each column `−`
# of the second table is the gap to that row, paired by seed and face; read all three before
# believing one. The tables below, down to that of other networks, are in the same two parts:
# scores, then gaps.

# %%
from IPython.display import display


def show(name: str):
    """Save a table, and show its scores, then its gaps; the saved CSV is its plain text."""
    for part in split_gaps(here.save(tables[name], name)):
        display(part, exclude=["text/plain"])


show("emotion")

# %% [markdown]
# ## C4: few labels
#
# See [`21_few_labels`](21_few_labels.ipynb), with the learning curves.

# %%
show("few-labels")

# %% [markdown]
# ## C5: pre-training and fine-tuning
#
# See [`22_pretraining_versus_hmtl`](22_pretraining_versus_hmtl.ipynb).

# %%
show("pretraining")

# %% [markdown]
# ## C6: head pose
#
# Errors in degrees; the columns `−` are degrees saved. See [`23_head_pose`](23_head_pose.ipynb).

# %%
show("head-pose")

# %% [markdown]
# ## C7: gender
#
# See [`24_gender`](24_gender.ipynb).

# %%
show("gender")

# %% [markdown]
# ## From rendered faces to real ones
#
# See [`27_rendered_to_real`](27_rendered_to_real.ipynb).

# %%
show("rendered-to-real")

# %% [markdown]
# ## Other networks
#
# With few labels; gaps are within one network. See
# [`28_other_networks`](28_other_networks.ipynb).

# %%
show("networks")

# %% [markdown]
# ## Longer trainings
#
# With all labels, every training twice as long as above. See
# [`29_longer_trainings`](29_longer_trainings.ipynb).

# %%
show("lengths")

# %% [markdown]
# ## Other tasks and controls
#
# In short trainings: each row's gap in points to supervised training and to the second view.
# What each task is stands in [`11_puzzling`](11_puzzling.ipynb).

# %%
here.save(tables["tasks"], "tasks")

# %% [markdown]
# ## In-painting: what is hidden, and how it is compared
#
# In short trainings; see [`12_inpainting`](12_inpainting.ipynb).

# %%
here.save(tables["inpainting"], "inpainting")

# %% [markdown]
# ## How the losses become one
#
# See [`13_balance`](13_balance.ipynb).

# %%
here.save(tables["balance"], "balance")

# %% [markdown]
# ## In one figure
#
# Every run a dot; bars are means. The dotted line is chance, where the test
# faces are balanced.

# %%
from hmtl.study.plots import plot_scores
from hmtl.study.tables import name_trainings

emotion = name_trainings(recorded[recorded["study"] == "20_hmtl_emotion"])
for name, group in emotion.groupby("data", sort=False):
    figure = plot_scores(group, x="fraction", hue="method")
    figure.suptitle(name)
    here.save_figure(figure, f"emotion-{name}")
    plt.show()

# %% [markdown]
# ## How these numbers were made
#
# Test faces are of people never seen in training (rendered faces) or the data set's own test split
# (FER+). Numbers are of the last epoch, but for those at the best one, which the oldest runs (short
# trainings, some of C1) did not keep; nothing was chosen on test faces. Intervals are Student's t
# over seeds, each of one contrast alone, as p is; p in brackets flips signs over test faces as if
# each were of another person, which on rendered faces, eight of each, makes it too small. The
# verdicts' intervals take whole people.

# %%
made = recorded[["data", "cores", "gpu", "commit"]].astype("string").fillna("none")
made.drop_duplicates().reset_index(drop=True)
