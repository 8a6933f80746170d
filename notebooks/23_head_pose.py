# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does it help to see where a head looks?
#
# *Yaw, pitch and roll in degrees: hybrid training, pre-training by rotation, and both.*
#
# The paper says that hybrid training also improves head pose estimation, and its companion (arXiv
# 2108.04893, `papers/head_pose/card.md`) that pre-training by rotation and the puzzle as auxiliary
# task are best together (claim C6b). Rendered faces have exact poses; a user's 300W-LP brings real
# ones. At notebook defaults a small training runs, in under a minute, and the tables show the
# recorded study.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # folder for tables and figures; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("23_head_pose", preset, data, root, outputs, seed)

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here)

# %% [markdown]
# ## What is asked, and what augmentation does to it
#
# Three angles in degrees, with the signs of 300W-LP: yaw to the side, pitch up and down, roll in
# the picture's plane. A mirrored face has another yaw and roll, and a turned picture another pose
# altogether: labels follow the augmentation, and pretexts that turn the picture are refused where
# their view would be learned with the wrong label.

# %%
import matplotlib.pyplot as plt
import torch

from hmtl import load_pack
from hmtl.method.tasks import HeadPose
from hmtl.study.plots import show_faces

mini = load_pack("mini")
task, rows = HeadPose(), mini.rows("test")[:8]
table = mini.labels.iloc[rows]
angles = task.targets(table)
titles = [task.decode(pose) for pose in angles]
show_faces(mini.images[rows], [str(t) for t in titles])
plt.show()

# %%
flipped = task.follow(angles, torch.ones(8, dtype=torch.bool), torch.zeros(8))
assert torch.equal(flipped, angles * torch.tensor([-1.0, 1.0, -1.0]))
turned = task.follow(torch.zeros(1, 3), torch.zeros(1, dtype=torch.bool), torch.tensor([10.0]))
print("a frontal face whose picture turns by 10 degrees against the clock:", turned[0].tolist())

# %% [markdown]
# ## The runs
#
# Supervised regression of the three angles, the same for twice the epochs, a second plain view, and
# the 2 × 2 puzzle. The second view carries the pose, the puzzle's view does not. Then the companion
# paper's order: pre-training by whole turns on all pictures without labels, then regression, alone
# or with the puzzle. Each way of training gets the learning rate that serves it best on the valid
# split. Last, Hopenet's bins in place of the regression, at its rate. The presets for a GPU train a
# ResNet50, as that paper did.

# %% tags=["nbval-ignore-output"]
pose = {"task": "head_pose"}
plain = here.spec(**pose)
puzzle = {"pretexts": ("puzzling_2x2",)}
first = [
    here.spec(
        task="pretraining", pretexts=("image_rotation",), views="shared", seed=s,
        epochs=plain.epochs, arch=plain.arch,
    )
    for s in here.seeds
]  # fmt: skip
before = {run.spec.seed: run for run in here.train(first)}
start = {"init": str(before[here.seed].path)}
methods = here.choose_lr(here.ways(**pose))
started = here.choose_lr(
    pose | start | method for method in [{}, puzzle | {"epochs": max(1, plain.epochs // 2)}]
)

# %% tags=["nbval-ignore-output"]
from hmtl.runs.store import runs_table

specs = [here.spec(**{**method, "seed": s}) for s in here.seeds for method in methods]
specs += [
    here.spec(**{**method, "seed": s, "init": str(before[s].path)})
    for s in here.seeds
    for method in started
]
bins = methods[0] | {"task": "head_pose_bins"}
specs += [here.spec(**{**bins, "seed": s}) for s in here.seeds]
runs = here.train(specs)
runs_table(runs)[["task", "start", "method", "epochs", "seed", "mae", "geodesic"]].round(2)

# %% [markdown]
# ## Errors on unseen people
#
# Mean absolute errors in degrees, of the three angles and their mean, and the geodesic error, the
# angle of the rotation between the two poses; mean and 95 % interval over seeds. Each column `−` is
# the error *saved* in degrees against that row, so more is better; the bins, another loss, have no
# row to be held against.

# %% tags=["nbval-ignore-output"]
from hmtl.study.tables import split_gaps, study_tables

recorded, outcomes = here.results(runs + list(before.values()))
table = here.save(study_tables(recorded, outcomes)["head-pose"], "errors")
errors, gaps = split_gaps(table.drop(columns="fraction"))
errors

# %% tags=["nbval-ignore-output"]
gaps

# %%
from hmtl.study.plots import plot_ranking
from hmtl.study.tables import CONTROL, LONGER, name_trainings

named = name_trainings(recorded[recorded["task"] == "head_pose"])
figure = plot_ranking(named, ["SL", CONTROL, LONGER], score="mae")
here.save_figure(figure, "errors")
plt.show()

# %% [markdown]
# ## Claim C6, judged
#
# In degrees of error saved. The record's intervals are wide enough for all claims of the study
# together; at other presets, for those of this notebook. C6b shares one budget: after the rotation
# the puzzle has half its epochs left, so its row does not say which of the two costs.

# %%
here.verdicts(recorded, outcomes)

# %% [markdown]
# ## Had they converged?
#
# The mean error on the valid split after every epoch, and what twice the epochs save of the
# supervised error: where that is much, the claims are judged of trainings far from their end.

# %% tags=["nbval-ignore-output"]
from hmtl.study.plots import plot_learning, show_in_few_colours
from hmtl.study.tables import gap_lines

show_in_few_colours()  # keeps this file small
curves = here.curves(recorded)
if len(curves):
    curves = curves[curves["task"] == "head_pose"]
    here.save_figure(plot_learning(curves, "valid error (°)"), "curves")
    plt.show()

# %%
print(gap_lines(table, "^SL, 2"))

# %% [markdown]
# Written by the numbers, not by us: the error saved in % of the supervised error, as the companion
# paper counts.

# %%
for name, group in named.groupby("data"):
    means = group.groupby("method")["mae"].mean()
    for method, value in means.sort_values().items():
        print(f"{name}, {method}: {value:.2f}°, {100 * (1 - value / means['SL']):+.1f} % saved")

# %% [markdown]
# **What the paper reports:** with ResNet50, errors down by up to 23.1 % on AFLW2000 and 14.2 % on
# BIWI; its absolute errors are not known to us. **Where we depart:** rendered faces within the
# poses of portraits; in the record a tiny network; plain regression by the mean absolute error.
#
# ### Exercises
# 1. With your copies of 300W-LP and AFLW2000 in DIR: `papermill notebooks/23_head_pose.ipynb
#    out.ipynb -p preset quick -p data 300w-lp-aflw2000 -p root DIR`. Does the order of the rows
#    above stay?
# 2. Let the puzzle's views carry the pose of the picture (`label_views=True`). How much does it
#    cost?
#
# Next: [`24_gender`](24_gender.ipynb).
