"""The book: notebooks as they are committed, papers and pages, as a site that reads offline.

`make book` builds it; no notebook is executed. The source folder is the checkout itself, so that
links between pages mean the same on the disk, in JupyterLab and here. A broken one fails the build
(-W), but for folders, and for notebooks that have a .py twin and were not executed yet: these stay
text. Formulas become MathML, which browsers draw without a script.
"""

import hashlib
import json
import re
import tomllib
from binascii import a2b_base64
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docutils import nodes
from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.addnodes import pending_xref
from sphinx.errors import ExtensionError

ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project, version, release = "hmtl", _PROJECT["version"], _PROJECT["version"]
copyright = "the hmtl developers, Apache-2.0"
extensions = ["myst_nb"]
root_doc = "book/index"
include_patterns = [
    "book/index.md", "*.md", "benchmarks/*.md", "papers/*.md", "papers/*/*.md", "notebooks/*.ipynb",
]  # fmt: skip
exclude_patterns = [".*", "**/.*", "outputs", "build", "dist"]
nitpicky = True
suppress_warnings = ["myst.header"]  # what commands write begins at a level of its own

nb_execution_mode = "off"
# the sliders need Python: their place says so in words, and no script is fetched for them
nb_mime_priority_overrides = [("*", "application/vnd.jupyter.widget-view+json", None)]
nb_ipywidgets_js: dict = {}
myst_enable_extensions = ["attrs_inline", "dollarmath"]
myst_heading_anchors = 3
myst_update_mathjax = False
html_math_renderer = "mathml"

html_theme = "furo"
html_title = f"hmtl {version}"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
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


def _one_picture(app, docname, source):
    """Markdown for what GitHub shows by day or by night: files of raw HTML are not copied."""
    shown = r'<picture>.*?srcset="([^"]+)">\s*<img src="([^"]+)" alt="([^"]+)">\s*</picture>'
    both = r"![\3](\2){.only-light} ![\3](\1){.only-dark}"
    source[0] = re.sub(shown, both, source[0], flags=re.S)


def _describe(app, doctree):
    """Make a notebook's pictures figures: the alt text that their output keeps is their caption.

    The line of text that says the same below the picture goes.
    """
    source = Path(app.env.doc2path(app.env.docname))
    if source.suffix != ".ipynb":
        return
    words = {}
    for cell in json.loads(source.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", ()):
            for kind, said in output.get("metadata", {}).items():
                if kind.startswith("image/") and said.get("alt"):
                    picture = a2b_base64("".join(output["data"][kind]))
                    words[hashlib.sha256(picture).hexdigest()] = said["alt"]
    for image in list(doctree.findall(nodes.image)):
        if said := words.get(Path(image["uri"]).stem):
            image["alt"] = said
            caption = nodes.caption(said, "", nodes.Text(said))
            place = f"figure-{Path(image['uri']).stem[:12]}"
            image.replace_self(nodes.figure("", image.deepcopy(), caption, ids=[place]))
    for line in list(doctree.findall(nodes.paragraph)):
        if line.astext() in words.values():
            line.parent.remove(line)


class _Links(HTMLParser):
    """What a page asks for when it is opened, and where its links lead."""

    def __init__(self, text):
        super().__init__()
        self.asked, self.links, self.places = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        own = dict(attributes)
        self.places |= {own[name] for name in ("id", "name") if own.get(name)}
        if tag == "a" and own.get("href"):
            self.links.append(own["href"])
        elif tag in ("script", "img", "iframe", "source") and own.get("src"):
            self.asked.append(own["src"])
        elif tag == "link" and own.get("rel") == "stylesheet":
            self.asked.append(own["href"])


def _check_links(app, error):
    """Fail a build whose pages ask a server for something, or link to what is not there."""
    if error or app.builder.name != "html":
        return
    files = Path(app.outdir).rglob("*.html")
    pages = {page.resolve(): _Links(page.read_text(encoding="utf-8")) for page in files}
    for page, found in pages.items():
        for address in [*found.asked, *found.links]:
            url = urlsplit(address)
            if url.scheme or url.netloc:
                if address in found.asked and url.scheme != "data":
                    raise ExtensionError(f"{page.name} asks a server for {address}")
                continue
            if not url.path:  # within the page, where Sphinx has warned of what is lost
                continue
            target = (page.parent / unquote(url.path)).resolve()
            lost = url.fragment and target in pages and url.fragment not in pages[target].places
            if not target.exists() or lost:
                raise ExtensionError(f"{page.name}: the link {address} leads nowhere")


def setup(app):
    """Register what the settings above name."""
    app.add_html_math_renderer("mathml", _write_math(_inline), _write_math(_block))
    app.connect("source-read", _one_picture)
    app.connect("doctree-read", _unlink)
    app.connect("doctree-read", _describe)
    app.connect("build-finished", _check_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
