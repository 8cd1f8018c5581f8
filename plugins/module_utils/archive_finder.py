# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Imports from the archive in which Ansible sends a module, at half of what they take otherwise.

``zipimport`` compiles each file twice: first to tell its path, then to run it. Compiling is most of what a module costs
on a host, since the archive has no bytecode.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pkgutil import get_importer
from zipimport import ZipImportError, zipimporter

COLLECTION = "ansible_collections.llmops.ollama."


class ArchiveFinder:
    """A finder for ``sys.meta_path`` that knows the paths of the collection's files in an archive by their names."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Where a module is, or None for any that is not in an archive and of this collection."""
        if not name.startswith(COLLECTION):
            return None
        for folder in path or ():
            importer = get_importer(folder)
            if isinstance(importer, zipimporter):
                try:
                    end = "/__init__.py" if importer.is_package(name) else ".py"
                except ZipImportError:  # not in this one
                    continue
                return spec_from_file_location(name, f"{folder}/{name.rpartition('.')[2]}{end}", loader=importer)
        return None


def install() -> None:
    """Use it for all that is imported from now on."""
    if ArchiveFinder not in sys.meta_path:
        sys.meta_path.insert(0, ArchiveFinder)
