"""Every file is written beside its place and takes it in one step, so no link is ever followed."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "hmtl"
ROOMS = {  # what opens a new place, and what is made in memory
    "new_file",
    "whole_folder",
    "one_folder",
    "TemporaryDirectory",
    "BytesIO",
}
METHODS = {
    "write_text", "write_bytes", "savefig", "to_csv", "to_parquet", "to_json", "to_pickle", "save",
    "savez", "savez_compressed", "savemat", "savetxt", "tofile", "save_file", "save_model", "copy",
    "copyfile", "copy2", "copytree", "move", "SummaryWriter", "VideoWriter", "imwrite", "dump",
    "symlink", "symlink_to", "hardlink_to", "open", "mkstemp", "memmap",
}  # fmt: skip
NOT_FILES = {"files.write_text", "self.save", "Image.open", "os.open"}  # follow or write none
WRITES_INTO = {"write_handed", "write_outcomes"}  # public, into a folder that is always new
KNOWN = {
    "files.py": ["write_text", "_sync"],  # these write the new place
    "runs/tracking.py": ["_tensorboard"],  # a tracker's own logs, in a folder that is no link
    "data/pack.py": ["put", "_make_images", "_finish"],  # O_NOFOLLOW; "x" refuses a link
    "runs/unfinished.py": ["write_state"],  # into memory
    "study/plots.py": ["in_few_colours"],  # the same
}


def name_of(node):
    """The last two words of what is called: "np.save"."""
    if isinstance(node, ast.Attribute):
        return f"{getattr(node.value, 'id', getattr(node.value, 'attr', ''))}.{node.attr}"
    return getattr(node, "id", "")


def mode_of(call):
    """The mode of an `open`, "r" if none is said."""
    method = isinstance(call.func, ast.Attribute) and name_of(call.func) not in ("io.open",)
    places = call.args[0 if method else 1 :][:1]
    given = [k.value for k in call.keywords if k.arg == "mode"] + places
    return given[0].value if given and isinstance(given[0], ast.Constant) else "r"


def writes(call):
    """Whether a call may write a file, by its name."""
    name = name_of(call.func)
    method = name.rpartition(".")[2]
    if method not in METHODS or name in NOT_FILES:
        return False
    if method == "open":
        return bool(set(mode_of(call)) & set("wax+"))
    if method == "copy":  # of a file, not of a table
        return name.startswith("shutil.")
    if method in ("to_csv", "to_json"):  # without a place it makes text
        return bool(call.args) and not isinstance(call.args[0], ast.Constant)
    return name != "write_text"  # of hmtl.files


class Finder(ast.NodeVisitor):
    """Writers outside a new place, and the functions that are called outside one."""

    def __init__(self, tree, file):
        self.file, self.function, self.inside = file, "", 0
        self.writers, self.called = [], []
        self.visit(tree)

    def visit_FunctionDef(self, node):
        before = self.function, self.inside
        self.function, self.inside = node.name, 0
        self.generic_visit(node)
        self.function, self.inside = before

    def visit_With(self, node):
        new = any(
            isinstance(part, ast.Call) and name_of(part.func).rpartition(".")[2] in ROOMS
            for item in node.items
            for part in ast.walk(item.context_expr)
        )
        self.inside += new
        self.generic_visit(node)
        self.inside -= new

    def visit_Call(self, node):
        if not self.inside:
            self.called.append((name_of(node.func).rpartition(".")[2], self.function))
            if writes(node):
                self.writers.append(self.function)
        self.generic_visit(node)


def outside(sources):
    """(file, function) of every writer that may write in a place that is not new.

    A function is safe whose every call stands in a new place, or in a function that is safe.
    """
    finders = [Finder(ast.parse(text), file) for file, text in sources.items()]
    called = [pair for finder in finders for pair in finder.called]
    callers = {name: {where for n, where in called if n == name} for name, _ in called}
    writers = {(finder.file, function) for finder in finders for function in finder.writers}
    private = {name for _, name in writers if name.startswith("_") or name in WRITES_INTO}
    safe = {name for name in private if not callers.get(name)}
    while more := {n for n in private - safe if callers[n] <= safe}:
        safe |= more
    known = {(file, function) for file, function in writers if function in KNOWN.get(file, ())}
    return sorted(w for w in writers - known if w[1] not in safe)


@pytest.mark.slow
def test_every_writer_of_the_package_writes_in_a_new_place():
    sources = {f.relative_to(PACKAGE).as_posix(): f.read_text() for f in PACKAGE.rglob("*.py")}
    assert outside(sources) == []
    assert all(outside({file: sources[file]}) == [] for file in KNOWN), "they are still there"


IN_PLACE = "def save(path):\n    {}\n"


@pytest.mark.parametrize(
    "line",
    [
        "path.write_text('')", "np.save(path, a)", "table.to_csv(path)", "open(path, 'w')",
        "path.open('ab')", "figure.savefig(path)", "save_file(tensors, path)", "io.open(path, 'x')",
        "scipy.io.savemat(path, a)", "shutil.copy(a, path)", "path.symlink_to(a)", "_two(path)",
        "torch.save(a, path)", "picture.save(path)", "open(path, mode='r+')", "json.dump(a, file)",
    ],
)  # fmt: skip
def test_the_search_finds_a_writer(line):
    two = "def _two(path):\n    path.write_bytes(b'')\n"
    sources = {"a.py": IN_PLACE.format(line), "b.py": two}
    safe = f"def save(path):\n    with new_file(path) as path:\n        {line}\n"
    assert outside(sources)
    assert outside({"a.py": safe, "b.py": two}) == []


@pytest.mark.parametrize(
    "line",
    ["path.read_text()", "open(path)", "table.to_csv(index=False)", "files.write_text(path, '')",
     "Image.open(path)", "path.open('rb')", "table.copy()", "text = json.dumps(a)"],
)  # fmt: skip
def test_what_only_reads_is_no_writer(line):
    assert outside({"a.py": IN_PLACE.format(line)}) == []


def without_encoding(text):
    """Lines that read or write text as this machine has it: on Windows that is not UTF-8."""
    for call in ast.walk(ast.parse(text)):
        name = name_of(call.func) if isinstance(call, ast.Call) else ""
        method = name.rpartition(".")[2]
        if method not in ("read_text", "write_text", "open") or name in ("write_text", *NOT_FILES):
            continue
        mode, given = mode_of(call), {k.arg for k in call.keywords}
        binary = "b" in mode or (name != "open" and mode == "r" and "newline" not in given)
        said = "encoding" in given or (method == "read_text" and call.args)
        if not said and not (method == "open" and binary):
            yield call.lineno


def test_text_has_its_encoding():
    folders = ("hmtl", "book", "benchmarks", "notebooks", "tests/helpers")
    files = [file for name in folders for file in (PACKAGE.parent / name).rglob("*.py")]
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    assert len(texts) > 150
    assert {file: lines for file in texts if (lines := [*without_encoding(texts[file])])} == {}
    for line in ("path.read_text()", "path.write_text(a)", "open(path)", "path.open('w')"):
        assert [*without_encoding(line)] == [1]
