"""The book: notebooks as they are committed, papers and pages, as a site that reads offline.

`make book` builds it; no notebook is executed. The source folder is the checkout itself, so that
links between pages mean the same on the disk, in JupyterLab and here. A broken one fails the build
(-W), but for folders, and for notebooks that have a .py twin and were not executed yet: these stay
text. Formulas become MathML, which browsers draw without a script.
"""

import tomllib
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.addnodes import pending_xref

ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project, version, release = "hmtl", _PROJECT["version"], _PROJECT["version"]
copyright = "the hmtl developers, Apache-2.0"
extensions = ["myst_nb"]
root_doc = "book/index"
include_patterns = [
    "book/index.md", "*.md", "papers/*.md", "papers/*/*.md", "notebooks/*.ipynb",
]  # fmt: skip
exclude_patterns = [".*", "**/.*", "outputs", "build", "dist"]
nitpicky = True
suppress_warnings = ["myst.header"]  # what commands write begins at a level of its own

nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_update_mathjax = False
html_math_renderer = "mathml"

html_theme = "furo"
html_title = f"hmtl {version}"
html_static_path = ["static"]
html_css_files = ["book.css"]
templates_path = ["templates"]
html_additional_pages = {"index": "to-root.html"}  # the site opens at its own index.html too
html_copy_source = False
html_show_sphinx = False


def _inline(translator, node):
    translator.body.append(convert(node.astext()))


def _block(translator, node):
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div class="math-block">{formula}</div>')


def _write_math(write):
    """The two visitors of a formula: one writes it, and none goes into it."""

    def visit(translator, node):
        write(translator, node)
        raise SkipNode

    return visit, None


def _unlink(app, doctree):
    """Leave the text of links to folders, and to notebooks that are not executed yet."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    for link in list(doctree.findall(pending_xref)):
        target = (here / link["reftarget"].partition("#")[0]).resolve()
        waits = target.suffix == ".ipynb" and target.with_suffix(".py").is_file()
        if target.is_dir() or (waits and not target.is_file()):
            link.replace_self(link.children)


def setup(app):
    """Register what the settings above name."""
    app.add_html_math_renderer("mathml", _write_math(_inline), _write_math(_block))
    app.connect("doctree-read", _unlink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
