"""The project holds together: environments, notebook pairs, imports, what is shipped."""

import ast
import difflib
import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from bench_predict import readme_networks
from forked import run_python
from jupytext.config import load_jupytext_config
from packaging.requirements import Requirement
from packaging.version import Version
from PIL import Image

import hmtl
from hmtl.data.readers import READERS
from hmtl.files import hash_file
from hmtl.paths import reference_dir
from hmtl.study.record import read_table
from hmtl.study.tables import markdown, recorded_runs
from hmtl.study.verdicts import readme_claims, readme_verdicts, verdict_table
from hmtl.use.networks import shipped

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked():
    """name -> pinned version, of requirements.lock; each has the hashes of its files."""
    pins, text = {}, (ROOT / "requirements.lock").read_text()
    lines = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", text, flags=re.M)).splitlines()
    for line in lines:
        wanted, *hashes = re.split(r"\s+--hash=", line)
        requirement = Requirement(wanted)
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        assert requirement.url is None, line
        assert hashes, f"{line}: no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one.strip()) for one in hashes), line
        pins[_name(requirement.name)] = Version(pin.version)
    return pins


def _name(text):
    return re.sub(r"[-_.]+", "-", text).lower()


def wanted():
    """Every requirement of pyproject.toml, extras included."""
    extras = sum(PROJECT["optional-dependencies"].values(), [])
    return [Requirement(r) for r in PROJECT["dependencies"] + extras]


def test_the_lock_pins_what_the_project_asks_for():
    pins = locked()
    for requirement in wanted():
        assert _name(requirement.name) in pins, requirement
        assert requirement.specifier.contains(pins[_name(requirement.name)]), requirement


def test_the_tests_run_on_the_locked_versions():
    pins = locked()
    for requirement in wanted():
        assert Version(version(requirement.name)) == pins[_name(requirement.name)], requirement


def test_conda_reads_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    *plain, pip = environment["dependencies"]
    lock, *named = pip["pip"]
    assert lock == "-r requirements.lock"  # a checkout has no hash: installed beside it
    pins = locked()
    for requirement in map(Requirement, named):
        (pin,) = requirement.specifier
        assert (pin.operator, Version(pin.version)) == ("==", pins[_name(requirement.name)])
    chosen = "jupyterlab jupytext papermill fastai torch timm seaborn nbval pytest"
    assert {Requirement(line).name for line in named} == set(chosen.split())
    (python,) = (d.split("=")[1] for d in plain if d.startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)


def test_one_version():
    assert PROJECT["version"] == hmtl.__version__ == version("hmtl")


def test_readme_commands_exist():
    """Targets of make, subcommands and presets named in README."""
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.M)):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for command in set(re.findall(r"python -m hmtl ([\w-]+)", readme)):
        subprocess.run(
            [sys.executable, "-m", "hmtl", command, "--help"], check=True, capture_output=True
        )
    headings = {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)", readme, re.M)
    }
    for path in re.findall(r"\]\(([^)h][^)]*)\)", readme):
        assert path[1:] in headings if path[0] == "#" else (ROOT / path).exists(), path


def real_gains():
    """What a puzzle adds on FER+ in points before rounding, with few labels and with all."""
    runs = recorded_runs()[0].query("data == 'ferplus' and start == 'scratch'")
    means = 100 * runs.groupby(["epochs", "method"])[["accuracy", "mean_recall"]].mean()
    plain, puzzle = (means.xs(way, level="method") for way in ("SL", "puzzling_2x2 (paired)"))
    return (puzzle - plain).loc[[6, 48]]


