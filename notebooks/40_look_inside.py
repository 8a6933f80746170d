# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does a network know when it is wrong?
#
# **Not on strange pictures: on rendered faces a network trained on photographs is right on 23.0 %,
# its mean probability 74.3 %.** One trained on rendered faces is right on 75.9 %, its mean
# probability 67.8 %. Both ship and answer about the same rendered faces of people they never saw. A
# guess is right on 12.5 %. A smile is read from the lower half of the face.
#
# The page looks inside the two networks of emotions that ship, in under a minute. With `papermill
# notebooks/40_look_inside.ipynb out.ipynb -p preset study` it trains two instead, one with a
# puzzle: an hour on two cores.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # for tables and figures, runs beside it; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("40_look_inside", preset, data, root, outputs, seed)

# %% [markdown]
# ## Two networks
#
# `faces-emotion` learned from 9,600 rendered faces, `ferplus` from photographs (FER+). Both answer
# about the 640 rendered faces of the package, which neither has seen.
#
# With a preset the two have the same data, seed and length; one had a puzzle beside its labels.
# Photographs of people are measured on, not shown: on a real data set the pictures below are of the
# shipped, rendered faces.

# %% tags=["nbval-ignore-output"]
import numpy as np

import hmtl
from hmtl import load_pack
from hmtl.use.networks import open_handed, shipped
from hmtl.use.predict import answers_of

if here.trains:
    ways = {"labels alone": {}, "with a puzzle": {"pretexts": ("puzzling_2x2",)}}
    chosen = here.choose_lr(ways.values(), fraction=here.preset.fractions[0])
    runs = here.train(here.spec(fraction=here.preset.fractions[0], **method) for method in chosen)
    networks = {n: hmtl.load(run.path, device="cpu") for n, run in zip(ways, runs, strict=True)}
    models = {name: answers_of(run).model for name, run in zip(ways, runs, strict=True)}
    pack = here.load()
else:
    networks = {name: hmtl.load(name, device="cpu") for name in ("faces-emotion", "ferplus")}
    models = {name: open_handed(shipped()[name]).model for name in networks}
    pack = load_pack("mini")
shown = load_pack("mini") if pack.shows_people else pack
tested = shown.rows("test")[:400] if here.trains else np.arange(len(shown))
table = shown.labels.loc[tested].reset_index(drop=True)

# %%
import pandas as pd

if here.trains:
    answers = {name: run.predictions for name, run in zip(networks, runs, strict=True)}
else:
    answers = {
        name: network.predict(list(shown.images[tested]), detect=False, progress=False)
        for name, network in networks.items()
    }
    answers = {name: said.assign(target=table["emotion"]) for name, said in answers.items()}

# %% [markdown]
# ## How sure they are
#
# Whoever says 80 % should be right four times in five. Below the diagonal a network is surer than
# it should be. The number is the expected calibration error (arXiv 1706.04599), the mean gap over
# faces.

# %%
import matplotlib.pyplot as plt

from hmtl.use.explain import calibration, calibration_error

figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained", sharey=True)
for axis, (name, said) in zip(axes, answers.items(), strict=True):
    bins = calibration(said)
    sizes = 12 + 400 * bins["faces"] / bins["faces"].sum()
    axis.plot([0, 1], [0, 1], color="0.3", lw=1, ls=":")
    axis.scatter(bins["confidence"], bins["accuracy"], s=sizes)
    axis.set(title=f"{name}: off by {calibration_error(said):.1%}")
    axis.set_xlabel("how sure it says it is")
axes[0].set_ylabel("how often it is right")
caption = "How often two networks are right, by how sure they say they are."
if not here.trains:
    caption = "One network near the diagonal; the other far below it, sure and wrong."
here.save_figure(figure, "calibration", caption)

# %%
if not here.trains:
    off = {name: calibration_error(said) for name, said in answers.items()}
    assert off["faces-emotion"] < 0.1 < 0.5 < off["ferplus"]

# %%
told = {
    name: {
        "is right": (said["predicted"] == said["target"]).mean(),
        "says it is sure": said.filter(regex="^p_").max(axis=1).mean(),
    }
    for name, said in answers.items()
}
sure = pd.DataFrame(told).T
sure.map("{:.1%}".format)

# %%
if not here.trains:  # the sentences at the top
    found = (100 * sure).round(1)
    assert found.loc["faces-emotion"].tolist() == [75.9, 67.8]
    assert found.loc["ferplus"].tolist() == [23.0, 74.3]

# %% [markdown]
# ## Where they look
#
# Grad-CAM (arXiv 1610.02391): the places of the feature map that speak for the class the network
# names, weighted by the gradient of its logit. One person, eight expressions. The map has few
# places at this size, so it is coarse; it says what a decision hung on, not that the reasons were
# good.

# %%
import torch

from hmtl.study.plots import show_as_jpeg
from hmtl.use.explain import grad_cam

show_as_jpeg(32)


def seen(network, images):  # what a network is given, (B, 3, H, W)
    if network.grey:
        images = np.round(images @ [0.299, 0.587, 0.114]).astype(np.uint8)
    return torch.from_numpy(network.see(list(images)))


person = table["person"].iloc[-1]
rows = table.index[table["person"] == person][:8]
faces = shown.images[tested][rows]

# %%
figure, axes = plt.subplots(3, len(faces), figsize=(1.15 * len(faces), 3.8), layout="constrained")
for axis, face, emotion in zip(axes[0], faces, table.loc[rows, "emotion"], strict=True):
    axis.imshow(face)
    axis.set_title(emotion, fontsize=9)
