#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/release.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Install one release of Ollama beside others
version_added: 0.1.0
description:
  - Downloads a release of Ollama, verifies its sha256, and unpacks it into a directory of its own
    (C(<root>/<version>/{bin,lib})), which appears only when it is complete.
  - A release that is already there needs no network. The service is not touched, so switching to the new version (a
    link C(<root>/current)) and back is a matter of one link; M(llmops.ollama.service_files) does that.
  - Takes the archive that the release's C(sha256sum.txt) lists for this architecture, C(.tar.zst) before C(.tgz).
author:
  - llmops.ollama contributors (@llmops)
options:
  version:
    description:
      - The release to install, for example V(0.34.0). A leading C(v) is accepted.
    type: str
    required: true
  base_url:
    description:
      - Where releases lie. Files are C(<base_url>/v<version>/<archive>) and C(<base_url>/v<version>/sha256sum.txt).
    type: str
    default: https://github.com/ollama/ollama/releases/download
  sha256:
    description:
      - What the main archive must hash to. It is used instead of the value in C(sha256sum.txt).
      - Without it the archive is verified against C(sha256sum.txt).
    type: str
  root:
    description:
      - Directory that holds the releases, one directory for each version.
    type: path
    default: /opt/ollama
  variants:
    description:
      - Extra archives of the same release to unpack into it, for example V(rocm) or V(jetpack6).
    type: list
    elements: str
    default: []
  keep:
    description:
      - How many other installed releases stay, newest first. The one that C(<root>/current) leads to is counted first
        and never removed.
    type: int
    default: 2
  timeout:
    description:
      - Seconds to wait for the next byte of a download.
    type: float
    default: 30.0
  retries:
    description:
      - How often a broken download is taken up again, after the first attempt.
    type: int
    default: 3
requirements:
  - requests (Debian and Ubuntu package python3-requests)
  - GNU tar, and zstd for releases in that format
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - llmops.ollama.access
attributes:
  check_mode:
    description: Predicts. The mirror is asked for C(sha256sum.txt), so a version that does not exist is found.
    support: full
  diff_mode:
    description: Shows the installed releases before and after.
    support: full
  platform:
    description: Linux on x86_64 and aarch64.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: Install Ollama
  llmops.ollama.release:
    version: 0.34.0

- name: Install Ollama for AMD GPUs from a mirror
  llmops.ollama.release:
    version: 0.34.0
    base_url: https://mirror.example.com/ollama
    variants: [rocm]
    username: fleet
    password: "{{ vaulted_password }}"
    ca_path: /etc/ssl/certs/site-ca.pem
"""

RETURN = r"""
path:
  description: Directory of the release.
  returned: success
  type: str
  sample: /opt/ollama/0.34.0
version:
  description: The release's version, without a leading C(v).
  returned: success
  type: str
  sample: 0.34.0
sha256:
  description: What the main archive hashes to.
  returned: success
  type: str
bytes:
  description: Number of bytes that this run downloaded.
  returned: success
  type: int
removed:
  description: Versions that were removed, oldest first.
  returned: success
  type: list
  elements: str
"""

import platform
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import ACCESS_OPTIONS, Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils.access import access_to
from ansible_collections.llmops.ollama.plugins.module_utils.download import Downloader
from ansible_collections.llmops.ollama.plugins.module_utils.progress import reporter
from ansible_collections.llmops.ollama.plugins.module_utils.release import (
    RELEASES_URL,
    Installation,
    release,
    version_key,
)

ARGUMENT_SPEC: dict[str, Any] = {
    **ACCESS_OPTIONS,
    "version": {"type": "str", "required": True},
    "base_url": {"type": "str", "default": RELEASES_URL},
    "sha256": {"type": "str"},
    "root": {"type": "path", "default": "/opt/ollama"},
    "variants": {"type": "list", "elements": "str", "default": []},
    "keep": {"type": "int", "default": 2},
    "timeout": {"type": "float", "default": 30.0},
    "retries": {"type": "int", "default": 3},
}


def execute(module: AnsibleModule) -> Result:
    """Install the release that the options name."""
    given = module.params
    wanted = release(given["version"], given["base_url"], platform.machine(), given["variants"], given["sha256"])
    installation = Installation(given["root"])
    before = installation.installed()
    report = reporter(given["progress_file"])
    access = access_to(wanted.base_url, RELEASES_URL, given["username"], given["password"], given["ca_path"])
    source = Downloader(given["timeout"], given["retries"], report, access=access)
    outcome = installation.install(wanted, source, given["keep"], report, check=module.check_mode)
    after = sorted({*before, wanted.version} - {*outcome.removed}, key=version_key)
    return {
        "changed": outcome.installed or bool(outcome.removed),
        "path": outcome.path,
        "version": wanted.version,
        "sha256": outcome.sha256,
        "bytes": outcome.bytes,
        "removed": list(outcome.removed),
        "diff": {
            "before": "".join(f"{version}\n" for version in sorted(before, key=version_key)),
            "after": "".join(f"{version}\n" for version in after),
            "before_header": f"releases in {installation.root}",
            "after_header": f"releases in {installation.root}",
        },
    }


def main() -> None:
    """The module's entry point."""
    run(execute, ARGUMENT_SPEC, requires=("requests",))


if __name__ == "__main__":
    main()
