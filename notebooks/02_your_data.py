# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What did the reader find in your copy of a data set?
#
# **In the made-up copy of this page, all 5 faulty pictures: two that cannot be read, one missing,
# one tiny, one in two splits.** Nothing was guessed.
#
# None of the public data sets can be shipped, so each is read from your own copy. The examples here
# are made-up folders in the published formats. Rendered faces are in them, and the faults that
# copies have. The page takes one to three minutes.
#
# With `-p data affectnet -p root DIR` the report below is of **your** copy: counts, class balance,
# problems. It is packed on the way, once. A large set is better packed beforehand (`python -m hmtl
# pack`); then give the pack as `root`. No photograph of a person is ever shown.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # a set of the table below, e.g. affectnet; empty: a made-up folder is reported on
root: str = ""  # its folder, or a pack of it by `python -m hmtl pack`
outputs: str = ""  # for tables and figures, runs beside it; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("02_your_data", preset, data, root, outputs, seed)

# %% [markdown]
# ## Made-up folders
#
# Five folders in the formats of AffectNet (both releases, and a copy by class folders), 300W-LP and
# AFLW2000-3D. Names, fields and file types are those of the real sets; the faces are rendered.

# %%
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from hmtl.study.notebook import NOTEBOOKS

sys.path.append(str(NOTEBOOKS.parent / "tests/helpers"))  # what writes the folders lies there
from made_up_folders import EXAMPLES

temporary = TemporaryDirectory()
made = Path(temporary.name).resolve()
folders = {what: write(made / what) for what, (_, write) in EXAMPLES.items()}
for what, folder in folders.items():
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    print(f"{what}: {len(files)} files, such as {files[len(files) // 2].relative_to(folder)}")

# %% [markdown]
# ## Which face is meant
#
# A picture may show more than the face. The box is part of the label: the second sheet shows what
# is cut out, the first from where.

# %%
import numpy as np
from PIL import Image, ImageDraw

from hmtl import load_pack
from hmtl.data.packing import read_set
from hmtl.study.plots import show_as_jpeg, show_faces

show_as_jpeg()
table = read_set("affectnet", folders["AffectNet, first release"])
pack = load_pack("affectnet", folders["AffectNet, first release"])  # rendered faces: may be shown
faces = pack.labels[(pack.labels["split"] == "train").to_numpy()].drop_duplicates("emotion")
pictures = []
for row in table.set_index("key").loc[faces["key"]].itertuples():
    picture = Image.open(row.path)
    box = (row.left, row.top, row.right, row.bottom)
    ImageDraw.Draw(picture).rectangle(box, outline="yellow", width=2)
    pictures.append(np.asarray(picture))
figure = show_faces(np.stack(pictures))
here.save_figure(figure, "boxes", "Pictures, and in yellow the face's box that the set gives.")
figure = show_faces(pack.images[faces.index], faces["emotion"].tolist())
here.save_figure(figure, "packed", "The same faces as squares, as the pack has them.")

# %% [markdown]
# ## From a folder to a table
#
# A row is a face: a key, its place on the disk, its split, its labels by name. If the set has one,
# the box of the face is there too. Everything after this looks the same for every data set.

# %%
assert not table["key"].duplicated().any()
columns = ["split", "emotion", "valence", "arousal", "left", "top", "right", "bottom"]
shown = table[columns].round(2)
shown.index = table["key"].str.split("/").str[-1].str[:8] + "..."
shown.groupby("split", sort=False).head(2)

# %%
import pandas as pd

tables = {what: read_set(EXAMPLES[what][0], folder) for what, folder in folders.items()}
kinds = ("emotion", "valence", "yaw", "left", "source")
pd.DataFrame(
    {
        what: {
            **{s: int((t["split"] == s).sum()) for s in ("train", "valid", "test")},
            **{column: "yes" if column in t else "" for column in kinds},
        }
        for what, t in tables.items()
    }
).T

