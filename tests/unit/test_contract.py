# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is documented is what is there: roles' defaults, modules' options, playbooks' variables."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.llmops.ollama.plugins.module_utils import entry
from ansible_collections.llmops.ollama.plugins.module_utils.policy import DEFAULT_POLICY, RANGES

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
PACKAGE = "ansible_collections.llmops.ollama.plugins.modules"
ACTION_ONLY = {"report", "summary"}  # run on the controller; their files under modules/ hold the documentation
MODULES = sorted({path.stem for path in (ROOT / "plugins/modules").glob("*.py")} - {"__init__"} - ACTION_ONLY)


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


@pytest.mark.parametrize("role", ROLES)
def test_role_defaults_equal_the_argument_specs(role: str) -> None:
    specs = read_yaml(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    defaults = read_yaml(ROOT / "roles" / role / "defaults/main.yml")
    documented: dict[str, Any] = {}
    for entry_point in specs.values():
        for name, option in entry_point["options"].items():
            documented.setdefault(name, option)
            assert documented[name].get("default") == option.get("default"), f"{name} has two documented defaults"
    assert {name: option.get("default") for name, option in documented.items()} == defaults


@pytest.mark.parametrize("role", ROLES)
def test_role_uses_only_variables_that_it_declares(role: str) -> None:
    declared = set(read_yaml(ROOT / "roles" / role / "defaults/main.yml"))
    used: set[str] = set()
    for folder in ("tasks", "templates", "handlers", "vars"):
        for path in (ROOT / "roles" / role / folder).glob("*"):
            text = path.read_text(encoding="utf-8")
            used |= set(re.findall(rf"(?<![\w.]){role}_[a-z0-9_]+\b", text))
            used -= set(re.findall(r"register: (\w+)", text))
    facts = {"ollama_tuning"} if role == "ollama" else set()
    assert used - facts - declared - {"ollama_models_result", "ollama_health_result", "mirror_content_result"} == set()
    assert declared - used == set(), "declared but never used"


class Captured(Exception):  # control flow, not an error
    """Carries the argument spec out of a module's ``main`` before anything runs."""


def argument_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    def capture(**options: Any) -> None:
        raise Captured(options["argument_spec"])

    monkeypatch.setattr(entry, "AnsibleModule", capture)
    with pytest.raises(Captured) as captured:
        importlib.import_module(f"{PACKAGE}.{name}").main()
    spec: dict[str, Any] = dict(captured.value.args[0])
    assert spec.pop("progress_file") == {"type": "path"}
    return spec


@pytest.fixture(scope="module")
def documentation() -> dict[str, Any]:
    names = [f"llmops.ollama.{name}" for name in MODULES + sorted(ACTION_ONLY)]
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--json", "--type", "module", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # our own command
    return {name.split(".")[-1]: doc for name, doc in json.loads(done.stdout).items()}


def assert_same_options(documented: dict[str, Any], spec: dict[str, Any], where: str) -> None:
    assert set(documented) == set(spec), where
    for name, option in spec.items():
        doc = documented[name]
        here = f"{where}.{name}"
        assert doc.get("type", "str") == option.get("type", "str"), here
        assert doc.get("elements") == option.get("elements"), here
        assert doc.get("default") == option.get("default"), here
        assert doc.get("choices") == option.get("choices"), here
        assert doc.get("required", False) == option.get("required", False), here
        if "options" in option:
            assert_same_options(doc["suboptions"], option["options"], here)


@pytest.mark.parametrize("module", MODULES)
def test_module_documentation_equals_its_argument_spec(
    module: str, documentation: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_same_options(documentation[module]["doc"]["options"], argument_spec(module, monkeypatch), module)


@pytest.mark.parametrize("module", MODULES + sorted(ACTION_ONLY))
def test_module_is_documented_in_full(module: str, documentation: dict[str, Any]) -> None:
    assert {"check_mode", "diff_mode"} <= set(documentation[module]["doc"]["attributes"])
    assert yaml.safe_load(documentation[module]["examples"])
    assert documentation[module]["return"]


def test_every_key_of_the_policy_is_documented() -> None:
    text = (ROOT / "docs/tuning.md").read_text(encoding="utf-8")
    documented = {row[0]: row[1:] for row in re.findall(r"^\| `([\w.]+)` \| `?(.*?)`? \| (.*?) \|", text, re.MULTILINE)}
    expected: dict[str, tuple[str, str]] = {}
    for key, value in DEFAULT_POLICY.items():
        for name, default in value.items() if isinstance(value, dict) else [("", value)]:
            place = f"{key}.{name}" if name else key
            allowed = documented.get(place, ("", ""))[1]  # forms and lists are described in words
            if (name or key) in RANGES:
                allowed = "{:g} to {:.10g}".format(*RANGES[name or key])
            expected[place] = ("the guide's" if isinstance(default, list) else json.dumps(default).strip('"'), allowed)
    assert documented == expected