for line, (name, network) in zip(axes[1:], networks.items(), strict=True):
    given = seen(network, faces)
    said = [network.task.names[i] for i in network.answer(given.numpy()).argmax(1)]
    heats = grad_cam(models[name], given)
    for axis, face, heat, word in zip(line, given, heats, said, strict=True):
        axis.imshow(face.mean(0), cmap="gray")
        axis.imshow(heat, cmap="inferno", alpha=0.5, vmin=0, vmax=1)
        axis.set_title(f"says {word}", fontsize=9)
    line[0].text(-0.1, 0.5, name, ha="right", va="center", transform=line[0].transAxes)
for axis in axes.flat:
    axis.set_axis_off()
here.save_figure(figure, "grad-cam", "Eight faces of one person, and where each network looks.")

# %% [markdown]
# Bright places spoke for the answer. Which half of the face speaks for a smile, over all happy
# faces that are called happy?

# %%
said = answers[next(iter(answers))]["predicted"] if not here.trains else table["emotion"]
smiles = np.flatnonzero((table["emotion"] == "happy") & (said == "happy"))
first = next(iter(networks))
heat = grad_cam(models[first], seen(networks[first], shown.images[tested[smiles]]))
upper, lower = (half.mean() for half in np.split(heat, 2, axis=1))
print(f"{first}, {len(smiles)} smiles: upper half {upper:.2f}, lower half {lower:.2f}")
if not here.trains:
    assert lower > 1.3 * upper, "a sentence at the top"

# %% [markdown]
# ## Whom they take for alike
#
# The test face at the left, and the five nearest to it in each representation, among people the
# networks never saw. Is what they share the expression, or the person, the light, the pose?

# %%
from hmtl.study.plots import show_faces
from hmtl.use.explain import neighbours, representation

features = {
    name: representation(models[name], seen(network, shown.images[tested]))
    for name, network in networks.items()
}
queries, sheet, names = np.arange(0, len(tested), len(tested) // 2)[:2], [], []
for name, own in features.items():
    for query, near in zip(queries, neighbours(own[queries], own, 6), strict=True):
        order = [query, *(i for i in near if i != query)][:6]
        sheet += list(shown.images[tested[order]])
        names.append(name)
figure = show_faces(np.stack(sheet), columns=6, rows=names, side=0.95)
here.save_figure(figure, "neighbours", "In each row a face, and the five nearest to it.")

# %% [markdown]
# How often a face's nearest neighbour shares its emotion, its person, its gender:

# %%
rows = {}
for name, own in features.items():
    nearest = neighbours(own, own, 2)
    other = np.where(nearest[:, 0] == np.arange(len(own)), nearest[:, 1], nearest[:, 0])
    rows[name] = {
        column: (table[column].to_numpy() == table[column].to_numpy()[other]).mean()
        for column in ("emotion", "person", "gender")
    }
shares = pd.DataFrame(rows).T
here.save(shares.reset_index(names="network"), "neighbours")
shares.map("{:.1%}".format)

# %% [markdown]
# By chance one in eight shares the emotion, one in two the gender. A network orders its own kind of
# faces by emotion, another kind much less.
#
# ## A map of the faces
#
# Each representation in two dimensions (principal components, then t-SNE): faces near each other
# are alike to the network; distances far apart mean nothing.

# %%
import seaborn as sns

from hmtl.labels import EMOTIONS
from hmtl.study.plots import show_in_few_colours
from hmtl.use.explain import plane

show_in_few_colours()

figure, axes = plt.subplots(1, 2, figsize=(9.4, 4), layout="constrained")
for axis, (name, own) in zip(axes, features.items(), strict=True):
    x, y = plane(own, seed).T
    sns.scatterplot(
        x=x, y=y, hue=table["emotion"], style=table["emotion"], hue_order=EMOTIONS,
        style_order=EMOTIONS, s=26, ax=axis, legend=axis is axes[-1],
    )  # fmt: skip
    axis.set(title=name, xticks=[], yticks=[])
axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
here.save_figure(figure, "map", "Faces as points: one network groups emotions, one mixes them.")

# %% [markdown]
# ## What they confuse
#
# Rows are true emotions, columns what was said, in % of the row.

# %%
from hmtl.study.plots import plot_confusion

for name, said in answers.items():
    figure = plot_confusion(said, name)
    caption = f"What {name} says of each emotion, in % of its faces."
    here.save_figure(figure, f"confusion-{name}", caption)

# %% [markdown]
# The network of rendered faces takes 24 % of neutral faces for contempt, and 18 % of contempt for
# happiness, the other smile. That of photographs calls 88 % of all faces neutral or surprised.
#
# ## What to take away
#
# - **Not on strange pictures: on rendered faces a network trained on photographs is right on
#   23.0 %, its mean probability 74.3 %.** A probability means something only where it was checked.
# - A map of attention says what a decision hung on, not that the reasons were good.

# %%
for said in answers.values():
    assert np.allclose(said.filter(regex="^p_").sum(axis=1), 1, atol=1e-3)
if not here.trains:
    said = answers["faces-emotion"].groupby("target")["predicted"].value_counts(normalize=True)
    assert round(said["neutral", "contempt"], 2) == 0.24
    assert round(said["contempt", "happy"], 2) == 0.18
    assert round(answers["ferplus"]["predicted"].isin(["neutral", "surprise"]).mean(), 2) == 0.88

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
