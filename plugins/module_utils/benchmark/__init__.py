# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measures an Ollama server as its clients see it. Nothing here knows Ansible.

One level of load against one address:

    from ….benchmark.load import Load
    from ….benchmark.prompts import Workload
    from ….benchmark.protocol import Target
    from ….benchmark.session import Session
    from ….benchmark.statistics import Slo, ratio_of_rounds

    target = Target("http://127.0.0.1:11434", "gemma3:270m", options={"num_ctx": 4096})
    asked = Workload(seed=7, prompt_set="chat", max_tokens=32)
    with Session(target, asked, Slo(ttft_s=2, latency_s=20), server_pid=main_pid) as session:
        session.warm_up(Load(concurrency=10, requests=10))
        level = session.measure(Load(concurrency=10, requests=60), watch=report, cancelled=lambda: stop_now)
    level.goodput, level.intervals["goodput"], level.latency_s.p95, level.server.rss_peak_mb, level.truncated

``Session.measure`` returns a ``statistics.Level``, ``Session.run`` the ``sample.Round`` of single requests behind it.
``watch(samples)`` is called twice a second with the samples so far; once ``cancelled()`` is true the requests under way
are given up and ``level.truncated`` is true. ``Session()`` and ``warm_up`` raise an ``OllamaError`` where nobody
answers, the model is missing or not one request succeeds; ``measure`` counts failed requests in ``level.errors``.

Two settings are compared by rounds in turns, each with a ``Session`` of the same workload (or, of the same server, with
``side`` 0 and 1, so that no cache helps the second): ``ratio_of_rounds(before, after)`` takes one number of each round
and returns the median ratio with its bounds; ``low`` holds with 95 % confidence from 5 rounds on.

- ``load``: the generator; ``wire`` (HTTP on sockets) and ``protocol`` (the endpoints) are below it
- ``prompts``: what is asked
- ``statistics``: samples → a level with its intervals, goodput, ratios
- ``observe``: CPU and memory of the server, where it runs on this host
- ``measure``: a whole run, as the module ``benchmark`` makes it: ``plan`` in, ``Measurement`` out
- ``document``: what a run leaves, saved and read again as a baseline; ``verdict``: thresholds
- ``expectations``: the guide's table of what parallel requests should bring
"""
