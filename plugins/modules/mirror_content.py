#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/mirror``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mirror_content
short_description: Fill a directory with releases and models for a fleet
version_added: 0.1.0
description:
  - Has releases of Ollama and models from registries in one directory. A web server serves them from there as a mirror
    of releases and as a registry (the role C(mirror) of this collection), and it can be carried to a site without
    internet.
  - Every byte is checked against its sha256 before a file gets its name. What models share is loaded once. A release or
    model gets its index (C(sha256sum.txt) or manifest) last, so that nothing is offered that is not complete.
  - A download that breaks, or a run that is interrupted, goes on where it was.
  - The directory has C(releases/v<version>/), C(models/) (a model store as Ollama itself has it), C(models.lock.yml)
    with the digests of all its models, and C(SHA256SUMS), a list of all files that C(sha256sum --check) reads.
author:
  - llmops.ollama contributors (@llmops)
options:
  path:
    description:
      - The directory. It is made where it is missing; everybody on the host may read what is in it.
    type: path
    required: true
  releases_path:
    description:
      - Where the releases are, if not in C(releases) of O(path).
    type: path
  models_path:
    description:
      - Where the models are, if not in C(models) of O(path). It may be the store of an Ollama server.
    type: path
  releases:
    description:
      - Releases of Ollama to have, for example V([0.34.0]).
    type: list
    elements: str
    default: []
  architectures:
    description:
      - For which processors, by the names that releases use.
    type: list
    elements: str
    choices: [amd64, arm64]
    default: [amd64, arm64]
  variants:
    description:
      - Extra archives of each release, for example V(rocm) or V(jetpack6), for the architectures that have them.
    type: list
    elements: str
    default: []
  models:
    description:
      - Models to have, as names or as definitions with C(name), C(from), C(candidates), ... (see
        M(llmops.ollama.model)). Of a definition everything is mirrored that it may take from a registry, thus all of
        its candidates; GGUF files are not.
    type: list
    elements: raw
    default: []
  release_url:
    description:
      - Where releases come from. Files are C(<release_url>/v<version>/<archive>), with C(sha256sum.txt) beside them.
    type: str
    default: https://github.com/ollama/ollama/releases/download
  registry:
    description:
      - The registry that models come from. A model whose name carries another registry comes from there.
    type: str
    default: https://registry.ollama.ai
  source:
    description:
      - A bundle to take everything from instead, without any network. It is the directory that this module made on
        another host, or an uncompressed C(.tar) file of it, which is read where it is.
      - A file whose sha256 is not the one in the bundle's list is refused.
    type: path
  state:
    description:
      - V(present) has each release and model, and asks nobody about one that is complete.
      - V(latest) has each as its origin offers it now.
    type: str
    choices: [present, latest]
    default: present
  verify:
    description:
      - Read all that is there and wanted, and load again what is damaged.
    type: bool
    default: false
  exclusive:
    description:
      - Remove releases and models that are not listed, and files that belong to none. In the store of a server these
        are its own models, too.
    type: bool
    default: false
  lock:
    description:
      - The content of a C(models.lock.yml). A model that it pins is taken with that digest only.
    type: dict
    default: {}
  archive:
    description:
      - A C(.tar) file to have of the whole directory, beside it. It is written anew when the directory changed.
    type: path
  timeout:
    description:
      - Seconds to wait for the next byte of a download.
    type: float
    default: 30.0
  retries:
    description:
      - How often a broken download is taken up again, after the first attempt, with growing pauses.
    type: int
    default: 5
notes:
  - O(username), O(password) and O(ca_path) are for O(release_url) and O(registry), unless these are the official ones.
requirements:
  - requests (Debian and Ubuntu package python3-requests)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - llmops.ollama.access
attributes:
  check_mode:
    description: Predicts. The origin is asked for indexes and sizes; nothing is loaded.
    support: full
  diff_mode:
    description: Lists the files that come, go, or are replaced.
    support: full
  platform:
    description: Linux.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: Have a release and two models for the fleet
  llmops.ollama.mirror_content:
    path: /srv/ollama-mirror
    releases: [0.34.0]
    architectures: [amd64]
    models:
      - gemma3:270m
      - name: assistant
        candidates: [gpt-oss:20b, gemma3:4b]

- name: Fill a mirror from a bundle, on a site without internet
  llmops.ollama.mirror_content:
    path: /srv/ollama-mirror
    source: /media/usb/ollama-bundle.tar
    releases: [0.34.0]
    models: [gemma3:270m]

- name: Read everything again after a disk failed
  llmops.ollama.mirror_content:
    path: /srv/ollama-mirror
    models: [gemma3:270m]
    verify: true
"""

RETURN = r"""
files:
  description: Files that came, or in check mode would come, by their path below O(path), in that order.
  returned: always
  type: list
  elements: str
  sample: [releases/v0.34.0/ollama-linux-amd64.tar.zst, releases/v0.34.0/sha256sum.txt]
damaged:
  description: Files that were there but not as they must be. They are thrown away before anything is loaded.
  returned: always
  type: list
  elements: str
removed:
  description: Files that were removed because of O(exclusive).
  returned: success
  type: list
  elements: str
bytes:
  description: Bytes that this run loaded.
  returned: always
  type: int
