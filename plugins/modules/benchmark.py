#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measure an Ollama server as its clients see it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark
short_description: Measure latency and throughput of an Ollama server, and fail when they are not good enough
version_added: 0.1.0
description:
  - Sends O(requests) requests for text to C(/api/generate), O(concurrency) at a time, and times the streamed answers
    on the client's side. Each worker sends its next request as soon as its last is answered (a closed loop), over a
    connection that it keeps.
  - The prompts are all different from their first word on, so the server's prefix cache cannot flatter the result.
  - Only sampling options are sent, as clients do. The model is loaded with the server's own settings and not loaded
    again.
  - A failed request is counted by its kind of error. The task fails when not one request succeeded, or when an
    assertion does not hold; in the second case the whole result is in the failure too.
  - Measure against an idle server. Run the module on another host than the server's, or through the gateway, to
    measure what users of the network get.
options:
  model:
    description:
      - Name of an installed model.
    type: str
    required: true
  requests:
    description:
      - Number of requests in the load. At least 59 are needed to say with 95 % confidence that p95 is not above the
        slowest.
    type: int
    default: 100
  concurrency:
    description:
      - Number of requests that are under way at any time, at most O(requests).
    type: int
    default: 10
  max_tokens:
    description:
      - Length at which an answer is cut, in tokens. It keeps the requests equal, and so the results comparable.
    type: int
    default: 32
  warmup:
    description:
      - Number of requests sent before the load and left out of its result. V(0) also measures the loading of the model.
      - By default the value of O(concurrency), which is one request for each worker. That loads the model, opens every
        connection, and uses every parallel slot of the server once.
    type: int
  single:
    description:
      - Also measure one request that has the server to itself, with the prompt "Explain RAG in one sentence".
    type: bool
    default: true
  seed:
    description:
      - Seed of the prompts and of the sampling. The same seed sends the same requests.
      - By default a new one for each run, because a server that has seen the prompts may answer them from its cache.
        It is returned.
    type: int
  timeout:
    description:
      - Seconds that one request may take. A request that takes longer is an error of kind C(timeout).
      - The default is the request timeout of a served client, not the shorter one of this collection's other modules.
        Under load, the time in the server's queue is part of what is measured.
    type: float
    default: 300.0
  max_seconds:
    description:
      - Seconds after which no more requests are sent. Those under way are waited for, and
        RV(benchmark.load.truncated) is true.
    type: float
    default: 900.0
  baseline:
    description:
      - The RV(benchmark) of an earlier run with the same O(concurrency) and O(max_tokens), to compute
        RV(benchmark.gain).
    type: dict
  assert:
    description:
      - Thresholds. When one does not hold, the task fails with a table of expected against measured.
    type: dict
    suboptions:
      max_p95_s:
        description: Highest p95 of the latency, in seconds.
        type: float
      max_ttft_p95_s:
        description: Highest p95 of the time to first token, in seconds.
        type: float
      min_requests_per_second:
        description: Lowest number of successful requests per second.
        type: float
      max_error_rate:
        description: Highest share of failed requests, between V(0) and V(1).
        type: float
      min_gain:
        description: Lowest ratio of requests per second to those of the O(baseline), which it needs.
        type: float
extends_documentation_fragment:
  - llmops.ollama.server
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: none
    details: In check mode nothing is sent and the task is skipped.
  diff_mode:
    support: none
  platform:
    platforms: posix
notes:
  - Percentiles are by nearest rank, always a value that was measured. With few requests, p95 and p99 are the slowest
    one.
  - Nothing on the host is changed, but the server loads the model.
author:
  - llmops.ollama contributors (@llmops)
"""

EXAMPLES = r"""
- name: Measure 100 requests, 10 at a time
  llmops.ollama.benchmark:
    model: gpt-oss:20b
  register: before

- name: Fail when the tuned server is not twice as fast, or makes users wait
  llmops.ollama.benchmark:
    model: gpt-oss:20b
    baseline: "{{ before.benchmark }}"
    assert:
      min_gain: 2
      max_p95_s: 30
      max_error_rate: 0