def test_readmes_numbers_are_the_records():
    """The sentences under "What came out", against the recorded tables."""
    readme = (ROOT / "README.md").read_text()
    assert len(readme) <= 9000
    assert len(readme.splitlines()) <= 150
    told = " ".join(readme.split())
    tables = reference_dir() / "tables"
    verdicts = read_table(tables / "verdicts.csv").set_index(["claim", "faces"])
    for claim in ("C4", "C2"):
        real = verdicts.loc[(claim, "ferplus")]
        assert f"{real['effect']} points of mean recall, **{real['verdict']}**" in told
        own = verdicts.loc[(claim, "faces")]
        assert f"**{own['effect']} points**" in told
        controls = f"{own['− second view']}, against twice the epochs {own['− twice the epochs']}."
        assert f"it is {controls} Claim {claim} is **{own['verdict']}**." in told
    own = verdicts.loc[("C7", "faces")]
    gain = f"**Gender, rendered faces:** {own['effect']} points of accuracy."
    assert f"{gain} Claim C7 is **{own['verdict']}**." in told
    told_undecided = told.partition("**Undecided:**")[2].partition("<picture>")[0]
    for claim in ("C3", "C5"):
        assert f"({claim})" in told_undecided
        assert set(verdicts.loc[claim, "verdict"]) == {"undecided"}
    for more in real_gains()["accuracy"]:
        assert f"accuracy is {abs(more):.1f} points {'higher' if more > 0 else 'lower'}" in told
    decided = read_table(tables / "decided.csv").query("data == 'ferplus'")
    few = decided.query("fraction == 0.05").set_index("method")["mean recall %"]
    recalls = few.str.split().str[0].astype(float)
    alone, puzzle = recalls["only_puzzling_2x2 (paired)"], recalls["puzzling_2x2 (paired)"]
    assert f"does as well: {alone:.1f} % mean recall, {puzzle:.1f} with it." in told
    assert alone >= puzzle


def test_readmes_counts_are_those_of_what_is_here():
    """Faces, networks and formats that README tells in words."""
    told = " ".join((ROOT / "README.md").read_text().split())
    runs = recorded_runs()[0].query("arch == 'tiny'")
    faces = runs.groupby(["data", runs["fraction"].eq(1)])["train_faces"].agg(["min", "max"])
    assert (faces["min"] == faces["max"]).all()
    few, many, few_real, many_real = map("{:,}".format, faces["min"])
    assert f"with {few} a puzzle adds" in told
    assert f"with {many} it adds" in told
    assert f"{few} and {many} labels of rendered faces, {few_real} and {many_real} of FER+" in told
    assert f"# {len(hmtl.load_pack('mini'))} rendered faces, shipped" in told
    ships, all_rows = len(shipped()), len(readme_networks().splitlines()) - 2
    words = {3: "three", 7: "seven"}
    assert f"The first {words[ships]} ship" in told
    assert f"The last {words[all_rows - ships]} are ready-made" in told
    card = (shipped()["ferplus-best"] / "README.md").read_text()
    copies = int(re.search(r"with (\d+) test pictures", card)[1])
    tested = read_table(reference_dir() / "tables" / "peers.csv")["faces"].max()
    assert f"Of FER+'s test faces {copies / tested:.0%} have a near copy".replace("%", " %") in told
    assert 21 <= len(READERS) <= 27
    assert "two dozen formats are read" in told


def test_the_report_tells_the_records_numbers():
    """What reproduction.md says beside its table."""
    text = (ROOT / "papers" / "hmtl" / "reproduction.md").read_text()
    assert len(text.splitlines()) <= 60
    told = " ".join(text.split())
    tables = reference_dir() / "tables"
    own = read_table(tables / "verdicts.csv").set_index(["claim", "faces"])
    view, longer = own["− second view"], own["− twice the epochs"]
    held = [f"{view[c, 'faces']}{{}}{longer[c, 'faces']}" for c in ("C2", "C4", "C7")]
    assert held[0].format(", and twice the epochs, ") in told
    assert f"C4, {held[1].format(' and ')}, and C7, {held[2].format(' and ')}." in told
    few = read_table(tables / "decided.csv").query("data == 'faces' and fraction < 1")
    few = few.set_index("method")["accuracy %"].str.split().str[0]
    alone, puzzle = few["only_puzzling_2x2 (paired)"], few["puzzling_2x2 (paired)"]
    assert f"faces they have {alone} %, the puzzle {puzzle}, and in-painting" in told
    painted = (
        read_table(tables / "tasks.csv").set_index("method").loc["inpainting_grid_pl (paired)"]
    )
    assert f"in-painting is at {painted['− SL']} (three seeds)." in told
    assert painted["seeds"] == 3
    few, many = real_gains().to_numpy()
    told_gain = f"accuracy gains {few[0]:.1f} points with few labels and {many[0]:.1f} with all"
    assert f"{told_gain}; mean recall gains {few[1]:.1f} and loses {-many[1]:.1f}." in told