# %% [markdown]
# AffectNet's lists and 300W-LP have no validation images, so a seed holds out 5 % of training. Of
# 300W-LP it is whole photographs (`source`), or one face would be on both sides: here 16 of 192
# faces. AFLW2000-3D is for tests only.

# %%
pose = tables["300W-LP"]
held = set(pose["source"][pose["split"] == "valid"])
assert held, "nothing was held out"
assert not held & set(pose["source"][pose["split"] == "train"]), "a photograph on both sides"

# %% [markdown]
# ## The report
#
# From here to the balance of the classes the report is of your copy, if you named one, else of the
# made-up first release. Beside each number found stands the published one. Nothing stops for a
# difference: copies differ, and both numbers are told.

# %%
import json

yours = here.is_read
mine = here.load() if yours else pack
print(here.data if yours else "the made-up first release of AffectNet")
report = json.loads((mine.path / "report.json").read_text(encoding="utf-8"))

# %%
from hmtl.data.readers.report import counts_table

counts = counts_table(report["reader"])
here.save(counts.reset_index(), "counts").set_index("count")

# %% [markdown]
# A copy that is whole shows `+0` in every row that was published. Fewer images in one class alone
# are a sign of a broken archive; more test images than published, of another release.

# %%
total = sum(report["images"][split] for split in ("train", "valid", "test"))
assert total == report["images"]["packed"] == len(mine)
for note in report["reader"]["notes"]:
    print("-", note)
pd.Series(report["images"], name="images").to_frame()

# %% [markdown]
# ## What was left out, and why
#
# Rows that cannot be used cost themselves only, and are counted by reason. `report.json` in the
# pack has all of them.

# %%
from hmtl.data.readers.report import dropped_table

dropped = dropped_table(report["reader"])
here.save(dropped, "dropped").set_index("reason")

# %% [markdown]
# ## What is wrong with the pictures
#
# Packing reads each picture once. It names those that are missing, cannot be read, or are so small
# that most of the square is made up. It also finds one picture under two names. The same picture in
# training and test makes every score too good.

# %%
alike = report["duplicates"]
problems = {
    "missing on the disk": report["missing"],
    "cannot be read": [f"{key}: {why}" for key, why in report["bad"].items()],
    "tiny": [f"{key}: {why}" for key, why in report["tiny"].items()],
    "perhaps on their side": list(report["turned"]),
    "in two splits": [" = ".join(group) for group in alike["across splits"]],
    "twice in a split": [" = ".join(group) for group in alike["within a split"]],
}
rows = [(what, len(found), next(iter(found), "")) for what, found in problems.items()]
wrong = pd.DataFrame(rows, columns=["problem", "pictures", "first"])
shorter = wrong["first"].str.replace(r"\w{48}(?=\w{8}\.)", "...", regex=True)
here.save(wrong, "problems").assign(first=shorter).set_index("problem")

# %% [markdown]
# The made-up folder has faults on purpose, and every one of them must be found:

# %%
if not yours:
    found = wrong.set_index("problem")["pictures"].to_dict()
    assert found["cannot be read"] == 2, "a truncated file and an empty one"
    assert found["missing on the disk"] == found["tiny"] == found["in two splits"] == 1
    assert set(dropped["reason"]) >= {"malformed row", "Uncertain", "Non-Face", ".tif or .bmp"}

# %% [markdown]
# `--drop-duplicates` leaves training pictures out that are in test too, and never a test picture.
# Pictures that cannot be read are left out up to 5 % of all; beyond that nothing is packed, and
# every one is named (`--max-bad`).
#
# ## The balance of the classes
#
# Real faces are not balanced. Let $n_k$ be the training faces of class $k$. A network that always
# says the commonest class is right in a share of $\max_k n_k / \sum_k n_k$. Class weights
# (`weighted=True`) multiply the loss of a face of class $k$ by
#
# $$w_k = \max_j n_j \,/\, n_k$$

# %%
from hmtl.study.plots import plot_balance

