# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import itertools

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.confirmation import (
    LOOKS,
    MAX_RATIO,
    MAX_ROUNDS,
    Gain,
    decided,
    gain,
    ratio,
)


def test_a_gain_that_is_not_there_is_adopted_in_less_than_one_of_twenty_cases() -> None:
    """Where the true median is just at the bound, each round is above it or below with equal chance."""
    adopted = 0
    for rounds in itertools.product((0.9, 1.2), repeat=MAX_ROUNDS):
        outcomes = (decided(rounds[:number], 0.05) for number in range(1, MAX_ROUNDS + 1))
        adopted += next(outcome for outcome in outcomes if outcome is not None)
    assert adopted / 2**MAX_ROUNDS < 0.05


@pytest.mark.parametrize(
    ("ratios", "outcome"),
    [
        ([], None),
        ([1.2] * 4, None),
        ([1.2] * 5, True),
        ([1.2] * 4 + [0.5], None),  # a stalled round
        ([1.2] * 8 + [0.5], True),
        ([1.2] * 7 + [0.5] * 2, None),
        ([1.2] * 10 + [0.5] * 2, True),
        ([1.2] * 11, None),  # looked at after 9 and after 12 rounds only
        ([0.5] * 2, None),
        ([0.5] * 3, False),  # nine further ones could not make up for it
        ([1.05] * 3, False),  # not above
    ],
)
def test_decisions(ratios: list[float], outcome: bool | None) -> None:
    assert decided(ratios, 0.05) is outcome


def test_every_sequence_of_rounds_is_decided() -> None:
    assert all(decided(rounds, 0.05) is not None for rounds in itertools.product((0.9, 1.2), repeat=MAX_ROUNDS))


def test_bounds_are_ranks() -> None:
    assert gain([1.1, 1.2, 1.3, 1.4]) is None
    assert gain([1.1, 1.4, 1.2, 1.5, 1.3]) == Gain(5, 0.3, 0.1, 0.5)
    assert gain([1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 0.2]) == Gain(9, 0.4, 0.1, 0.7)
    assert [rounds for rounds, _ in LOOKS] == [5, 9, 12]


def test_ratios_of_what_is_worth_nothing() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, 0.0) == MAX_RATIO
    assert ratio(0.0, 0.0) == 1.0
    assert ratio(0.0, 2.0) == 0.0