def test_the_rules_power_in_prose_is_the_simulated_one():
    rule = read_table(reference_dir() / "tables" / "rule.csv").set_index(["faces", "seeds"])
    results = " ".join((ROOT / "papers" / "RESULTS.md").read_text().split())
    few, many = (rule.loc[("rendered faces", seeds), "+1.4 %"] for seeds in (5, 10))
    told = f"in {few:g} % of simulated studies with five seeds, in {many:g} % with ten"
    assert f"On rendered faces an effect of +1.4 points is decided {told}" in results


def test_the_plateaus_in_prose_are_the_records():
    """What RESULTS and PERFORMANCE say of twice the epochs, against the recorded tables."""
    tables = reference_dir() / "tables"
    gains = read_table(tables / "plateau.csv").query("fraction == 1")
    gains = gains.set_index(["data", "epochs"])["gain"]
    decided = read_table(tables / "decided.csv").query("fraction == 1 and epochs == 24")
    decided = decided.set_index("data").loc["ferplus"]
    pages = [" ".join((ROOT / "papers" / f"{p}.md").read_text().split())
             for p in ("RESULTS", "PERFORMANCE")]  # fmt: skip
    assert f"twice the epochs add {gains['faces', 96]:.1f} points to supervised" in pages[0]
    shorter, longer = (f"{gains['ferplus', epochs]:.1f}" for epochs in (24, 48))
    told = f"twice 24 epochs add {shorter} points of mean recall, and twice 48 add {longer} points"
    assert told in pages[0]
    best = f"{decided['accuracy %'].split()[0]} % of FER+'s test faces for {decided['CPU s/run']}"
    assert f"{best} core-seconds a run" in pages[1]
    cost = read_table(tables / "cost.csv")
    trials = cost["part"].str.startswith("trials")
    tried, made = (cost[w].groupby("data")["core-seconds"].sum() for w in (trials, ~trials))
    own, real = 100 * tried / made
    assert f"so far {own:.0f} % of that on rendered faces, {real:.0f} % on FER+" in pages[0]
    spent = cost.set_index("part")["core-seconds"]
    own = 100 * spent["trials of gender"] / spent["gender"]
    assert f", {own:.0f} % for gender." in pages[0]
    left = read_table(tables / "missing.csv").set_index("part")["core-hours"]
    took = f"gender's 24 runs took {spent['gender'] / 3600:.1f}, on a slower processor."
    assert f"Head pose takes {left['head-pose']:g} core-hours at the record's median" in pages[0]
    assert took in pages[0]


def test_what_results_say_of_gender_is_the_record():
    tables = reference_dir() / "tables"
    told = " ".join((ROOT / "papers" / "RESULTS.md").read_text().split())
    own = read_table(tables / "verdicts.csv").set_index(["claim", "faces"]).loc[("C7", "faces")]
    assert f"**Gender (C7): {own['verdict']} on rendered faces**" in told
    assert f"six seeds: {own['effect']} points of accuracy." in told
    held = f"{own['− second view']}, against twice the epochs {own['− twice the epochs']}."
    assert f"Against a second plain view it is {held}" in told
    scores = read_table(tables / "decided.csv").query("task == 'gender'").set_index("method")
    puzzle, plain = (
        scores.loc[way, "accuracy %"].split()[0] for way in ("puzzling_2x2 (paired)", "SL")
    )
    assert f"Accuracy is {puzzle} % with the puzzle and {plain} % with labels alone." in told
    more = read_table(tables / "plateau.csv").query("task == 'gender'").iloc[0]
    interval = f"[{more['low']:+.1f}, {more['high']:+.1f}]"
    said = (
        f"Twice {more['epochs']} epochs add {more['gain']:.1f} points to labels alone, {interval}"
    )
    assert said in told
    assert more["reached"]
    trials = read_table(tables / "trials.csv").query("task == 'gender' and chosen")
    best = trials.drop_duplicates("arm").set_index("arm")
    assert f"Trials chose the rate {best.loc['puzzle', 'lr']:g} and a gap of" in told
    assert f"a gap of {best.loc['puzzle', 'gap']} pixels for the puzzle" in told
    assert f"the rate {best.loc['SL', 'lr']:g} for labels alone" in told


def test_backbones_are_counted_as_the_page_says():
    table = read_table(reference_dir() / "tables" / "timm-backbones.csv")
    kinds = table["verdict"].str.extract("^(right|refused|not tried|wrong)")[0].value_counts()
    assert set(kinds.index) == {"right", "refused"}
    page = " ".join((ROOT / "papers" / "RUNNING.md").read_text().split())
    assert f"each of timm's {len(table)} modules" in page
    assert f"{kinds['right']} are right" in page
    assert f"{kinds['refused']} are refused" in page
    assert table["model"].str.endswith("depth=1").sum() == 2
    assert "two were tried with one block" in page


