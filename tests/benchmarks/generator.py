# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What measuring costs, and whether it agrees with ab: ./dev exec python tests/benchmarks/generator.py [--ollama URL]

First against a server on loopback, in a process of its own, that answers at a steady pace, so that what a perfect
generator would see is known: CPU time at 10 streams, then 200 streams at once. Then the same requests without a stream,
by ab -l and by the generator in turns (ab: apt-get install apache2-utils): to that server, and with --ollama to a real
one, which should have nothing else to do.

Prints Markdown tables. Exit code 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import requests

CHECKOUT = Path(__file__).parents[2]
sys.path[:0] = [str(CHECKOUT / ".collections")]

# ruff: noqa: E402  # the collection is imported from the checkout
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Request, Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Target
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.session import Session
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import ratio_of_rounds

USUAL, MANY = 10, 200  # streams
MAX_CORES = 0.05  # with the usual number
AGREEMENT = 0.03

PROMPT = "Hello"  # the guide's

FIRST_TOKEN_S = 0.2
TOKENS = 64

# Streams at once, tokens per second of each, requests of each stream. 30 tokens per second is faster than a person
# reads; ten such streams are more than a small host with a small model gives.
STEADY = ((USUAL, 30.0, 6), (MANY, 10.0, 2))


# --- a server that streams at a steady pace -----------------------------------------------------------------------


