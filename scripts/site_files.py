"""Gives the documentation site the files of the repository: a hook that MkDocs calls.

MkDocs takes pages from `docs` alone. The home page is README.md, and pages link to files beside
`docs`, such as the examples. Here each file gets the path that it has in the repository. So a
relative link means the same on the site as on a code host, and MkDocs checks all of them.
"""

from __future__ import annotations

import pathlib

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PATTERNS = ("*.md", "docs/**/*", "examples/**/*")
LEFT_OUT = {"AGENTS.md"}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Replace the files of `docs` by those of the repository.

    Args:
        files: What MkDocs found in `docs`, and the theme's files.
        config: The configuration, which says where the repository and the site are.

    Returns:
        The theme's files, and the repository's under their own paths.
    """
    root = pathlib.Path(config.config_file_path).parent
    theme_files = [file for file in files if file.src_dir != config.docs_dir]
    return Files([*theme_files, *(_file(name, root, config) for name in _names(root))])


def _names(root: pathlib.Path) -> list[str]:
    """The paths of the site's files, relative to the repository, with `/` in them."""
    paths = (path for pattern in PATTERNS for path in root.glob(pattern) if path.is_file())
    return sorted({path.relative_to(root).as_posix() for path in paths} - LEFT_OUT)


def _file(name: str, root: pathlib.Path, config: MkDocsConfig) -> File:
    return File(name, str(root), config.site_dir, config.use_directory_urls)