@pytest.mark.slow
def test_readmes_snippet_runs_as_printed():
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    code = f"{snippet}\nassert not any(m._forward_hooks for m in learn.model.modules())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_readme_tables_are_the_record():
    """Every table of README and of the page of results follows from outputs/reference/runs.csv."""
    runs, outcomes = recorded_runs()
    verdicts = verdict_table(runs, outcomes)
    linked = readme_verdicts(verdicts).replace("](notebooks/", "](../notebooks/")
    own = ("decided", "tasks", "missing", "cost", "rule")
    tables = {name: markdown(read_table(reference_dir() / f"tables/{name}.csv")) for name in own}
    for page, name, table in (
        ("papers/RESULTS.md", "verdicts", linked),
        *(("papers/RESULTS.md", name, tables[name]) for name in own[:-1]),
        ("papers/hmtl/protocol.md", "rule", tables["rule"]),
        ("README.md", "claims", readme_claims(verdicts)),
        ("papers/hmtl/reproduction.md", "claims", readme_claims(verdicts)),
        ("README.md", "networks", readme_networks()),
    ):
        text = (ROOT / page).read_text().split(f"<!-- {name} -->")[1]
        assert text.split(f"<!-- end of {name} -->")[0].strip() == table


@pytest.mark.parametrize(
    ("figure", "table"),
    [
        ("verdicts.png", "tables/verdicts.csv"),
        ("learning-curves.png", "curves.csv"),
        ("decided-light.png", "runs.csv"),
        ("decided-dark.png", "runs.csv"),
    ],
)
def test_readmes_figures_show_the_recorded_tables(figure, table):
    with Image.open(reference_dir() / "figures" / figure) as picture:
        source = picture.text["Source"]
    assert source.endswith(hash_file(reference_dir() / table))


def test_ci_calls_make_test():
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def _hooks():
    """The hooks of the pre-commit configuration by id, and the revisions of its repositories."""
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["id"]: hook for repo in repos for hook in repo["hooks"]}
    return hooks, {repo["repo"].rpartition("/")[2]: repo.get("rev") for repo in repos}


def test_a_commit_is_checked_by_the_ruff_that_ci_runs():
    hooks, revisions = _hooks()
    assert {"ruff-check", "ruff-format"} <= set(hooks)
    assert Version(revisions["ruff-pre-commit"]) == locked()["ruff"]


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        (72 * "s", False),
        (73 * "s", True),
        (72 * "s" + "\n\n" + 200 * "b", False),  # a body may have long lines
        (73 * "s" + "\n\nbody", True),
        ("short\n\nbody\n" + 90 * "b", False),
    ],
)
def test_a_subject_has_at_most_72_characters(message, refused):
    subject = _hooks()[0]["subject"]
    assert (subject["language"], subject["stages"]) == ("pygrep", ["commit-msg"])
    assert subject["args"] == ["--multiline"]  # the whole message at once: \A is its beginning
    pattern = re.compile(subject["entry"].encode(), re.MULTILINE | re.DOTALL)
    assert bool(pattern.search(message.encode())) == refused


def test_a_users_type_checker_reads_the_packages_types():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert (ROOT / "hmtl" / "py.typed").is_file()
    assert "py.typed" in settings["setuptools"]["package-data"]["hmtl"]


def test_mypy_leaves_out_no_module_but_the_shader():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    left_out = [rule["module"] for rule in settings["overrides"] if rule.get("ignore_errors")]
    assert left_out == ["hmtl.faces.shader"]  # its annotations are warp's
    assert (ROOT / "hmtl" / "faces" / "shader.py").is_file()


# -- imports ---


def imports_of(path):
    """The rooms and ground modules of hmtl that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hmtl"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {a.name for a in node.names}
    return found - {"__version__"}


def documented():
    """Room -> rooms it may import, in order, from ARCHITECTURE.md's table of seven rows."""
    rows = re.findall(
        r"^\| `([\w/]+)` \|[^|]*\| ([^|]*)\|$", (ROOT / "ARCHITECTURE.md").read_text(), re.M
    )
    return {name: set(re.findall(r"`(\w+)`", text)) for name, text in rows}