- name: Measure through the gateway
  llmops.ollama.benchmark:
    url: http://gateway.example.com:8080
    model: gpt-oss:20b
    requests: 200
    concurrency: 20
"""

RETURN = r"""
benchmark:
  description:
    - What was measured. Times are seconds, of successful requests only; null where no request has them.
    - Every distribution (C(ttft_s), C(tpot_s), C(latency_s)) has C(mean), C(p50), C(p95) and C(p99).
  returned: when the load was measured, also when an assertion failed
  type: dict
  contains:
    url:
      description: The option O(url).
      type: str
      sample: http://127.0.0.1:11434
    model:
      description: The option O(model).
      type: str
      sample: gpt-oss:20b
    max_tokens:
      description: The option O(max_tokens).
      type: int
      sample: 32
    warmup:
      description: Number of requests that were sent first and left out.
      type: int
      sample: 10
    seed:
      description: The seed that repeats the run.
      type: int
      sample: 2884185104
    single:
      description: C(latency_s), C(ttft_s), C(tpot_s) and C(output_tokens) of the request that had the server to itself.
      type: dict
      sample: {latency_s: 0.514201, ttft_s: 0.091332, tpot_s: 0.013641, output_tokens: 32}
    load:
      description: The load.
      type: dict
      contains:
        requests:
          description: Number of requests that were sent and have ended, well or not.
          type: int
          sample: 100
        concurrency:
          description: The option O(concurrency).
          type: int
          sample: 10
        truncated:
          description: Whether O(max_seconds) was over before all requests had been sent.
          type: bool
          sample: false
        duration_s:
          description: From the start of the first request to the end of the last.
          type: float
          sample: 33.104
        requests_per_second:
          description: Successful requests per second.
          type: float
          sample: 3.021
        output_tokens:
          description: Number of tokens in all successful answers, as the server counts them.
          type: int
          sample: 3171
        output_tokens_per_second:
          description: Output tokens of all successful answers per second.
          type: float
          sample: 95.789
        ttft_s:
          description: Time to first token.
          type: dict
          sample: {mean: 1.611, p50: 1.702, p95: 2.004, p99: 2.11}
        tpot_s:
          description: Time per output token after the first, (latency - TTFT) / (tokens - 1).
          type: dict
          sample: {mean: 0.051, p50: 0.051, p95: 0.056, p99: 0.06}
        latency_s:
          description: From sending the request to the end of its answer.
          type: dict
          sample: {mean: 3.201, p50: 3.3, p95: 3.58, p99: 3.66}
        errors:
          description:
            - Number of failed requests by kind.
            - A kind is C(refused), C(unreachable), C(timeout), C(http_429) (or another status), C(broken_stream) (the
              answer ended early), C(error_line) (an error reported inside the stream) or C(bad_answer) (not Ollama's
              protocol).
          type: dict
          sample: {http_429: 3}
        error_examples:
          description: The words of the first error of each kind.
          type: dict
          sample: {http_429: Too Many Requests}
        error_rate:
          description: Share of failed requests, between 0 and 1.
          type: float
          sample: 0.03
    gain:
      description: Requests per second as a multiple of the baseline's; null without O(baseline).
      type: float
      sample: 2.31
    assertions:
      description: One for each threshold that was given.
      type: list
      elements: dict
      contains:
        metric:
          description: Name of the threshold.
          type: str
          sample: max_p95_s
        expected:
          description: The comparison that had to hold.
          type: str
          sample: "<= 30"
        measured:
          description: What was measured; null when there was nothing to compare.
          type: float
          sample: 3.58
        ok:
          description: Whether it holds.
          type: bool
          sample: true