figure = plot_balance(mine.labels)
here.save_figure(figure, "balance", "The share of each emotion in each split, in %.")

# %% [markdown]
# The dotted line is where every class would be equally frequent. AffectNet's test images are
# balanced, its training images are not: accuracy on the one rewards what the other does not teach.
# Sets with head poses and no classes show their angles here.

# %%
from hmtl.labels import EMOTIONS
from hmtl.method.tasks import Emotion
from hmtl.method.tasks.classes import class_weights

weighing = pd.DataFrame()
if "emotion" in mine.labels:
    train = mine.labels[(mine.labels["split"] == "train") & mine.labels["emotion"].notna()]
    n = train["emotion"].value_counts().reindex(EMOTIONS, fill_value=0)
    weights = class_weights(Emotion().strata(train), len(EMOTIONS)).numpy()
    assert np.allclose(weights[n > 0], n.max() / n[n > 0]), "not the formula above"
    print(f"always {n.idxmax()}: right on {n.max() / n.sum():.1%} of the training faces")
    weighing = pd.DataFrame({"faces": n, "weight": weights.round(1)}).rename_axis("emotion")
    here.save(weighing.reset_index(), "weights")
weighing.T.map("{:g}".format)

# %% [markdown]
# ## What a reader says when it cannot go on
#
# A folder may not be the set, an option or a name may not exist. Each is an error that names the
# place, what was expected and what was found. (From here on all is made up again.)


# %%
def say(call, *arguments, **options):
    """Print how a call is refused; paths begin at the made-up folder."""
    try:
        call(*arguments, **options)
    except (FileNotFoundError, ValueError) as error:
        print(f"{type(error).__name__}: {error}\n".replace(str(made), "..."))
    else:
        raise AssertionError("this should have been refused")


say(read_set, "affectnet", made / "affectnot")
say(read_set, "affectnet", folders["300W-LP"])
say(read_set, "rafdb", folders["AffectNet, March 2021"])
say(read_set, "affectnet", folders["AffectNet, first release"], {"clases": 7})
say(load_pack, "affectnot", made)

# %% [markdown]
# Labels go by name. A number means another emotion in each copy: in alphabetical order 0 is anger,
# in AffectNet's own neutral. So folders `0` to `7` are refused until you say what they mean.

# %%
from made_up_folders import save_annotation, write_affectnet_npy

spoilt = write_affectnet_npy(made / "spoilt", people=1)
save_annotation(spoilt / "train_set/annotations", 3, expression=11)
say(read_set, "affectnet", spoilt)

numbered = made / "numbered"
(numbered / "0").mkdir(parents=True)
for i in range(3):
    pictures_of = folders["AffectNet, folder copy"] / "neutral"
    (numbered / "0" / f"{i}.jpg").write_bytes(sorted(pictures_of.iterdir())[i].read_bytes())
say(read_set, "affectnet", numbered)
told = read_set("affectnet", numbered, {"names": dict(enumerate(EMOTIONS))})
assert set(told["emotion"]) == {"neutral"}

# %% [markdown]
# And if too many pictures are broken, the pack is not made:

# %%
files = sorted((folders["AffectNet, folder copy"] / "happy").iterdir())
for file in files[:12]:
    file.write_bytes(file.read_bytes()[:300])
say(load_pack, "affectnet-folders", folders["AffectNet, folder copy"])

# %% [markdown]
# ## A training on AffectNet's format
#
# Nothing changes but the name of the data and its folder. Supervised training, and the same with a
# puzzle: a hundred faces and four epochs only show that it runs, so no score is shown.

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

from hmtl import RunSpec, run_all
from hmtl.runs.store import runs_table

store = here.outputs.parent / "runs"
spec = RunSpec(data="affectnet", epochs=4, bs=32, seed=seed)
specs = [spec, replace(spec, pretexts=("puzzling_2x2",))]
runs = run_all(specs, root=folders["AffectNet, first release"], store=store, jobs=1)
runs_table(runs)[["data", "method", "epochs", "train_faces", "test_faces"]]