lock:
  description: The digests of all complete models in the directory, as the content of a C(models.lock.yml).
  returned: success
  type: dict
  sample:
    format: 1
    models:
      gemma3:270m:
        digest: 3c2c33f0e5dd4a50a37b0b0a59b21dbd0b7f4f3b8b3c2f6e9a1d5e7f90123456
        weights: 8f6e7c1a2b3d4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8091a2b3c4d5e6
        size: 253136896
        quantization: Q4_K_M
lock_text:
  description: The same as the text of a C(models.lock.yml).
  returned: success
  type: str
"""

from pathlib import Path
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import ACCESS_OPTIONS, Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils import model_lock
from ansible_collections.llmops.ollama.plugins.module_utils.access import access_to
from ansible_collections.llmops.ollama.plugins.module_utils.download import Downloader
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.fill import fill
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.layout import Layout
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.origin import Bundle, Origin, Upstream
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.plan import Wanted
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report, reporter
from ansible_collections.llmops.ollama.plugins.module_utils.registry import DEFAULT_URL, Registry
from ansible_collections.llmops.ollama.plugins.module_utils.release import (
    RELEASES_URL,
    distinct_variants,
    version_number,
)
from ansible_collections.llmops.ollama.plugins.module_utils.words import http_url

ARGUMENT_SPEC: dict[str, Any] = {
    **ACCESS_OPTIONS,
    "path": {"type": "path", "required": True},
    "releases_path": {"type": "path"},
    "models_path": {"type": "path"},
    "releases": {"type": "list", "elements": "str", "default": []},
    "architectures": {
        "type": "list",
        "elements": "str",
        "choices": ["amd64", "arm64"],
        "default": ["amd64", "arm64"],
    },
    "variants": {"type": "list", "elements": "str", "default": []},
    "models": {"type": "list", "elements": "raw", "default": []},
    "release_url": {"type": "str", "default": RELEASES_URL},
    "registry": {"type": "str", "default": DEFAULT_URL},
    "source": {"type": "path"},
    "state": {"type": "str", "choices": ["present", "latest"], "default": "present"},
    "verify": {"type": "bool", "default": False},
    "exclusive": {"type": "bool", "default": False},
    "lock": {"type": "dict", "default": {}},
    "archive": {"type": "path"},
    "timeout": {"type": "float", "default": 30.0},
    "retries": {"type": "int", "default": 5},
}


def execute(module: AnsibleModule) -> Result:
    """Fill the directory as the options say."""
    given = module.params
    report = reporter(given["progress_file"])
    root = Path(given["path"]).absolute()
    layout = Layout(
        root, folder(given["releases_path"], root / "releases"), folder(given["models_path"], root / "models")
    )
    archive = folder(given["archive"], None)
    if archive and (not layout.in_one_place or root in archive.parents):
        raise InvalidInput(
            f"archive is {archive}, but it must be outside {root}, and releases and models inside.",
            "Leave out releases_path and models_path, and put the archive beside the directory.",
        )
    outcome = fill(layout, origin(given, root, report), wanted(given), report, archive, module.check_mode)
    for name in outcome.damaged:
        module.warn(f"{name} was not as it must be (missing bytes, or another sha256).")
    return {
        "changed": outcome.changed,
        "files": outcome.files,
        "damaged": outcome.damaged,
        "removed": outcome.removed,
        "bytes": outcome.bytes,
        "lock": model_lock.to_data(outcome.lock),
        "lock_text": model_lock.to_text(outcome.lock),
        "diff": outcome.diff(str(root)),
    }


def folder(given: str | None, otherwise: Any) -> Any:
    """A path that the user gave, or what stands in for it."""
    return Path(given).absolute() if given else otherwise


def wanted(given: dict[str, Any]) -> Wanted:
    """What the directory shall have. Raises ``InvalidInput``."""
    entries = [Definition.parse(entry, f"models[{index}]") for index, entry in enumerate(given["models"])]
    models = {base.key: base for entry in entries for base in entry.bases}
    return Wanted(
        releases=tuple(dict.fromkeys(map(version_number, given["releases"]))),
        architectures=tuple(dict.fromkeys(given["architectures"])),
        variants=distinct_variants(given["variants"]),
        models=tuple(models.values()),
        pins=model_lock.parse(given["lock"]),
        renew=given["state"] == "latest",
        verify=given["verify"],
        exclusive=given["exclusive"],
    )


def origin(given: dict[str, Any], root: Path, report: Report) -> Origin:
    """Where everything comes from. Raises ``InvalidInput``."""
    if given["source"]:
        source = Path(given["source"]).absolute()
        if source == root or not source.exists():
            reason = "is the directory that is to be filled" if source == root else "does not exist on this host"
            raise InvalidInput(f"source is {source}, which {reason}.", "Give the path of a bundle.", key="source")
        return Bundle(source)
    login = (given["username"], given["password"], given["ca_path"])
    limits = (given["timeout"], given["retries"], report)
    releases, registry = http_url("release_url", given["release_url"]), http_url("registry", given["registry"])
    to_releases = access_to(releases, RELEASES_URL, *login)
    to_registry = access_to(registry, DEFAULT_URL, *login)
    return Upstream(
        releases,
        registry,
        Downloader(*limits, access=to_releases, option="release_url"),
        Downloader(*limits, access=to_registry, option="registry"),
        Registry(*limits, access=to_registry),
    )


def main() -> None:
    """The module's entry point."""
    run(execute, ARGUMENT_SPEC, requires=("requests",))


if __name__ == "__main__":
    main()
