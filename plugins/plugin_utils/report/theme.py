# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The colours of a report by what they are for, for a light and a dark scheme; tests compute their contrast.

Charts are drawn once: each colour in them is a stand-in that becomes the CSS variable of its name.
"""

from __future__ import annotations

LIGHT = {
    "page": "#ffffff",
    "panel": "#f4f6f8",
    "rule": "#d5dae1",
    "ink": "#1a1f26",
    "soft": "#555e6b",
    "accent": "#0a58bf",
    "good": "#12683a",
    "warn": "#864c00",
    "bad": "#b3241a",
    "before": "#687180",
    "band": "#c3cad4",
    "part-weights": "#0d3f7d",
    "part-kv": "#2272c8",
    "part-compute": "#67a9e6",
    "part-runtime": "#a9cff2",
    "part-growth": "#dcecfb",
}
DARK = {
    "page": "#13161b",
    "panel": "#1c2128",
    "rule": "#39414d",
    "ink": "#e9ebee",
    "soft": "#a7b0bc",
    "accent": "#7ab7ff",
    "good": "#62cd90",
    "warn": "#ecb75f",
    "bad": "#ff948a",
    "before": "#939dab",
    "band": "#4a5462",
    "part-weights": "#b5d8ff",
    "part-kv": "#6fb0f5",
    "part-compute": "#3d84d0",
    "part-runtime": "#295c96",
    "part-growth": "#1d3d63",
}

# What text stands on what; 4.5 : 1 is the least for it.
TEXT_PAIRS = [
    (text, ground)
    for text in ("ink", "soft", "accent", "good", "warn", "bad", "before")
    for ground in ("page", "panel")
]
# Lines and marks that carry meaning; 3 : 1 is the least for them.
MARK_PAIRS = [(mark, ground) for mark in ("accent", "before", "soft", "warn", "bad") for ground in ("page", "panel")]

STAND_INS = {name: f"#0000{index:02x}" for index, name in enumerate(LIGHT, start=1)}


def variables(colours: dict[str, str]) -> str:
    """The colours as CSS custom properties."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours (#rrggbb) as WCAG 2 defines it, from 1 to 21."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear))