def test_imports_follow_the_architecture():
    table, ground, inside = documented(), ROOT / "hmtl", {}
    assert list(table) == ["ground", "faces", "data", "method", "runs", "study", "use"]
    for path in sorted(ground.rglob("*.py")):
        parts = path.relative_to(ground).parts
        room = parts[0] if len(parts) > 1 else "ground"
        if path.name in ("__main__.py", "__init__.py"):  # the top; names handed on
            continue
        assert room in table, f"{path}: no such room in ARCHITECTURE.md"
        used = {name if name in table else "ground" for name in imports_of(path)} - {room}
        assert used <= {"ground"} | table[room], f"{path} imports {used}, not in the table"
        inside.setdefault(room, set()).update(used)
    assert set(inside) == set(table), "a room without code"


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", sorted((ROOT / "benchmarks").glob("bench*.py")), ids=lambda p: p.stem
)
def test_benchmarks_still_start(script):
    done = run_python(script, "--help")
    assert done.returncode == 0, done.stderr


def test_importing_the_package_and_help_load_nothing_heavy():
    code = (
        "import sys, hmtl, hmtl.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'fastai', 'timm', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_found():
    for name in hmtl.__all__:
        assert getattr(hmtl, name) is not None


# -- notebooks ---


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_and_twin_agree(notebook):
    twin = notebook.with_suffix(".py")
    assert twin.exists(), f"no twin: jupytext --to py:percent {notebook.name}"
    wanted = jupytext.writes(
        jupytext.read(notebook), fmt="py:percent", config=load_jupytext_config(str(notebook))
    )
    diff = difflib.unified_diff(
        twin.read_text().splitlines(), wanted.splitlines(), twin.name, notebook.name, lineterm=""
    )
    text = "\n".join(diff)
    assert not text, f"out of step; edit the .py and run `make notebooks`\n{text}"


@pytest.mark.parametrize(
    ("changed", "lost"),
    [((), False), ((".py",), False), ((".ipynb",), True), ((".py", ".ipynb"), True)],
)
def test_an_edit_in_the_notebook_alone_is_not_overwritten(changed, lost, tmp_path):
    edited_alone = runpy.run_path(str(ROOT / "book" / "twins.py"))["edited_alone"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("a = 1")])
    committed = nbformat.writes(notebook)
    for suffix in (".py", ".ipynb"):
        notebook.cells[0].source = f"a = '{suffix}'" if suffix in changed else "a = 1"
        jupytext.write(
            notebook, tmp_path / f"x{suffix}", fmt="py:percent" if suffix == ".py" else None
        )
    assert edited_alone(tmp_path / "x.ipynb", committed) == lost


def test_every_twin_has_a_notebook():
    twins = sorted((ROOT / "notebooks").glob("*.py"))
    assert [t.stem for t in twins] == [n.stem for n in NOTEBOOKS]
    assert len(twins) >= 6


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_executed_and_clean(notebook):
    # the data sheet is the one that is made of pictures
    assert notebook.stat().st_size < (600_000 if notebook.stem == "01_faces" else 300_000)
    cells = [c for c in nbformat.read(notebook, 4).cells if c.cell_type == "code"]
    counts = [c.execution_count for c in cells]
    assert counts == list(range(1, len(cells) + 1)), "not run from top to bottom"
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")
            text = str(output)
            for debris in ("/home/", "/root/", "/work/", "/tmp/", "Warning", "<progress"):
                assert debris not in text, f"{debris} in an output of {notebook.stem}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_the_common_parameters(notebook):
    papermill = pytest.importorskip("papermill")
    known = papermill.inspect_notebook(str(notebook))
    assert list(known) == ["preset", "data", "root", "outputs", "seed"]
    assert all(p["help"] for p in known.values())
    assert known["preset"]["default"] == '""'  # empty: nbval cannot inject, $HMTL_PRESET can


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_parameter_without_an_effect_says_so(notebook):
    text = notebook.with_suffix(".py").read_text(encoding="utf-8")
    code = re.sub(r"^#.*\n", "", text, flags=re.M)
    asked = set(re.findall(r"\bhere\.(\w+)", code)) - {"save", "save_figure"}
    used = dict.fromkeys(("preset", "data", "root"), bool(asked))
    used["seed"] = bool(asked - {"load"}) or len(re.findall(r"\bseed\b", code)) > 2
    for name, effect in used.items():
        told = re.search(rf"^{name}: .*# (.*)$", code, re.M)[1]
        assert effect != ("no effect" in told), name


