# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report's data in the words, tables and pictures that a person reads: one for the HTML and the Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.expectations import change
from ansible_collections.llmops.ollama.plugins.plugin_utils.report import charts
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.model import (
    Curve,
    Expectation,
    Finding,
    Gateway,
    Host,
    Level,
    Memory,
    Report,
    Search,
    Trial,
    Variant,
)
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.words import (
    NOTHING,
    count,
    errors,
    fixed,
    gib,
    listed,
    mib,
    milliseconds,
    percent,
    rate,
    seconds,
    span,
    unit,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BARS_AT_ONCE = 16  # hosts in one chart; more of them get a further one, so that none is cut at the end of a page
GOOD, BAD, UNKNOWN = "good", "bad", "unknown"


@dataclass(frozen=True)
class Table:
    """Cells are texts as they are shown; ``numeric`` are the columns that are aligned at their right."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A chart, what it shows in a sentence or two, and its data. ``key`` is unique in the report.

    Without ``draw`` there is too little for a chart: its data are the whole picture.
    """

    key: str
    title: str
    words: str
    table: Table
    draw: Callable[[], Figure] | None = None


@dataclass(frozen=True)
class Status:
    """``kind`` is good, bad or unknown."""

    kind: str
    words: str


@dataclass(frozen=True)
class HostView:
    key: str
    host: Host
    status: Status
    facts: tuple[str, ...]
    pictures: tuple[Picture, ...]
    models: Table | None
    budget: str


@dataclass(frozen=True)
class GatewayView:
    key: str
    gateway: Gateway
    status: Status
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Tile:
    """One number of the summary; ``kind`` as in ``Status``."""

    name: str
    value: str
    unit: str
    kind: str = UNKNOWN


@dataclass(frozen=True)
class View:
    report: Report
    headline: str
    tiles: tuple[Tile, ...]
    overview: Table
    findings: tuple[tuple[str, Finding], ...]
    fleet: tuple[Picture, ...]
    gateways: tuple[GatewayView, ...]
    hosts: tuple[HostView, ...]


def view(report: Report) -> View:
    """What all of the report's readers see."""
    return View(
        report=report,
        headline=headline(report),
        tiles=tuple(_tiles(report)),
        overview=_overview(report),
        findings=tuple(
            (host.name, finding)
            for host in report.hosts
            for finding in (host.diagnosis.findings if host.diagnosis else ())
            if finding.severity == "problem"
        ),
        fleet=tuple(_fleet(report.hosts)),
        gateways=tuple(_gateway(f"gateway-{number}", each) for number, each in enumerate(report.gateways, start=1)),
        hosts=tuple(_host(f"host-{number}", each) for number, each in enumerate(report.hosts, start=1)),
    )


# --- the fleet -----------------------------------------------------------------------------------------------------


def headline(report: Report) -> str:
    """The report in a few words."""
    checked = [host.health for host in report.hosts if host.health]
    ill = sum(not health.healthy for health in checked)
    lost = sum(not host.reached for host in report.hosts)
    unknown = len(report.hosts) - len(checked) - lost
    servers = count(len(report.hosts), "server")
    also = [f"{number} not {word}" for number, word in ((lost, "reached"), (unknown, "checked")) if number]
    if ill:
        return ", ".join([f"{ill} of {servers} {'is' if ill == 1 else 'are'} unhealthy", *also])
    if not checked:
        return f"{servers}, {'none reached' if lost == len(report.hosts) else 'health not checked'}"
    if also:
        return ", ".join([f"{len(checked)} of {servers} healthy", *also])
    return f"{servers}, all healthy" if len(checked) > 1 else f"{servers}, healthy"


def _tiles(report: Report) -> Iterable[Tile]:
    checked = [host.health for host in report.hosts if host.health]
    if checked:
        well = sum(health.healthy for health in checked)
        kind = GOOD if well == len(checked) else BAD
        yield Tile("Healthy", str(well), f"of {count(len(report.hosts), 'server')}", kind)
    # Clients see the gateway; without one, a server of several says nothing of the fleet.
    measured = [("Through the gateway", heaviest(gateway.curves)) for gateway in report.gateways]
    measured += [("Throughput", heaviest(host.curves)) for host in report.hosts if len(report.hosts) == 1]
    for name, level in [each for each in measured if each[1]][:1]:
        if level:
            yield Tile(name, rate(level.requests_per_second), "requests/s")
            yield Tile(f"Latency p95, {level.load}", seconds(level.latency_p95_s), "s")
    gains = [more for host in report.hosts if (more := gain(host)) is not None]
    if gains:
        name = f"Gain, median of {len(gains)} servers" if len(gains) > 1 else "Gain"
        yield Tile(name, percent(median(gains)), "% requests/s")
    examined = [host.diagnosis for host in report.hosts if host.diagnosis]
    if examined:
        severities = [finding.severity for each in examined for finding in each.findings]
        problems = severities.count("problem")
        yield Tile(
            "Problems found",
            str(problems),
            f"and {count(severities.count('warning'), 'warning')}",
            BAD if problems else GOOD,
        )


# Title and whether it is a number.
_OVERVIEW = (
    ("Host", False),
    ("Health", False),
    ("CPUs", True),
    ("Memory, GiB", True),
    ("Profile", False),
    ("Parallel", True),
    ("Threads", True),
    ("Engine", False),
    ("Model", False),
    ("Requests/s", True),
    ("p95,\u00a0s", True),
    ("Gain,\u00a0%", True),
    ("Re-tuned", False),
    ("Problems", True),
)


def _overview(report: Report) -> Table:
    """One row for each host; columns that nobody fills are left out."""
    rows = [_overview_row(host) for host in report.hosts] + [_gateway_row(gateway) for gateway in report.gateways]
    numeric = frozenset(index for index, (_, number) in enumerate(_OVERVIEW) if number)
    return _without_empty(Table("All hosts", tuple(name for name, _ in _OVERVIEW), tuple(rows), numeric))


def _overview_row(host: Host) -> tuple[str, ...]:
    settled = {value.name: value.value for value in host.values}
    level = heaviest(host.curves)
    return (
        host.name,
        _state(host),
        NOTHING if host.machine is None else f"{host.machine.cpus:g}",
        gib(host.machine.memory_mb if host.machine else None),
        host.profile or NOTHING,
        settled.get("OLLAMA_NUM_PARALLEL", NOTHING),
        settled.get("LLAMA_ARG_THREADS", settled.get("num_thread", NOTHING)),
        host.version or NOTHING,
        ", ".join(_model_name(model.name, model.quantization) for model in host.models) or NOTHING,
        rate(level.requests_per_second if level else None),
        seconds(level.latency_p95_s if level else None),
        percent(gain(host)),
        host.retune or NOTHING,
        NOTHING if not host.diagnosis else str(sum(each.severity == "problem" for each in host.diagnosis.findings)),
    )


def _gateway_row(gateway: Gateway) -> tuple[str, ...]:
    level = heaviest(gateway.curves)
    row = dict.fromkeys((name for name, _ in _OVERVIEW), NOTHING)
    row["Host"] = f"{gateway.name} (gateway)"
    row["Health"] = _state(gateway)
    row["Requests/s"] = rate(level.requests_per_second if level else None)
    row["p95,\u00a0s"] = seconds(level.latency_p95_s if level else None)
    return tuple(row.values())


def _state(host: Host | Gateway) -> str:
    """Short enough for a table, and not told by colour."""
    found = status(host)
    return {GOOD: "✓ healthy", BAD: f"✕ {found.words}"}.get(found.kind, found.words)


def _model_name(name: str, quantization: str) -> str:
    return f"{name} {quantization}".strip()


def _fleet(hosts: Sequence[Host]) -> Iterable[Picture]:
    """Pictures that compare hosts; one host has nothing to be compared with."""
    measured = [host for host in hosts if host.curves]
    for part, chosen in enumerate(_chunks(measured) if len(measured) > 1 else (), start=1):
        yield _changes(f"fleet-throughput-{part}", chosen)
    planned = [host for host in hosts if host.memory and host.memory.models]
    for part, chosen in enumerate(_chunks(planned) if len(planned) > 1 else (), start=1):
        yield _fleet_memory(f"fleet-memory-{part}", chosen)


def _chunks(hosts: Sequence[Host]) -> Iterable[Sequence[Host]]:
    return (hosts[start : start + BARS_AT_ONCE] for start in range(0, len(hosts), BARS_AT_ONCE))


def _changes(key: str, hosts: Sequence[Host]) -> Picture:
    rows = []
    for host in hosts:
        before, after = (level.requests_per_second if level else None for level in pair(host.curves))
        rows.append((host.name, before, after, gain(host)))
    slowest = min(rows, key=lambda row: row[2] or 0)
    fastest = max(rows, key=lambda row: row[2] or 0)
    changed = any(before is not None for _, before, _, _ in rows)
    columns = ("Host", "Before, requests/s", f"{'After' if changed else 'Measured'}, requests/s", "Gain,\u00a0%")
    cells = tuple((name, rate(before), rate(after), percent(more)) for name, before, after, more in rows)
    return Picture(
        key,
        "Requests per second of each server",
        f"From {rate(slowest[2])} ({slowest[0]}) to {rate(fastest[2])} ({fastest[0]}) requests/s.",
        _without_empty(Table("Requests per second of each server", columns, cells, frozenset({1, 2, 3}))),
        lambda: charts.changes([(name, before, after) for name, before, after, _ in rows]),
    )


def _fleet_memory(key: str, hosts: Sequence[Host]) -> Picture:
    bars = [memory_bar(host.name, host.memory) for host in hosts if host.memory]
    fullest = max(bars, key=lambda bar: sum(bar.parts.values()) / bar.limit)
    return Picture(
        key,
        "Memory of each server in the worst case",
        f"The fullest is {fullest.name}: models may take {mib(sum(fullest.parts.values()))} of "
        f"{unit(mib(fullest.budget), 'MiB')}, beside {unit(mib(fullest.limit - fullest.budget), 'MiB')} of reserve.",
        _memory_table("Memory of each server in MiB", bars),
        lambda: charts.memory(bars, share=True),
    )


# --- one host ------------------------------------------------------------------------------------------------------


def _host(key: str, host: Host) -> HostView:
    return HostView(
        key=key,
        host=host,
        status=status(host),
        facts=tuple(_facts(host)),
        pictures=tuple(_pictures(key, host)),
        models=_models(host),
        budget=_memory_words(host.memory) if host.memory and not host.memory.models else "",
    )


def _models(host: Host) -> Table | None:
    """The installed models; None where no more than their names is known, which the overview has."""
    if not any(model.size_mb is not None for model in host.models):
        return None
    columns = (
        "Model",
        "Quantization",
        "Parameters",
        "Digest",
        "Size, GiB",
        "In memory, GiB",
        "On GPUs, GiB",
        "This run",
    )
    rows = tuple(
        (
            model.name,
            model.quantization or NOTHING,
            model.parameters or NOTHING,
            model.digest[:12] or NOTHING,
            fixed(None if model.size_mb is None else model.size_mb / 1024, 2),
            fixed(None if model.memory_mb is None else model.memory_mb / 1024, 2),
            fixed(None if not model.gpu_mb else model.gpu_mb / 1024, 2),
            model.action or NOTHING,
        )
        for model in host.models
    )
    return _without_empty(Table(f"Models, {host.name}", columns, rows, frozenset({4, 5, 6})))


def _gateway(key: str, gateway: Gateway) -> GatewayView:
    pictures = (_curves(key, gateway.name, gateway.curves),) if gateway.curves else ()
    return GatewayView(key, gateway, status(gateway), pictures)


def status(host: Host | Gateway) -> Status:
    """Whether a host is well, in words."""
    health = host.health
    if health is None:
        lacking = "not reached" if isinstance(host, Host) else "not looked at"
        return Status(UNKNOWN, "not checked" if host.reached else lacking)
    if health.healthy:
        return Status(GOOD, f"healthy ({health.level})" if health.level else "healthy")
    return Status(BAD, "unhealthy" + (f": {listed(each.name for each in health.failed)}" if health.failed else ""))


def _facts(host: Host) -> Iterable[str]:
    machine = host.machine
    if machine:
        whole = "" if machine.cpus == machine.cpus_online else f" of {machine.cpus_online}"
        yield f"{machine.cpus:g}{whole} CPU{'' if machine.cpus == 1 and not whole else 's'}"
        whole = "" if machine.memory_mb == machine.memory_online_mb else f" of {gib(machine.memory_online_mb)}"
        yield f"{gib(machine.memory_mb)}{whole} GiB of memory"
        yield from filter(None, [machine.cpu_model, *machine.gpus, machine.virtualization])
    if host.version:
        yield f"Ollama {host.version}"
    if host.profile:
        yield f"profile {host.profile}"
    if host.retune:
        yield f"re-tuned: {host.retune}"


def _pictures(key: str, host: Host) -> Iterable[Picture]:
    if host.curves:
        yield _curves(key, host.name, host.curves)
    if host.expectations:
        yield _expectations(key, host.name, host.expectations)
    if host.search:
        yield _search(key, host.name, host.search, set_back=host.retune == "set back")
    if host.variants:
        yield _variants(key, host.name, host.variants)
    if host.memory and host.memory.models:
        yield _memory(key, host.name, host.memory)


def _curves(key: str, name: str, curves: Sequence[Curve]) -> Picture:
    several = len(curves) > 1
    rows = [(curve.label, *_level_row(level)) for curve in curves for level in curve.levels]
    columns = ("When", *_LEVEL)
    table = Table(f"Levels of load, {name}", columns, tuple(rows), frozenset(range(1, len(columns) - 1)))
    table = _without_empty(table, without=() if several else ("When",))
    points = [level for curve in curves for level in curve.levels if level.latency_p95_s is not None]
    return Picture(
        f"{key}-curves",
        "Throughput and latency" + (f", {listed(curve.label for curve in curves)}" if several else ""),
        _curves_words(curves),
        table if len(points) > 1 else _turned(table),
        (lambda: charts.throughput_latency(curves)) if len(points) > 1 else None,
    )


_LEVEL = (
    "At a time",
    "Requests/s",
    "Interval",
    "Goodput/s",
    "Interval of goodput",
    "Tokens/s",
    "p50,\u00a0s",
    "p95,\u00a0s",
    "p99,\u00a0s",
    "TTFT p50,\u00a0s",
    "TTFT p95,\u00a0s",
    "TPOT p50,\u00a0ms",
    "Gain,\u00a0%",
    "Interval of gain",
    "Server CPUs",
    "Server, MiB",
    "Requests",
    "Errors",
)


def _level_row(level: Level) -> tuple[str, ...]:
    return (
        str(level.concurrency) if level.rate is None else level.load,
        rate(level.requests_per_second),
        span(level.requests_per_second_low, level.requests_per_second_high),
        rate(level.goodput),
        span(level.goodput_low, level.goodput_high),
        fixed(level.output_tokens_per_second, 1),
        seconds(level.latency_p50_s),
        seconds(level.latency_p95_s),
        seconds(level.latency_p99_s),
        seconds(level.ttft_p50_s),
        seconds(level.ttft_p95_s),
        milliseconds(level.tpot_p50_s),
        percent(level.gain),
        span(level.gain_low, level.gain_high, 0),
        fixed(level.server_cpus, 2),
        mib(level.server_memory_mb),
        str(level.requests),
        errors(level.errors),
    )


def _curves_words(curves: Sequence[Curve]) -> str:
    before, after = pair(curves)
    if after is None:
        return "Nothing was measured at a level of load that can be named."
    sentences = [
        f"{_rate_and_p95(after)}, {after.load}" + (f"; {curves[0].label}: {_rate_and_p95(before)}" if before else "")
    ]
    alone = next((curve.alone_latency_s for curve in curves if curve.alone_latency_s is not None), None)
    if alone is not None:
        sentences.append(f"One request alone took {unit(seconds(alone), 's')}")
    what = next((curve for curve in curves if curve.model), None)
    if what:
        model = _model_name(what.model, what.quantization)
        sentences.append(f"Model {model}" + (f", {what.max_tokens} tokens a request" if what.max_tokens else ""))
        sentences += [f"Goodput counts {listed(what.slo)}"] if what.slo else []
    return ". ".join(sentences) + "."


def _rate_and_p95(level: Level) -> str:
    latency = "" if level.latency_p95_s is None else f", p95 latency {unit(seconds(level.latency_p95_s), 's')}"
    return unit(rate(level.requests_per_second), "requests/s") + latency


def _expectations(key: str, name: str, rows: Sequence[Expectation]) -> Picture:
    measured = [row for row in rows if row.throughput is not None]
    return Picture(
        f"{key}-guide",
        "What the guide expects, and what was measured",
        " ".join(f"At {row.parallel} parallel requests: {row.verdict}." for row in measured),
        Table(
            f"More than with one request at a time, in percent, {name}",
            ("Parallel", "Latency, guide", "Latency, measured", "Throughput, guide", "Throughput, measured", "Verdict"),
            tuple(
                (
                    str(row.parallel),
                    _percents(row.expected_latency),
                    percent(row.latency),
                    _percents(row.expected_throughput),
                    percent(row.throughput),
                    row.verdict,
                )
                for row in rows
            ),
            frozenset(range(5)),
        ),
        lambda: charts.expectations(rows),
    )


def _percents(bounds: tuple[int, int] | None) -> str:
    return NOTHING if bounds is None else f"{percent(bounds[0])} to {percent(bounds[1])}"


_TRIAL = (
    "Parallel",
    "Threads",
    "KV cache",
    "Batch",
    "Goodput/s",
    "Interval",
    "Tokens/s",
    "p50,\u00a0s",
    "p95,\u00a0s",
    "TTFT p95,\u00a0s",
    "Measured",
    "Remark",
)


def _search(key: str, name: str, search: Search, set_back: bool) -> Picture:
    numeric = frozenset(range(len(_TRIAL) - 1)) - {_TRIAL.index("KV cache")}
    rows = tuple(map(_trial_row, search.trials))
    return Picture(
        f"{key}-search",
        f"{count(len(search.trials), 'configuration')} tried",
        _search_words(search, set_back),
        _without_empty(Table(f"Configurations that were tried, {name}", _TRIAL, rows, numeric)),
        lambda: charts.trials(search.trials),
    )


def _trial_row(trial: Trial) -> tuple[str, ...]:
    return (
        str(trial.parallel or NOTHING),
        str(trial.threads or NOTHING),
        trial.kv_type or NOTHING,
        str(trial.batch or NOTHING),
        rate(trial.goodput),
        span(trial.goodput_low, trial.goodput_high),
        fixed(trial.output_tokens_per_second, 1),
        seconds(trial.latency_p50_s),
        seconds(trial.latency_p95_s),
        seconds(trial.ttft_p95_s),
        count(trial.measurements, "time"),
        _remark("best" * trial.best, "before the search" * trial.current, trial.failure),
    )


def _remark(*remarks: str) -> str:
    return "; ".join(filter(None, remarks)) or NOTHING


def _search_words(search: Search, set_back: bool) -> str:
    """What was looked for, what came out and why."""
    slo = f" that keep {listed(search.slo)}" if search.slo else ""
    load = f" with {search.concurrency} requests at a time" if search.concurrency else ""
    sentences = [f"Looked for: the most requests per second{slo}{load}.", search.verdict, search.slo_remark]
    if set_back:
        sentences.append("The host was set back: the setting before runs again.")
    elif search.adopted is not None:
        sentences.append("The best setting was adopted." if search.adopted else "The setting before was kept.")
    sentences += ["The time was up before everything was tried."] if search.timed_out else []
    return " ".join(filter(None, sentences))


def _variants(key: str, name: str, variants: Sequence[Variant]) -> Picture:
    best = listed(each.quantization or each.model for each in variants if each.frontier)
    words = [f"Worth choosing from, as no other beats them in speed, memory and loss together: {best}."] if best else []
    words += [f"Recommended: {_model_name(each.model, each.quantization)}." for each in variants if each.recommended]
    columns = ("Model", "Quantization", "Goodput/s", "Memory, MiB", "Loss,\u00a0%", "Remark")
    rows = tuple(
        (
            each.model,
            each.quantization or NOTHING,
            rate(each.goodput),
            mib(each.memory_mb),
            NOTHING if each.loss is None else f"{each.loss:g}",
            _remark("recommended" * each.recommended, "worth choosing" * each.frontier, each.problem),
        )
        for each in variants
    )
    return Picture(
        f"{key}-quantizations",
        "Quantizations compared",
        " ".join(words) or "None of them could be measured.",
        Table(f"Quantizations compared, {name}", columns, rows, frozenset({2, 3, 4})),
        lambda: charts.frontier(variants),
    )


def _memory(key: str, name: str, memory: Memory) -> Picture:
    bars = [
        charts.Bar(_model_name(each.name, each.quantization), _parts(each), _budget(memory), _limit(memory))
        for each in memory.models
    ]
    return Picture(
        f"{key}-memory",
        "Memory in the worst case",
        _memory_words(memory),
        _memory_table(f"Memory of each model in MiB, {name}", bars),
        lambda: charts.memory(bars, share=False),
    )


def memory_bar(name: str, memory: Memory) -> charts.Bar:
    """A host's memory as one bar: the largest models that may be loaded together."""
    largest = sorted(memory.models, key=lambda each: -each.peak_mb)[: memory.together]
    sums = {part: sum(_parts(each)[part] for each in largest) for part in charts.PARTS}
    return charts.Bar(name, sums, _budget(memory), _limit(memory))


def _parts(each: object) -> dict[str, float]:
    return {part: float(getattr(each, f"{part}_mb")) for part in charts.PARTS}


def _budget(memory: Memory) -> float:
    return memory.budget_mb + memory.gpu_budget_mb


def _limit(memory: Memory) -> float:
    return memory.limit_mb + memory.gpu_budget_mb


def _memory_words(memory: Memory) -> str:
    planned = f"{mib(memory.planned_mb)} of {unit(mib(memory.budget_mb), 'MiB')}"
    where = " beside GPU memory" if memory.gpu_budget_mb else ""
    if not memory.models:
        return f"The budget is {unit(mib(memory.budget_mb), 'MiB')}; what the models take is not known."
    fits = f"At most {planned}{where} are planned for."
    return f"{fits if memory.fits else f'It does not fit: {planned}{where} would be needed.'} {memory.advice}".strip()


def _memory_table(caption: str, bars: Sequence[charts.Bar]) -> Table:
    names = [charts.PARTS[part] for part in charts.PARTS]
    return Table(
        caption,
        ("Name", *(name[0].upper() + name[1:] for name in names), "Sum", "Budget", "Reserve", "Limit"),
        tuple(
            (
                bar.name,
                *(mib(bar.parts[part]) for part in charts.PARTS),
                mib(sum(bar.parts.values())),
                mib(bar.budget),
                mib(bar.limit - bar.budget),
                mib(bar.limit),
            )
            for bar in bars
        ),
        frozenset(range(1, len(names) + 5)),
    )


# --- comparing curves ----------------------------------------------------------------------------------------------


# What a curve is compared with.
REFERENCES = ("before", "direct")


def pair(curves: Sequence[Curve]) -> tuple[Level | None, Level | None]:
    """The heaviest level that was measured before and after; without a before, the heaviest there is."""
    before, after = (
        {level.load: level for curve in curves if (curve.label in REFERENCES) is earlier for level in curve.levels}
        for earlier in (True, False)
    )
    common = [load for load in after if load in before]
    if common:
        heaviest = max(common, key=lambda load: _weight(after[load]))
        return before[heaviest], after[heaviest]
    return None, max(after.values(), key=_weight, default=None)


def gain(host: Host) -> float | None:
    """By how many percent its requests/s rose; None where no other setting before is known, or it runs again."""
    labels = [curve.label for curve in host.curves]
    before, after = pair(host.curves)
    if "tried" in labels or "again" in labels:
        return None
    if "before" not in labels:
        return after.gain if after else None
    return change(before.requests_per_second, after.requests_per_second) if before and after else None


def heaviest(curves: Sequence[Curve]) -> Level | None:
    """The level that stands for all of them."""
    return pair(curves)[1]


def _weight(level: Level) -> float:
    return level.rate if level.rate is not None else float(level.concurrency or 0)


def _turned(table: Table) -> Table:
    """The table with rows for columns: few rows of many numbers are easier to read that way."""
    first, *others = zip(table.columns, *table.rows)
    return Table(table.caption, first, tuple(others), frozenset(range(1, len(first))))


def _without_empty(table: Table, without: Sequence[str] = ()) -> Table:
    """The table without columns that nothing fills, and without those that are named."""
    kept = [
        index
        for index, name in enumerate(table.columns)
        if name not in without and any(row[index] != NOTHING for row in table.rows)
    ]
    return Table(
        table.caption,
        tuple(table.columns[index] for index in kept),
        tuple(tuple(row[index] for index in kept) for row in table.rows),
        frozenset(place for place, index in enumerate(kept) if index in table.numeric),
    )
