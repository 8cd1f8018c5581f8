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
  - Sends requests for text and times their answers on the client's side, at one level of load or at several, one after
    the other. A level is either a number of requests under way (O(concurrency), a closed loop) or a number that is sent
    each second whatever the server does (O(rate), an open loop). In an open loop latency counts from the time at which
    a request was to be sent, so a slow server cannot hide that users wait.
  - Requests are made from a seed. The prompts are all different from their first word on, so the server's prefix cache
    cannot flatter the result, unless the set is there to show what that cache brings.
  - Only the options that are given are sent, as clients do. The model is loaded with the server's own settings and not
    loaded again.
  - A failed request is counted by its kind of error. The task fails when not one request succeeded, or when an
    assertion does not hold; in the second case the whole result is in the failure too.
  - Measure against an idle server. Run the module on another host than the server's, or through the gateway, to
    measure what users of the network get; run it on the server's host to see what the server takes of CPU and memory.
options:
  model:
    description:
      - Name of an installed model.
    type: str
    required: true
  endpoint:
    description:
      - Where requests are sent. The last one is OpenAI's.
    type: str
    choices: [/api/generate, /api/chat, /v1/chat/completions]
    default: /api/generate
  stream:
    description:
      - Whether answers come piece by piece. Without, there is no time to first token.
    type: bool
    default: true
  options:
    description:
      - Options of every request, for example C(temperature). An option of the runner (C(num_ctx), C(num_batch),
        C(num_gpu), C(num_thread)) that differs from what the server has makes it load the model anew, so give those
        that the clients give.
      - C(/v1/chat/completions) takes C(temperature), C(top_p), C(stop), C(frequency_penalty) and C(presence_penalty).
    type: dict
  concurrency:
    description:
      - Numbers of requests that are under way at any time, one for each level. Each place sends its next request as
        soon as its last is answered, over a connection that it keeps.
      - By default V([10]), unless O(rate) is given.
    type: list
    elements: int
  rate:
    description:
      - Numbers of requests that are sent each second, one for each level; instead of O(concurrency).
    type: list
    elements: float
  arrivals:
    description:
      - How the requests of a O(rate) come. V(poisson) is at random, as independent users do; V(constant) is at equal
        distances. It does not depend on how fast the server answers.
    type: str
    choices: [poisson, constant]
    default: poisson
  max_in_flight:
    description:
      - Number of requests of a O(rate) that may be under way. One that is due beyond it is not sent and is an error of
        kind C(generator_limit).
    type: int
    default: 500
  requests:
    description:
      - Number of requests of each level. At least 59 are needed to say with 95 % confidence that p95 is not above the
        slowest.
    type: int
    default: 100
  level_seconds:
    description:
      - Seconds after which a level sends no more requests, if O(requests) have not been sent by then.
    type: float
  max_tokens:
    description:
      - Length at which an answer is cut, in tokens. It keeps the requests equal, and so the results comparable.
    type: int
    default: 32
  prompt_set:
    description:
      - V(chat) are short questions, V(guide) the sentence "Explain RAG in one sentence" with another asker each time,
        V(document) a text of about 1500 tokens of its own for each request, V(shared_prefix) one such text for all with
        a question of its own for each.
    type: str
    choices: [chat, guide, document, shared_prefix]
    default: chat
  prompts:
    description:
      - Prompts to send instead of a set, as they are, in a random order that the O(seed) makes. When there are fewer
        than requests they come again, and the server may answer from its prefix cache.
    type: list
    elements: str
  prompts_file:
    description:
      - Path of a text file on the host that the module runs on, with one prompt on each line; instead of O(prompts).
    type: path
  warmup:
    description:
      - Number of requests sent before the first level and left out of the result. V(0) also measures the loading of the
        model.
      - By default the highest O(concurrency), or 10 with a O(rate). That loads the model, opens connections, and uses
        the parallel slots of the server once.
    type: int
  single:
    description:
      - Also measure one request that has the server to itself, with the prompt "Explain RAG in one sentence".
    type: bool
    default: true
  seed:
    description:
      - Seed of the prompts, the arrivals and the sampling. The same seed sends the same requests.
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
      - Seconds after which no more requests are sent. Those under way are waited for, the level's C(truncated) is true,
        and levels that have not begun are left out.
    type: float
    default: 900.0
  slo:
    description:
      - What users are promised, in seconds. A level's C(goodput) is the rate of the requests that meet all of it.
    type: dict
    suboptions:
      ttft_s:
        description: Longest time to first token. An answer without any text does not meet it.
        type: float
      tpot_s:
        description: Longest time per output token after the first.
        type: float
      latency_s:
        description: Longest time to the end of the answer.
        type: float
  compare_url:
    description:
      - Another address at which the same load is measured, in turns with O(url), for example the server itself beside
        the gateway. Each level is cut into O(compare_rounds) rounds; who begins a round alternates.
      - Both get the same requests, but for the made-up names in them, so that neither is answered from what the
        server's cache kept of the other.
    type: str
  compare_rounds:
    description:
      - Number of rounds. Bounds of a ratio need 5; with 8 they do not follow a single round in which the machine
        stalled.
    type: int
    default: 9
  baseline:
    description:
      - An earlier RV(benchmark), or the path of a file that O(save) wrote (on the host that the module runs on), to
        compute RV(benchmark.gains). It must have measured the same workload at one of the levels at least; model, seed
        and address may differ.
      - In check mode thresholds that need it are checked without it, too, since what makes it has not run.
    type: raw
  save:
    description:
      - Path of a file on the host that the module runs on. RV(benchmark) is written there, whole or not at all.
    type: path
  assert:
    description:
      - Thresholds, for every level that was measured. When one does not hold, the task fails with a table of expected
        against measured.
      - One that is about a ratio holds only when the ratio's bound does, which is with 95 % confidence.
    type: dict
    suboptions:
      max_p95_s:
        description: Highest p95 of the latency, in seconds.
        type: float
      max_ttft_p95_s:
        description: Highest p95 of the time to first token, in seconds.
        type: float
      max_tpot_p95_s:
        description: Highest p95 of the time per output token, in seconds.
        type: float
      min_requests_per_second:
        description: Lowest number of successful requests per second.
        type: float
      min_output_tokens_per_second:
        description: Lowest number of output tokens per second.
        type: float
      min_goodput:
        description: Lowest number of requests per second that meet the O(slo), which it needs.
        type: float
      max_error_rate:
        description: Highest share of failed requests, between V(0) and V(1).
        type: float
      min_gain:
        description: Lowest ratio of requests per second to those of the O(baseline), which it needs.
        type: float
      min_goodput_gain:
        description: Lowest ratio of goodput to that of the O(baseline).
        type: float
      min_rate_ratio:
        description: Lowest ratio of requests per second to those at O(compare_url), which it needs.
        type: float
      max_latency_ratio:
        description: Highest ratio of the median latency to that at O(compare_url).
        type: float
      max_ttft_ratio:
        description: Highest ratio of the median time to first token to that at O(compare_url).
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
  - Every interval is a pair of bounds that hold with 95 % confidence each; a bound is null where there were too few
    requests for it. How they are computed, and what they cannot say, is explained in docs/benchmark.md.
  - Nothing on the host is changed but the file O(save), but the server loads the model.
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

