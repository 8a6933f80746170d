# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Where do networks look, and how sure are they?
#
# **At notebook defaults this page shows how to ask, and no answer: its two small networks are
# trained for seconds and know little more than a guess.** What would read as a finding
# (calibration, confusions, shares of neighbours) is left out until both are right twice as often
# as a guess.
#
# `papermill notebooks/40_look_inside.ipynb out.ipynb -p preset study` trains two networks as the
# recorded study did, with and without a puzzle, and looks inside those. Under a minute at defaults.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # folder for tables and figures; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("40_look_inside", preset, data, root, outputs, seed)

# %% [markdown]
# ## Two networks
#
# The same data, seed and length; one had a puzzle beside its labels. Photographs of people are
# measured on, not shown: on a real data set the pictures below are of the shipped, rendered faces.

# %% tags=["nbval-ignore-output"]
import numpy as np
import torch

from hmtl import load_pack
from hmtl.use.predict import answers_of

ways = {"SL": {}, "SL + puzzle": {"pretexts": ("puzzling_2x2",)}}
chosen = here.choose_lr(ways.values(), fraction=here.preset.fractions[0])
runs = here.train(here.spec(fraction=here.preset.fractions[0], **method) for method in chosen)
models = {name: answers_of(run).model for name, run in zip(ways, runs, strict=True)}
pack = here.load()
shown = load_pack("mini") if pack.shows_people else pack
knows = min(run.scores["accuracy"] for run in runs) > 0.25  # a guess is right on one in eight
print("both know something" if knows else "near chance: numbers are left out below")

# %% [markdown]
# ## Where they look
#
# Grad-CAM (arXiv 1610.02391): the places of the feature map that speak for the class the network
# names, weighted by the gradient of its logit. One person, eight expressions. The map has few
# places at this size, so it is coarse; it says what a decision hung on, not that the reasons were
# good.

# %%
import matplotlib.pyplot as plt

from hmtl.method.augment import VALID_CROP, center_crop
from hmtl.study.plots import show_as_jpeg
from hmtl.use.explain import grad_cam

show_as_jpeg()

labels = shown.labels
person = labels.loc[labels["split"] == "test", "person"].iloc[0]
rows = labels.index[labels["person"] == person][:8]
pixels = torch.tensor(shown.images[rows]).permute(0, 3, 1, 2) / 255
faces = center_crop(pixels, VALID_CROP, here.spec().size)

# %% tags=["nbval-ignore-output"]
figure, axes = plt.subplots(3, len(faces), figsize=(1.15 * len(faces), 3.6), layout="constrained")
for axis, face, emotion in zip(axes[0], faces, labels.loc[rows, "emotion"], strict=True):
    axis.imshow(face.permute(1, 2, 0))
    axis.set_title(emotion, fontsize=8)
for line, (name, model) in zip(axes[1:], models.items(), strict=True):
    with torch.no_grad():
        said = [runs[0].spec.make_task().names[i] for i in model.eval()(faces).argmax(1)]
    for axis, face, heat, word in zip(line, faces, grad_cam(model, faces), said, strict=True):
        axis.imshow(face.mean(0), cmap="gray")
        axis.imshow(heat, cmap="inferno", alpha=0.5, vmin=0, vmax=1)
        axis.set_title(word, fontsize=8)
    line[0].text(-0.1, 0.5, name, ha="right", va="center", fontsize=9, transform=line[0].transAxes)
for axis in axes.flat:
    axis.set_axis_off()
here.save_figure(figure, "grad-cam", "Eight faces, and where each network looks.")
plt.show()

# %% [markdown]
# ## Whom they take for alike
#
# The test face at the left, and the five nearest to it in each representation, among people the
# networks never saw. Is what they share the expression, or the person, the light, the pose?

# %% tags=["nbval-ignore-output"]
from hmtl.study.plots import show_faces
from hmtl.use.explain import neighbours, representation