def test_cells_are_short():
    for notebook in NOTEBOOKS:
        for cell in nbformat.read(notebook, 4).cells:
            if cell.cell_type == "code":
                lines = [line for line in cell.source.splitlines() if line.strip()]
                assert len(lines) <= 25, f"{notebook.stem}: {lines[0]}"


# -- what a page must have ---


def sentences(markdown):
    """The sentences of a Markdown text as lists of words; titles, tables and formulas have none."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$|!\[.*?\]\(.*?\)", "", markdown, flags=re.S)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)  # of a link its words
    text = re.sub(r"`[^`]*`|\$[^$]*\$", "Code", text).replace("*", "")
    found = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-|]|\d+\.) )", text):
        if not block.startswith(("#", "|", "    ")):
            prose = " ".join(re.sub(r"^\s*(-|\d+\.)\s+", "", block).split())
            found += re.split(r"(?<=[.?!])\s+(?=[A-Z(+0-9])", prose)
    return [[word for word in sentence.split() if re.search(r"\w", word)] for sentence in found]


def prose_of(notebook):
    return [c.source for c in nbformat.read(notebook, 4).cells if c.cell_type == "markdown"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_page_answers_its_question_at_the_top_and_at_the_end(notebook):
    first, *_ = texts = prose_of(notebook)
    title = first.splitlines()[0]
    assert title.startswith("# ")
    assert title.endswith("?")
    assert title.count("?") == 1, "one question"
    answer = " ".join(re.search(r"\*\*(.*?)\*\*", first, re.S).group(1).split())
    answer = re.split(r"(?<=\.) (?=[A-Z])", answer)[0]
    assert re.search(r"\d", answer), "an answer has numbers"
    whole = "\n".join(texts)
    end = whole[whole.index("## What to take away") :]
    assert f"**{answer}" in " ".join(end.split()), f"not at the end: {answer}"
    assert re.search(r"\b(seconds?|minutes?|hours?)\b", first), "how long does it take?"
    question = title.removeprefix("# Start here: ").removeprefix("# ")
    row = f"| [{notebook.stem}](notebooks/{notebook.name}) | {question} |"
    assert row.lower() in (ROOT / "README.md").read_text().lower()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_page_is_in_short_sentences(notebook):
    for text in prose_of(notebook):
        for words in sentences(text):
            assert len(words) <= 25, f"{len(words)} words: {' '.join(words)}"


def test_long_sentences_are_found():
    long = " ".join(["word"] * 26)
    for text in (long + ".", f"- {long}", f"# Title\n\nShort. {long.capitalize()}.", f"**{long}**"):
        assert max(map(len, sentences(text))) == 26, text
    for text in (f"| {long} |", f"# {long}", f"```\n{long}\n```", "Word. " * 30):
        assert max(map(len, sentences(text)), default=0) <= 1, text


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_page_shows_a_captioned_figure_before_its_tables(notebook):
    code = [c for c in nbformat.read(notebook, 4).cells if c.cell_type == "code"]
    assert all(len(cell.source.splitlines()) <= 12 for cell in code[:2]), "setup is short"
    assert "versions(here)" in code[-1].source, "versions stand at the end"
    assert not any("versions(" in cell.source for cell in code[:-1])
    kinds, wide = [], 0
    for cell in code[:-1]:
        for output, after in zip(cell.outputs, [*cell.outputs[1:], None], strict=False):
            data = output.get("data", {})
            for kind in {"image/png", "image/jpeg"} & set(data):
                caption = output.metadata[kind]["alt"]
                below = after.data["text/markdown"].strip("*").replace("\\", "")
                assert caption == below, "a caption stands below its figure"
                kinds.append("figure")
            if "<table" in (table := data.get("text/html", "")):
                kinds.append("table")
                wide += table.partition("</tr>")[0].count("<th>") > 9
    assert kinds[:1] != ["table"], "a figure stands before the first table"
    assert wide <= 1, "at most one wide table"


# -- what is shipped ---


def test_no_photograph_of_a_person_is_committed():
    """Images in the repository are the project's own: rendered, drawn or plotted."""
    allowed = ("outputs/reference/figures/", "tests/fixtures/")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True
    ).stdout.splitlines()
    for name in listed:
        if Path(name).suffix.lower() in {".png", ".jpg", ".jpeg", ".zip", ".gif", ".bmp"}:
            assert name.startswith(allowed), name