"""

import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils import entry
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import Plan, measure
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.verdict import baseline_rate, judge, require
from ansible_collections.llmops.ollama.plugins.module_utils.client import http_url, seconds
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.progress import reporter

ARGUMENT_SPEC: dict[str, Any] = {
    **entry.SERVER_OPTIONS,
    "timeout": {"type": "float", "default": 300.0},
    "model": {"type": "str", "required": True},
    "requests": {"type": "int", "default": 100},
    "concurrency": {"type": "int", "default": 10},
    "max_tokens": {"type": "int", "default": 32},
    "warmup": {"type": "int"},
    "single": {"type": "bool", "default": True},
    "seed": {"type": "int"},
    "max_seconds": {"type": "float", "default": 900.0},
    "baseline": {"type": "dict"},
    "assert": {
        "type": "dict",
        "options": {
            "max_p95_s": {"type": "float"},
            "max_ttft_p95_s": {"type": "float"},
            "min_requests_per_second": {"type": "float"},
            "max_error_rate": {"type": "float"},
            "min_gain": {"type": "float"},
        },
    },
}

REPORT_SECONDS = 2.0  # a run takes a minute or more: a line every few seconds shows that it lives

# Lowest and highest sensible value: a worker is a thread, and every request is kept until the end.
BOUNDS = {
    "requests": (1, 100_000),
    "concurrency": (1, 1000),
    "max_tokens": (1, 1_000_000),
    "warmup": (0, 100_000),
}


def benchmark(module: AnsibleModule) -> entry.Result:
    """Check the options, measure, judge."""
    params = module.params
    plan = plan_from(params)
    thresholds = {name: value for name, value in (params["assert"] or {}).items() if value is not None}
    if not 0 <= thresholds.get("max_error_rate", 0) <= 1:
        raise InvalidInput(f"max_error_rate is {thresholds['max_error_rate']:g}.", "Give a share from 0 to 1.")
    before = None
    if params["baseline"] is not None:
        before = baseline_rate(params["baseline"], plan.concurrency, plan.max_tokens)
    elif "min_gain" in thresholds:
        raise InvalidInput("min_gain has nothing to compare with.", "Give the result of an earlier run as baseline.")
    if module.check_mode:
        return {"changed": False, "skipped": True, "msg": f"Check mode: no request was sent to {plan.url}."}

    measured = measure(plan, reporter(params["progress_file"], min_interval=REPORT_SECONDS))
    if measured.load.truncated:
        module.warn(
            f"Only {measured.load.requests} of {plan.requests} requests were sent within max_seconds"
            f" ({plan.max_seconds:g}); the result is of those."
        )
    gain = None if before is None else round(measured.load.requests_per_second / before, 6)
    assertions = judge(thresholds, measured.load, gain)
    result = {
        "url": plan.url,
        "model": plan.model,
        "max_tokens": plan.max_tokens,
        "warmup": plan.warmup,
        "seed": plan.seed,
        **asdict(measured),
        "gain": gain,
        "assertions": [asdict(assertion) for assertion in assertions],
    }
    require(assertions, benchmark=result)
    return {"changed": False, "benchmark": result}


def plan_from(params: Mapping[str, Any]) -> Plan:
    """The plan that the options describe; raises ``InvalidInput``."""
    values = {name: params[name] for name in Plan.__dataclass_fields__}
    values["url"] = http_url("url", values["url"])
    for name in ("timeout", "max_seconds"):
        seconds(name, values[name])
    if values["warmup"] is None:
        values["warmup"] = values["concurrency"]
    if values["seed"] is None:
        values["seed"] = secrets.randbits(32)
    for name, (lowest, highest) in BOUNDS.items():
        if not lowest <= values[name] <= highest:
            raise InvalidInput(f"{name} is {values[name]}.", f"Give a value from {lowest:,} to {highest:,}.")
    if values["concurrency"] > values["requests"]:
        raise InvalidInput(
            f"concurrency is {values['concurrency']}, more than the {values['requests']} requests there are.",
            "Raise requests or lower concurrency.",
        )
    return Plan(**values)


def main() -> None:
    """Run as a module."""
    entry.run(benchmark, ARGUMENT_SPEC, requires=("requests",))


if __name__ == "__main__":
    main()