- name: Find how many users the server carries, and keep the numbers
  llmops.ollama.benchmark:
    model: gpt-oss:20b
    endpoint: /v1/chat/completions
    concurrency: [1, 2, 4, 8, 16]
    slo: {ttft_s: 2, tpot_s: 0.1}
    save: /var/tmp/benchmark.json

- name: Send 3 requests each second, as independent users would
  llmops.ollama.benchmark:
    model: gpt-oss:20b
    rate: [3]
    requests: 300
    prompt_set: document

- name: Prove that the gateway costs less than a tenth
  llmops.ollama.benchmark:
    url: http://gateway.example.com:8080
    compare_url: http://llm1.example.com:11434
    model: gpt-oss:20b
    requests: 180
    assert:
      min_rate_ratio: 0.9
      max_ttft_ratio: 1.1
"""

RETURN = r"""
benchmark:
  description:
    - What was measured. Times are seconds, of successful requests only; null where no request has them.
    - Every distribution (C(ttft_s), C(tpot_s), C(itl_s), C(latency_s)) has C(mean), C(p50), C(p90), C(p95), C(p99), and
      C(intervals) with the lower and upper bounds of these.
  returned: when the load was measured, also when an assertion failed
  type: dict
  contains:
    schema:
      description: Name and version of this document's form.
      type: str
      sample: llmops.ollama.benchmark/1
    measured_at:
      description: When it was measured.
      type: str
      sample: "2026-03-01T12:00:00+00:00"
    url:
      description: The option O(url).
      type: str
      sample: http://127.0.0.1:11434
    model:
      description: The option O(model).
      type: str
      sample: gpt-oss:20b
    model_digest:
      description: SHA-256 of the model's manifest; null where the server does not tell.
      type: str
      sample: 17052f91a42e97930aa6e28a6c6c06a983e6a58dbb00434885a0cf5313e376f7
    quantization:
      description: How the model's weights are stored.
      type: str
      sample: MXFP4
    engine_version:
      description: Version of the server.
      type: str
      sample: 0.34.0
    settings:
      description:
        - The C(environment) of the server's process, as far as it is about Ollama, and how the C(runner) of the model
          was started; null unless the module runs on the server's host.
      type: dict
      sample: {environment: {OLLAMA_NUM_PARALLEL: "4"}, runner: {slots: 4, cells: 16384, threads: 8, kv_types: []}}
    hardware:
      description: The server's host, as M(llmops.ollama.tuning_facts) describes it; null as for C(settings).
      type: dict
      sample: {cpu_cores: 8, memory_mb: 32768}
    workload:
      description:
        - What was asked, as the options say. C(prompts) is the number of the user's own, C(prompts_digest) their
          SHA-256.
      type: dict
      sample: {endpoint: /api/generate, stream: true, prompt_set: chat, max_tokens: 32, seed: 2884185104, warmup: 10}
    slo:
      description: The option O(slo).
      type: dict
      sample: {ttft_s: 2, tpot_s: null, latency_s: 30}
    single:
      description: C(latency_s), C(ttft_s), C(tpot_s) and C(output_tokens) of the request that had the server to itself.
      type: dict
      sample: {latency_s: 0.514201, ttft_s: 0.091332, tpot_s: 0.013641, output_tokens: 32}
    levels:
      description: The levels of load, in the order of O(concurrency) or O(rate).
      type: list
      elements: dict
      contains:
        concurrency:
          description: The number of requests under way; null in an open loop.
          type: int
          sample: 10
        rate:
          description: The number of requests sent each second; null in a closed loop.
          type: float
          sample: null
        requests:
          description: Number of requests that were due and have ended, well or not.
          type: int
          sample: 100
        truncated:
          description: Whether O(max_seconds) was over before the level was.
          type: bool
          sample: false
        duration_s:
          description: From when the first request was due to the end of the last.
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
        goodput:
          description: Requests per second that met the O(slo); null without one.
          type: float
          sample: 2.87
        slo_met:
          description: Share of all requests that met the O(slo); null without one.
          type: float
          sample: 0.95
        slo_missed:
          description: How often each objective was missed by a successful request.
          type: dict
          sample: {ttft_s: 5}
        intervals:
          description: Lower and upper bounds of the rates.
          type: dict
          sample: {requests_per_second: [2.91, 3.13], output_tokens_per_second: [92.1, 99.4], goodput: [2.7, 3.05]}
        ttft_s:
          description: Time to first token; null without O(stream).
          type: dict
          sample: {mean: 1.611, p50: 1.702, p90: 1.95, p95: 2.004, p99: 2.11, intervals: {p50: [1.66, 1.74]}}
        tpot_s:
          description: Time per output token after the first, (latency - TTFT) / (tokens - 1).
          type: dict
          sample: {mean: 0.051, p50: 0.051, p90: 0.055, p95: 0.056, p99: 0.06, intervals: {p50: [0.05, 0.052]}}
        itl_s:
          description: Inter-token latency, the waits between two pieces of text, of all requests together.
          type: dict
          sample: {mean: 0.051, p50: 0.049, p90: 0.06, p95: 0.071, p99: 0.14, intervals: {}}
        latency_s:
          description: From when the request was due to the end of its answer.
          type: dict
          sample: {mean: 3.201, p50: 3.3, p90: 3.5, p95: 3.58, p99: 3.66, intervals: {p50: [3.26, 3.34]}}
        errors:
          description:
            - Number of failed requests by kind.
            - A kind is C(refused), C(unreachable), C(timeout), C(http_429) (or another status), C(broken_stream) (the
              answer ended early), C(error_line) (an error reported inside the stream), C(bad_answer) (not the
              endpoint's protocol) or C(generator_limit) (not sent, because more would have been under way than
              O(max_in_flight) or than the host has file descriptors for).
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
        generator:
          description:
            - What measuring took. CPU seconds and mean busy cores of this module; how late it sent requests (p99 and
              longest); the longest turn of its loop, which is the most by which a time can be measured too long.
          type: dict
          sample: {cpu_s: 1.1, cpu_cores: 0.033, delay_p99_s: 0.0004, delay_max_s: 0.0011, longest_turn_s: 0.0013}
        server:
          description:
            - CPU seconds and mean busy cores of the server with its runners, and the most memory that they had, in MiB;
              null unless the module runs on the server's host, with the right to see its processes.
          type: dict
          sample: {cpu_s: 62.4, cpu_cores: 1.89, rss_peak_mb: 1240}
    comparison:
      description:
        - The same at O(compare_url); null without. C(url), C(rounds), C(levels) as above, and C(ratios) of each level
          with what was measured at O(url) as a multiple of it. A ratio is the median of the rounds'.
      type: dict
      sample:
        url: http://llm1.example.com:11434
        rounds: 9
        levels: []
        ratios:
          - concurrency: 10
            rate: null
            ratios: {requests_per_second: {ratio: 0.99, low: 0.97, high: 1.02, rounds: 9}}
    gains:
      description: Rates of each level as multiples of the O(baseline)'s; null without one.
      type: list
      elements: dict
      sample:
        - {concurrency: 10, rate: null, ratios: {requests_per_second: {ratio: 2.31, low: 2.2, high: 2.43, rounds: 1}}}
    assertions:
      description: One for each threshold that was given, at each level.
      type: list
      elements: dict
      contains:
        metric:
          description: Name of the threshold.
          type: str
          sample: max_p95_s
        level:
          description: The level of load.
          type: str
          sample: 10 at a time
        expected:
          description: The comparison that had to hold.
          type: str
          sample: "<= 30"
        measured:
          description: What was measured, or the bound of a ratio; null when there was nothing to compare.
          type: float
          sample: 3.58
        ok:
          description: Whether it holds.
          type: bool
          sample: true
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils import entry
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.document import (
    Baseline,
    check_path,
    document,
    save,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import ARRIVALS
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import caveats, measure
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.plan import plan_from
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import PROMPT_SETS
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import ENDPOINTS, GENERATE
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.subject import describe
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.verdict import THRESHOLDS, check, judge, require
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.progress import reporter

ARGUMENT_SPEC: dict[str, Any] = {
    **entry.SERVER_OPTIONS,
    "timeout": {"type": "float", "default": 300.0},
    "model": {"type": "str", "required": True},
    "endpoint": {"type": "str", "choices": list(ENDPOINTS), "default": GENERATE},
    "stream": {"type": "bool", "default": True},
    "options": {"type": "dict"},
    "concurrency": {"type": "list", "elements": "int"},
    "rate": {"type": "list", "elements": "float"},
    "arrivals": {"type": "str", "choices": list(ARRIVALS), "default": "poisson"},
    "max_in_flight": {"type": "int", "default": 500},
    "requests": {"type": "int", "default": 100},
    "level_seconds": {"type": "float"},
    "max_tokens": {"type": "int", "default": 32},
    "prompt_set": {"type": "str", "choices": list(PROMPT_SETS), "default": "chat"},
    "prompts": {"type": "list", "elements": "str"},
    "prompts_file": {"type": "path"},
    "warmup": {"type": "int"},
    "single": {"type": "bool", "default": True},
    "seed": {"type": "int"},
    "max_seconds": {"type": "float", "default": 900.0},
    "slo": {"type": "dict", "options": {name: {"type": "float"} for name in ("ttft_s", "tpot_s", "latency_s")}},
    "compare_url": {"type": "str"},
    "compare_rounds": {"type": "int", "default": 9},
    "baseline": {"type": "raw"},
    "save": {"type": "path"},
    "assert": {"type": "dict", "options": {name: {"type": "float"} for name in THRESHOLDS}},
}

REPORT_SECONDS = 2.0  # a run takes a minute or more: a line every few seconds shows that it lives


def benchmark(module: AnsibleModule) -> entry.Result:
    """Check the options, measure, judge."""
    params = module.params
    plan = plan_from(params)
    thresholds = {name: value for name, value in (params["assert"] or {}).items() if value is not None}
    baseline = None if params["baseline"] is None else Baseline(params["baseline"])
    check(thresholds, plan, baseline is not None or module.check_mode)
    if baseline:
        baseline.check(plan, goodput="min_goodput_gain" in thresholds)
    if params["save"]:
        check_path(params["save"])
    if module.check_mode:
        return {"changed": False, "skipped": True, "msg": f"Check mode: no request was sent to {plan.target.url}."}

    measured = measure(plan, reporter(params["progress_file"], min_interval=REPORT_SECONDS))
    for warning in caveats(plan, measured):
        module.warn(warning)
    gains = baseline.gains(measured.levels, plan.slo) if baseline else None
    with Client(plan.target.url) as client:
        subject = describe(client, plan.target.model, measured.server_pid)
    result = document(plan, measured, subject, gains)
    assertions = judge(thresholds, measured.levels, gains or (), measured.compared)
    result["assertions"] = [asdict(assertion) for assertion in assertions]
    if params["save"]:
        save(params["save"], result)
    require(assertions, benchmark=result)
    return {"changed": bool(params["save"]), "benchmark": result}


def main() -> None:
    """Run as a module."""
    entry.run(benchmark, ARGUMENT_SPEC, requires=("requests",))


if __name__ == "__main__":
    main()