tested = shown.rows("test")[:400]
pixels = torch.tensor(shown.images[tested]).permute(0, 3, 1, 2) / 255
test_faces = center_crop(pixels, VALID_CROP, here.spec().size)
features = {name: representation(model, test_faces) for name, model in models.items()}
queries, sheet, names = np.arange(0, len(tested), len(tested) // 3)[:3], [], []
for name, own in features.items():
    for query, near in zip(queries, neighbours(own[queries], own, 6), strict=True):
        order = [query, *(i for i in near if i != query)][:6]
        sheet += list(test_faces[order].permute(0, 2, 3, 1).numpy())
        names.append(name)
here.save_figure(show_faces(np.stack(sheet), columns=6, rows=names, side=0.9), "neighbours")
plt.show()

# %% [markdown]
# How often a face's nearest neighbour shares its emotion, and how often its person:

# %% tags=["nbval-ignore-output"]
import pandas as pd

if knows:
    table = labels.loc[tested].reset_index(drop=True)
    rows = {}
    for name, own in features.items():
        nearest = neighbours(own, own, 2)
        other = np.where(nearest[:, 0] == np.arange(len(own)), nearest[:, 1], nearest[:, 0])
        rows[name] = {
            column: (table[column].to_numpy() == table[column].to_numpy()[other]).mean()
            for column in ("emotion", "person", "gender")
            if column in table
        }
    shares = pd.DataFrame(rows).rename_axis("same").reset_index()
    print(here.save(shares, "neighbours").round(3).to_string(index=False))

# %% [markdown]
# ## A map of the faces
#
# Each representation in two dimensions (principal components, then t-SNE): faces near each other
# are alike to the network; distances far apart mean nothing.

# %% tags=["nbval-ignore-output"]
import seaborn as sns

from hmtl.use.explain import plane

if knows:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, (name, own) in zip(axes, features.items(), strict=True):
        x, y = plane(own, seed).T
        sns.scatterplot(x=x, y=y, hue=table["emotion"], s=14, ax=axis, legend=axis is axes[-1])
        axis.set(title=name, xticks=[], yticks=[])
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    here.save_figure(figure, "map")
    plt.show()

# %% [markdown]
# ## How sure they are
#
# On the data's own test faces: whoever says 80 % should be right four times in five. Below the
# diagonal a network is surer than it should be. The number is the expected calibration error
# (arXiv 1706.04599), the mean gap over faces.

# %% tags=["nbval-ignore-output"]
from hmtl.use.explain import calibration, calibration_error

if knows:
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained", sharey=True)
    for axis, name, run in zip(axes, ways, runs, strict=True):
        bins = calibration(run.predictions)
        axis.plot([0, 1], [0, 1], color="0.3", lw=1, ls=":")
        axis.scatter(
            bins["confidence"], bins["accuracy"], s=4 + 200 * bins["faces"] / bins["faces"].sum()
        )
        axis.set(title=f"{name}: off by {calibration_error(run.predictions):.1%}", xlabel="says")
    axes[0].set_ylabel("is right")
    here.save_figure(figure, "calibration")
    plt.show()

# %% [markdown]
# ## What they confuse
#
# Rows are true emotions, columns what was said, in % of the row.

# %% tags=["nbval-ignore-output"]
from hmtl.study.plots import plot_confusion

if knows:
    for name, run in zip(ways, runs, strict=True):
        here.save_figure(plot_confusion(run.predictions, name), f"confusion-{run.spec.method[:3]}")
        plt.show()

# %%
for run in runs:
    answers = run.predictions
    assert np.allclose(answers.filter(regex="^p_").sum(axis=1), 1, atol=1e-3)
    assert 0 <= calibration_error(answers) <= 1

# %% [markdown]
# **What the paper reports:** nothing known to us about what its networks look at. **Where this is
# limited:** one seed of each; whoever wants to say that one *kind* of training looks elsewhere must
# look at several.
#
# ### Exercises
# 1. Give `grad_cam` the true class instead of the named one. Where do the maps differ?
# 2. Which is shared more often by neighbours, the emotion or the pose? Compare the means of `yaw`.
# 3. Divide the logits by a number above one before the softmax. Which number calibrates each
#    network?
#
# Back to [21_few_labels](21_few_labels.ipynb).

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here).T
