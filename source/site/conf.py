"""Sphinx's settings for the site; `make site` copies this file beside the pages."""

import tomllib
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from latex2mathml.converter import convert
from sphinx.application import Sphinx

HERE = Path(__file__).parent
REPOSITORY = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["urls"]["Repository"]

project = "MLOps, cell by cell"
author = copyright = "The MLOps, cell by cell developers; text CC BY 4.0, code MIT"
html_title = project
extensions = ["myst_nb"]
exclude_patterns = ["_static", "**.ipynb_checkpoints"]
nb_execution_mode = "off"  # the pages show the outputs that the tests have compared
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]
pygments_style = "a11y-high-contrast-light"

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = ["mermaid.min.js", "course.js"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "repository_url": REPOSITORY,
    "repository_branch": "main",
    "path_to_docs": "",
    "use_repository_button": True,
    "use_download_button": False,
    "show_toc_level": 2,
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "notebook_interface": "jupyterlab",
    },
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


class Mermaid(Directive):
    """A diagram, drawn by the script mermaid.min.js in the reader's browser."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The diagram's text, where the script looks for it."""
        text = nodes.Text("\n".join(self.content)).astext()
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        html = f'<pre class="mermaid" role="img" aria-label="Diagram">{escaped}</pre>'
        return [nodes.raw("", html, format="html")]


def _inline(translator: nodes.NodeVisitor, node: nodes.math) -> None:
    translator.body.append(f'<span class="inline-math">{convert(node.astext())}</span>')
    raise nodes.SkipNode


def _block(translator: nodes.NodeVisitor, node: nodes.math_block) -> None:
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div class="math" tabindex="0">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Math as MathML, which browsers draw themselves, and Mermaid's diagrams."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.add_directive("mermaid", Mermaid)
