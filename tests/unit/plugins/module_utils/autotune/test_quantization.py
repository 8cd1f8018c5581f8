# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.quantization import Variant, advise, loss_of
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from hypothesis import given
from hypothesis import strategies as st

# As measured on two cores with 8 slots; Q4_0 is fastest there, and Q8_0 beats Q4_K_M in speed and loss, not in memory.
F16 = Variant("m:f16", "F16", 1.5, 620, 0.0)
Q8_0 = Variant("m:q8_0", "Q8_0", 2.9, 380, 2.0)
Q4_K_M = Variant("m:q4_k_m", "Q4_K_M", 2.6, 340, 3.0)
Q4_0 = Variant("m:q4_0", "Q4_0", 3.4, 330, 5.0)


def test_what_none_beats_is_on_the_frontier() -> None:
    advice = advise([F16, Q8_0, Q4_K_M, Q4_0])
    assert advice.frontier == (Q4_0, Q8_0, Q4_K_M, F16)
    beaten = Variant("m:slow", "Q4_K_S", 2.0, 390, 4.0)
    assert beaten not in advise([F16, Q8_0, Q4_K_M, Q4_0, beaten]).frontier


def test_the_least_loss_among_the_fastest_is_recommended() -> None:
    advice = advise([F16, Q8_0, Q4_0])
    assert advice.recommended == Q4_0
    assert advice.text == (
        "m:q4_0 (Q4_0): 3.40 requests/s, 330 MiB, about 5 % loss of quality."
        " m:q8_0 (Q8_0) would be 15% slower, with 50 MiB more memory and about 2 % loss of quality."
        " m:f16 (F16) would be 56% slower, with 290 MiB more memory and about 0 % loss of quality."
    )
    nearly = Variant("m:q8_0", "Q8_0", 3.3, 380, 2.0)
    assert advise([F16, nearly, Q4_0]).recommended == nearly


def test_what_could_not_be_measured_is_told_and_not_compared() -> None:
    broken = Variant("m:bad", "Q8_0", None, 380, 2.0, "It does not load.")
    advice = advise([broken, Q4_0])
    assert advice.frontier == (Q4_0,)
    assert advice.to_dict()["variants"][0] == {
        "model": "m:bad",
        "quantization": "Q8_0",
        "requests_per_second": None,
        "memory_mb": 380,
        "loss_percent": 2.0,
        "problem": "It does not load.",
        "on_frontier": False,
    }
    nothing = advise([broken])
    assert (nothing.recommended, nothing.text) == (None, "None of the quantizations could be measured.")
    assert advise([]).to_dict()["variants"] == []


def test_losses_are_the_policys() -> None:
    table = Policy.load().quantizations
    assert [loss_of(name, table) for name in ("F16", "q4_0", "IQ2_XS", "")] == [0.0, 5.0, None, None]


def test_an_unknown_loss_is_not_better_than_any() -> None:
    unknown = Variant("m:iq2", "IQ2_XS", 3.4, 300, None)
    assert advise([unknown, Q4_0]).recommended == Q4_0
    assert "unknown loss" in advise([unknown]).text


@given(
    st.lists(
        st.builds(
            Variant,
            st.uuids().map(str),
            st.just("Q8_0"),
            st.one_of(st.none(), st.floats(0, 100)),
            st.one_of(st.none(), st.integers(1, 10**6)),
            st.one_of(st.none(), st.floats(0, 100)),
        ),
        max_size=6,
    )
)
def test_what_holds_for_any_variants(variants: list[Variant]) -> None:
    advice = advise(variants)
    measured = [each for each in variants if each.measured]
    assert bool(advice.frontier) is bool(measured)
    assert (advice.recommended in advice.frontier) is bool(measured)
    for each in measured:
        better = [
            other
            for other in measured
            if other.rate >= each.rate  # type: ignore[operator]
            and (other.memory_mb or 1e99) < (each.memory_mb or 1e99)
            and (1e99 if other.loss is None else other.loss) <= (1e99 if each.loss is None else each.loss)
        ]
        if better:
            assert each not in advice.frontier


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_the_order_does_not_matter(order: tuple[int, ...]) -> None:
    variants = [F16, Q8_0, Q4_K_M, Q4_0]
    assert advise([variants[index] for index in order]).frontier == advise(variants).frontier
