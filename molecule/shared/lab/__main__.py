# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Command line of the lab; `./dev lab` calls it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys

from rich.console import Console
from rich.table import Table

from . import cache, engine, fleet, images, models
from .errors import LabError
from .hosts import FLEETS, OLDER_ENGINES
from .sources import choose
from .steps import Steps


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="./dev lab", description="A fleet of real hosts in containers on this machine."
    )
    parser.add_argument("--instance", default=os.environ.get("LLMOPS_LAB") or "demo", help="name of the fleet [demo]")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring up whatever is missing")
    up.add_argument("--fleet", choices=sorted(FLEETS), default=os.environ.get("LLMOPS_FLEET") or "default")
    commands.add_parser("down", help="remove containers, network and files of the instance")
    commands.add_parser("status", help="table of the hosts")
    commands.add_parser("inventory", help="print the path of the inventory")
    build = commands.add_parser("build", help="fill the cache (images, engine, models), start nothing")
    build.add_argument("--engine", choices=sorted(engine.ENGINES), help="only this release of the engine")
    commands.add_parser("forget", help="remove the shared cache and the images")
    return parser.parse_args()


def main() -> int:
    """Do it; a problem that a person can solve becomes a message and exit code 1."""
    asked = arguments()
    try:
        with Steps() as steps:
            obey(asked, steps)
    except LabError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def obey(asked: argparse.Namespace, steps: Steps) -> None:
    """Carry out one command."""
    ours = fleet.Fleet(steps, asked.instance)
    if asked.command == "up":
        ours.up(asked.fleet)
    elif asked.command == "down":
        ours.down()
    elif asked.command == "build" and asked.engine:
        engine.release(steps, ours.cache, asked.engine)
    elif asked.command == "build":
        sources = choose(fleet.VERSION, models.DEFAULT_MODEL)
        older = {version for versions in OLDER_ENGINES.values() for version in versions}
        fleet.build(steps, ours.cache, sources, images.SUITES, older)
    elif asked.command == "forget":
        shutil.rmtree(cache.root(), ignore_errors=True)
        images.forget()
    elif asked.command == "inventory":
        if not ours.inventory.exists():
            raise LabError(f"The instance {asked.instance} is not up: run `./dev lab up` first.")
        print(ours.inventory)
    else:
        show(ours.status())


def show(rows: list[dict[str, str]]) -> None:
    """Print the table of hosts."""
    if not rows:
        print("No host is up.")
        return
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*row.values())
    Console(width=200).print(table)


if __name__ == "__main__":
    sys.exit(main())