async def serve(rate: float) -> None:
    """Print the port, then answer until the end of standard input."""
    under_way = most = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET"):  # how many were under way at most?
                text = b"%d" % most
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
                continue
            length = int(head.lower().split(b"content-length: ")[1].split()[0])
            asked = json.loads(await reader.readexactly(length))
            count = asked["options"]["num_predict"]
            if not asked["stream"]:
                await asyncio.sleep(FIRST_TOKEN_S + (count - 1) / rate)
                text = json.dumps({"response": " word" * count, "done": True, "eval_count": count}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
                if b" HTTP/1.0\r\n" in head:  # ab waits for the end of the connection
                    writer.close()
                    return
                continue
            under_way += 1
            most = max(most, under_way)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            clock = asyncio.get_running_loop().time
            first = clock() + FIRST_TOKEN_S
            for number in range(count):
                await asyncio.sleep(first + number / rate - clock())
                line = {"model": "m", "created_at": "2026-01-01T00:00:00.000000Z", "response": " word", "done": False}
                send(writer, line)
            under_way -= 1
            send(writer, {"model": "m", "response": "", "done": True, "done_reason": "length", "eval_count": count})
            writer.write(b"0\r\n\r\n")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def send(writer: asyncio.StreamWriter, value: dict[str, object]) -> None:
    line = json.dumps(value).encode() + b"\n"
    writer.write(b"%x\r\n%s\r\n" % (len(line), line))


@contextmanager
def steady_server(rate: float) -> Iterator[str]:
    command = [sys.executable, __file__, "--serve", str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


def cost() -> bool:
    """Measure against the steady server, print the table; whether the goals are met."""
    print(f"\nLoopback server, {TOKENS} tokens an answer, the first after {1000 * FIRST_TOKEN_S:.0f} ms.\n")
    columns = ("streams", "most at once", "tokens/s", "generator, cores", "us per token", "errors", "TTFT p50, p99 ms")
    columns += ("ITL p50, p99 ms (true)", "sent late p99 ms", "longest turn ms")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    met = True
    for streams, rate, each in STEADY:
        with steady_server(rate) as url, Session(Target(url, "m"), Workload(1, max_tokens=TOKENS)) as session:
            session.warm_up(Load(streams, requests=streams))
            level = session.measure(Load(streams, requests=streams * each))
            most = int(requests.get(url, timeout=10).text)
        assert level.ttft_s
        assert level.itl_s
        used = level.generator
        cells = (
            f"{streams}",
            f"{most}",
            f"{level.output_tokens_per_second:.0f}",
            f"{used.cpu_cores:.4f}",
            f"{1e6 * used.cpu_s / level.output_tokens:.0f}",
            f"{sum(level.errors.values())}",
            f"{1000 * level.ttft_s.p50:.1f}, {1000 * level.ttft_s.p99:.1f}",
            f"{1000 * level.itl_s.p50:.1f}, {1000 * level.itl_s.p99:.1f} ({1000 / rate:.1f})",
            f"{1000 * used.delay_p99_s:.2f}",
            f"{1000 * used.longest_turn_s:.1f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)
        met &= not level.errors and most == streams
        met &= streams > USUAL or used.cpu_cores <= MAX_CORES
    return met


# --- the same work by ab ------------------------------------------------------------------------------------------


def agreement(url: str, model: str, requests_each: int, tokens: int, rounds: int) -> bool:
    """Measure a server with both in turns, print the table; whether the goal is met."""
    program = shutil.which("ab")
    if not program:
        raise SystemExit("ab is not installed: apt-get install apache2-utils")
    target = Target(url, model, stream=False)
    load = Load(USUAL, requests=requests_each)
    print(f"\n{url}, {model}, {requests_each} requests, {USUAL} at a time, {tokens} tokens, no stream, in turns.\n")
    print("| round | ab -l, requests/s | generator, requests/s | ratio |\n|---|---|---|---|")
    rates: list[tuple[float, float]] = []
    with (
        tempfile.NamedTemporaryFile(suffix=".json") as body,
        Session(target, Workload(1, max_tokens=tokens, prompts=(PROMPT,))) as session,
    ):
        body.write(target.body(Request(PROMPT, tokens, seed=1)))
        body.flush()
        command = [program, "-l", "-q", "-n", f"{requests_each}", "-c", f"{USUAL}", "-s", "300", "-p", body.name]
        command += ["-T", "application/json", f"{url}/api/generate"]
        session.warm_up(Load(USUAL, requests=2 * USUAL))

        def by_ab() -> float:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found = re.search(r"^Requests per second:\s+([\d.]+)", done.stdout, re.MULTILINE)
            failed = re.search(r"^(?:Failed requests|Non-2xx responses):\s+[1-9]\d*", done.stdout, re.MULTILINE)
            if not found or failed:
                raise SystemExit(f"ab failed: {failed[0] if failed else done.stderr}")
            return float(found[1])

        def by_generator() -> float:
            level = session.measure(load)
            if level.errors:
                raise SystemExit(f"the generator failed: {level.error_examples}")
            return level.requests_per_second

        for number in range(1, rounds + 1):
            if number % 2:
                ab, mine = by_ab(), by_generator()
            else:
                mine, ab = by_generator(), by_ab()
            rates.append((ab, mine))
            print(f"| {number} | {ab:.3f} | {mine:.3f} | {mine / ab:.3f} |", flush=True)
    ratio = ratio_of_rounds([ab for ab, _ in rates], [mine for _, mine in rates])
    middle = median(ab for ab, _ in rates), median(mine for _, mine in rates)
    print(f"| median | {middle[0]:.3f} | {middle[1]:.3f} | {ratio.ratio} ({ratio.low} - {ratio.high}) |")
    return ratio.ratio is not None and abs(ratio.ratio - 1) <= AGREEMENT


def main() -> int:
    parser = argparse.ArgumentParser(description="What measuring costs, and whether it agrees with ab.")
    parser.add_argument("--serve", type=float, metavar="RATE", help=argparse.SUPPRESS)
    parser.add_argument("--ollama", metavar="URL", help="a real server to compare with ab on")
    parser.add_argument("--model", default="gemma3:270m", help="[%(default)s]")
    parser.add_argument("--requests", type=int, default=400, help="of each round [%(default)s]")
    parser.add_argument("--tokens", type=int, default=8, help="of each answer [%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve(asked.serve))
        return 0
    met = cost()
    with steady_server(30.0) as url:
        # ab sends its first request alone, which is one round in a hundred here.
        met &= agreement(url, "m", 1000, 1, 3)
    if asked.ollama:
        met &= agreement(asked.ollama.rstrip("/"), asked.model, asked.requests, asked.tokens, asked.rounds)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
