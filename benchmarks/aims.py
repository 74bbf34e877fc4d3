"""What was aimed at with few parameters, and whether it was reached.

    python benchmarks/aims.py

reads the results of the two sweeps of results/ewa_net and writes results/ewa_net/aims.md: each aim
beside the best network that is small enough for it, and what attention adds to the same network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ewa_rs.training.report.summary import Summary, summarise
from ewa_rs.utils.files import read_json, write_text

FOLDER = Path("results/ewa_net")
DATA = {"Fashion-MNIST": "fashion-mnist", "CIFAR-10 (JPEG)": "cifar10-jpeg"}
# Data set, greatest share of vgg_like's parameters, least share of its accuracy.
AIMS = (
    ("Fashion-MNIST", 0.03, 0.995),
    ("Fashion-MNIST", 0.25, 1.0),
    ("CIFAR-10 (JPEG)", 0.03, 0.9),
    ("CIFAR-10 (JPEG)", 0.5, 1.02),
)
OTHERS = ("plain pooling", "sigmoid gate", "squeeze-excitation")
# A network with attention, and the same network with something else in its place.
CONTROLS: dict[str, tuple[str, ...]] = {
    "ewa_net_s": (
        "plain pooling",
        "average pooling",
        "SoftPool",
        "sigmoid gate",
        "squeeze-excitation",
    ),
    **{
        f"{size}{excitation}": tuple(f"{size}, {other}" for other in OTHERS)
        for size in ("ewa_net_m", "ewa_net_l")
        for excitation in ("", ", excitation")
    },
    "vgg_like, attention pooling": ("vgg_like",),
}


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its standard error, None with one seed."""

    mean: float
    error: float | None

    def text(self, digits: int, *, sign: bool = False) -> str:
        """Return ``mean ± standard error``."""
        mean = f"{self.mean:{'+' if sign else ''}.{digits}f}"
        return mean if self.error is None else f"{mean} ± {self.error:.{digits}f}"


def estimate(s: Summary) -> Estimate:
    """Return the accuracy of a row."""
    error = None if s.deviation is None else s.deviation / math.sqrt(len(s.accuracies))
    return Estimate(s.accuracy, error)


def ratio(a: Estimate, b: Estimate) -> Estimate:
    """Return a / b, with the error to first order."""
    mean = a.mean / b.mean
    if a.error is None or b.error is None:
        return Estimate(mean, None)
    return Estimate(mean, mean * math.hypot(a.error / a.mean, b.error / b.mean))


def points(a: Estimate, b: Estimate) -> Estimate:
    """Return a − b in points of per cent."""
    mean = 100 * (a.mean - b.mean)
    if a.error is None or b.error is None:
        return Estimate(mean, None)
    return Estimate(mean, 100 * math.hypot(a.error, b.error))


def load(data: str) -> tuple[Summary, dict[str, Summary]]:
    """Return the baseline and all rows of a sweep."""
    results = read_json(FOLDER / DATA[data] / "results.json")
    rows = {s.model: s for s in summarise(results)}
    return rows[results["baseline"]], rows


def aim_row(data: str, share: float, least: float) -> str:
    """Return the row of one aim: the best network with attention that is small enough."""
    baseline, rows = load(data)
    without = {control for controls in CONTROLS.values() for control in controls}
    small = [s for s in rows.values() if s.parameters <= share * baseline.parameters]
    small = [s for s in small if s.model not in without]
    repeated = [s for s in small if len(s.accuracies) > 1]
    best = max(repeated or small, key=lambda s: s.accuracy)
    reached = ratio(estimate(best), estimate(baseline))
    seeds = f"{len(best.accuracies)} and {len(baseline.accuracies)}"
    met = reached.mean > 1 if least == 1 else reached.mean >= least
    aim = "> 1" if least == 1 else f"≥ {least}"
    return (
        f"| {data} | ≤ {100 * share:.0f} % | {aim} | {best.model} | "
        f"{100 * best.parameters / baseline.parameters:.1f} % | {seeds} | {reached.text(3)} | "
        f"{'met' if met else 'missed'} |"
    )


def control_rows(data: str) -> list[str]:
    """Return what attention adds to each network, against everything in its place."""
    _, rows = load(data)
    lines = []
    for name, controls in CONTROLS.items():
        for control in controls:
            if not {name, control} <= set(rows):
                continue
            gain = points(estimate(rows[name]), estimate(rows[control]))
            seeds = f"{len(rows[name].accuracies)} and {len(rows[control].accuracies)}"
            errors = f"{gain.mean / gain.error:.1f}" if gain.error else ""
            cells = (data, name, control, seeds, gain.text(2, sign=True), errors)
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Write the two tables."""
    lines = [
        "| data | parameters | accuracy ÷ `vgg_like`'s | network | has | seeds | reached | |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | --- |",
        *(aim_row(*aim) for aim in AIMS),
        "",
        "| data | network | in place of attention | seeds | attention adds, points | "
        "standard errors |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        *(line for data in DATA for line in control_rows(data)),
        "",
        "Means ± their standard errors over the seeds; no ± where a row has one seed.",
        "",
        "    python benchmarks/aims.py",
    ]
    text = "\n".join(lines) + "\n"
    write_text(FOLDER / "aims.md", text)
    print(text)


if __name__ == "__main__":
    main()