# %%
for run in runs:
    assert len(run.predictions) == (pack.labels["split"] == "test").sum()
    losses = run.metrics["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0], "the loss should fall"
print(f"{len(runs)} runs, each tested on {len(run.predictions)} faces")

# %% [markdown]
# ## A training on 300W-LP's format
#
# Head pose is three angles. The `.mat` beside each picture holds pitch, yaw and roll in *this*
# order and in radians: $\theta = \tfrac{180}{\pi}\,p$ degrees. A mirror image changes the signs of
# yaw and roll. The faces here were rendered at known angles, so the reader can be held to them.

# %%
angles = ["yaw", "pitch", "roll"]
mini = load_pack("mini").labels
flipped = pose["key"].str.contains("_Flip/")
plain, mirrored = (pose[rows].sort_values("key") for rows in (~flipped, flipped))
names = plain["key"].str.extract(r"_1(\d+)_1_(\d)\.jpg").astype(int)  # person, picture
own = [mini[mini["person"] == person].iloc[i] for person, i in names.itertuples(index=False)]
truth = pd.DataFrame(own)[angles].to_numpy(float)
np.testing.assert_allclose(plain[angles], truth, atol=1e-3)
np.testing.assert_allclose(mirrored[angles], truth * [-1, 1, -1], atol=1e-3)
print(f"{len(pose)} poses are those that were rendered")

# %%
poses = load_pack("300w-lp", folders["300W-LP"])
some = poses.labels.sort_values("yaw").iloc[np.linspace(0, len(poses) - 1, 8).astype(int)]
titles = [f"{row.yaw:+.0f}, {row.pitch:+.0f}" for row in some.itertuples()]
figure = show_faces(poses.images[some.index], titles)
here.save_figure(figure, "poses", "Faces from one side to the other, with their yaw and pitch.")

# %% [markdown]
# Above each face are yaw and pitch. Positive yaw turns the nose to the left of the picture,
# positive pitch lifts it. The square is Hopenet's crop of the landmarks.
#
# 300W-LP is for training, AFLW2000-3D for tests. A run wants both in one set, so it refuses; the
# protocol `300w-lp-aflw2000` is both in one. By hand it goes like this:

# %%
from hmtl.runs.fit import build_learner, fit

spec = RunSpec(data="300w-lp", task="head_pose", epochs=4, bs=32, seed=seed)
say(fit, spec, pack=poses, store=store)
learn = build_learner(spec, poses, device="cpu")
with learn.no_bar(), learn.no_logging():
    learn.fit_one_cycle(spec.epochs, spec.lr)

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import history

epochs = history(learn)
epochs

# %% tags=["nbval-ignore-output"]
from hmtl import face_dataloaders

task = spec.make_task()
tested = load_pack("aflw2000", folders["AFLW2000-3D"])
dl = face_dataloaders(tested, task=task, device="cpu")[2]
with learn.no_bar():
    answers, _ = learn.get_preds(dl=dl)
scores = task.scores(task.predictions(tested.labels.iloc[dl.dataset.rows], answers.numpy()))
ahead = tested.labels[angles].abs().mean().mean()
print(f"mean error {scores['mae']:.1f} degrees; who always says 0, 0, 0 errs by {ahead:.1f}")

# %%
assert epochs["train_loss"].iloc[-1] < epochs["train_loss"].iloc[0], "the loss should fall"
assert len(tested) == 47, "the 48th is beyond 99 degrees, as 31 of the 2,000 real ones are"

# %% [markdown]
# A dozen people and four epochs teach the network next to nothing: it is about as good as one that
# never looks. The two numbers stand side by side because an error in degrees means nothing alone.
#
# ## From the archive on the disk to the first training
#
# Copies differ from what their authors published: a folder around them, lists of another form, a
# split in the names of files. Each row below is one such copy, made up with rendered faces and
# trained on for one epoch, by
#
#     python -m hmtl run --preset smoke --data SET --set task TASK --root FOLDER
#
# A set that has a person in its names is split by whole people. `papers/DATA.md` has the list.

# %% tags=["nbval-ignore-output"]
from made_up_folders import COPIES

recipes, copied = [], {}
for what, (data, task, write) in COPIES.items():
    folder = made / what.replace(" ", "_")
    write(folder)
    spec = RunSpec(data=data, task=task, epochs=1, bs=32, seed=seed)
    run = fit(spec, root=folder, store=store)
    copied[what] = read_set(data, folder)
    found = copied[what]["split"].value_counts()
    faces = " / ".join(str(found.get(split, 0)) for split in ("train", "valid", "test"))
    top = ", ".join(sorted(p.name for p in folder.iterdir()))[:40]
    assert len(run.predictions) == found["test"], "not every test face was answered"
    recipes.append((what, top, data, task, faces))
columns = ["copy", "its folder holds", "SET", "TASK", "train / valid / test"]
pd.DataFrame(recipes, columns=columns).set_index("copy")

# %%
people = copied["CK+48, from Kaggle"].groupby("person")["split"].nunique()
assert (people == 1).all(), "a person is in two splits"
assert set(copied["FER2013 in folders, from Kaggle"]["split"]) == {"train", "valid", "test"}
assert {len(t) for t in copied.values()} >= {160, 192}, "a row was lost"
print(f"{len(copied)} copies were read and trained on")
temporary.cleanup()

# %% [markdown]
# ## Which sets have a reader
#
# One function a set turns its folder into a table. `options` are what that function takes beside
# the folder, as in `python -m hmtl pack affectnet --option classes 7` or `load_pack("affectnet",
# root, options={"classes": 7})`. Where to ask for each set stands in
# [papers/DATA.md](../papers/DATA.md).

# %%
import inspect
import sys

from hmtl.data.readers import READERS

pd.set_option("display.max_colwidth", 110)
known = {}
for name, reader in READERS.items():
    about = sys.modules[reader.__module__].__doc__.splitlines()[0]
    taken = inspect.signature(reader).parameters.values()
    options = [p.name for p in taken if p.kind is p.KEYWORD_ONLY]
    known[name] = {"what is read": about.rstrip("."), "options": ", ".join(options)}
here.save(pd.DataFrame(known).T.reset_index(names="data"), "readers").set_index("data")

# %% [markdown]
# ## What a folder must look like
#
# Each reader's module opens with the files it expects, as published. If your copy differs, the
# reader says how; it never guesses.

# %%
print(sys.modules[READERS["affectnet-csv"].__module__].__doc__)

# %% [markdown]
# ## What to take away
#
# - **In the made-up copy of this page, all 5 faulty pictures: two that cannot be read, one missing,
#   one tiny, one in two splits.** None was guessed away.
# - A copy is described before anything is trained on it: what is there, what was published, what
#   was left out and why. Broken pictures are named, and those in two splits.
# - A training needs the name of the set and its folder, and whether its labels are emotions or
#   angles.
#
# **Where this departs from the paper:** it uses AffectNet and does not say how it treats faults or
# duplicates; here both are counted.
#
# **What was not tried:** the real sets but FER+. The formats are the published ones; if your copy
# is otherwise, please read what the reader says, and tell us.
#
# ### Exercises
#
# 1. Read the first release with `options={"classes": 7}`. Which counts change, and which reason to
#    leave rows out is new?
# 2. Pack it with `drop_duplicates=True` (`hmtl.data.packing.pack_photos`). Which picture goes?
# 3. Write a csv of your own pictures and read it: `python -m hmtl pack csv --root DIR --out PACK
#    --option columns path=file emotion=label`.
#
# Next: [10_imagenet_versus_scratch](10_imagenet_versus_scratch.ipynb), the first experiment.

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here).T
