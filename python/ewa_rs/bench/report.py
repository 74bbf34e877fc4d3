"""The report of a benchmark: results.json, tables in Markdown, a plot."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ewa_rs.bench.plot import ratio_plot
from ewa_rs.bench.results import (
    SHORT,
    TITLES,
    label_of,
    lines_of,
    medians,
    peers_of,
    thread_text,
    threads_of,
    three_digits,
)
from ewa_rs.utils.files import write_json, write_text
from ewa_rs.utils.markdown import markdown_table


def write_benchmark(folder: Path, results: dict[str, Any]) -> None:
    """Write results.json, and from it the tables and the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "results.json", results)
    write_text(folder / "summary.md", summary_table(results) + "\n" + provenance(results))
    write_text(folder / "targets.md", targets_table(results))
    write_text(folder / "table.md", case_tables(results))
    ratio_plot(results, folder / "ratios.png")


def _geometric_mean(values: Sequence[float]) -> float | None:
    return statistics.geometric_mean(values) if values else None


def cell(ratio: dict[str, float] | None) -> str:
    """Return a median with its quartiles."""
    if ratio is None:
        return "–"
    low, median, high = (three_digits(ratio[name]) for name in ("low", "median", "high"))
    return f"**{median}** {low}–{high}"


def summary_table(results: dict[str, Any]) -> str:
    """Return the geometric means over all cases, and the smallest ratio to the best peer."""
    peers = peers_of(results)
    header = ["times faster than", *(SHORT.get(p, p) for p in peers), "best peer", "at least"]
    rows = []
    for threads in threads_of(results):
        for direction, title in TITLES.items():
            lines = lines_of(results, direction, threads)
            best = medians(lines, "best")
            if best:
                means = [_geometric_mean(medians(lines, peer)) for peer in (*peers, "best")]
                label = f"{title}, {thread_text(threads)}"
                rows.append([label, *map(three_digits, means), three_digits(min(best))])
    return markdown_table(header, rows)


def provenance(results: dict[str, Any]) -> str:
    """Return where and with what it was measured, and the command."""
    about = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    absent = "".join(f" Not there: {peer} ({why})." for peer, why in results["absent"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, kernels for {about['simd']}; "
        f"{' and '.join(thread_text(t) for t in threads_of(results))}. {versions}.{absent}\n\n"
        f"    {results['command']}\n"
    )


def case_tables(results: dict[str, Any]) -> str:
    """Return a table for each number of threads and direction."""
    peers, parts = peers_of(results), []
    header = ["case", *(SHORT.get(p, p) for p in peers), "time ÷ limit"]
    for threads in threads_of(results):
        for direction, title in TITLES.items():
            lines = lines_of(results, direction, threads)
            rows = []
            for line in lines:
                ratios = line.get("ratios", {})
                figures = [cell(ratios.get(p)) for p in peers]
                if "error" in line:
                    figures = [f"no figure: {line['error']}", *["–"] * (len(peers) - 1)]
                rows.append([label_of(line), *figures, cell(line.get("limit"))])
            if rows:
                parts.append(
                    f"### {title}, {thread_text(threads)}\n\n{markdown_table(header, rows)}"
                )
    return "\n".join(parts) + _absences(results)


def _absences(results: dict[str, Any]) -> str:
    """Say why figures are missing, where it is not that a library is not installed."""
    reasons: dict[str, list[str]] = {}
    for line in results["lines"]:
        for peer, reason in line.get("absent", {}).items():
            if peer not in results["absent"] and reason != "forward only":
                where = reasons.setdefault(f"{peer}: {reason}", [])
                where += [line["case"]] if line["case"] not in where else []
    listed = [f"- {reason} ({', '.join(where)})\n" for reason, where in reasons.items()]
    return "\nWithout a figure:\n\n" + "".join(listed) if listed else ""


def targets_table(results: dict[str, Any]) -> str:
    """Return the targets with what was measured."""
    rows = [*_case_targets(results), *results["targets"]]
    shown = []
    for row in rows:
        if "absent" in row:
            shown.append([row["name"], row["limit"], f"not measured: {row['absent']}", ""])
            continue
        sign, bound = row["limit"].split()
        met = row["median"] >= float(bound) if sign == "≥" else row["median"] <= float(bound)
        shown.append([row["name"], row["limit"], cell(row), "yes" if met else "no"])
    return markdown_table(["what", "target", "measured", "met"], shown)


def _case_targets(results: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Targets that follow from the table of cases: the worst of them, with its name."""
    for threads in threads_of(results):
        how = thread_text(threads)
        large = [line for line in results["lines"] if line["elements"] >= 65536]
        large = [line for line in large if line["threads"] == threads and "ratios" in line]
        for peer, limit in (("PyTorch eager", "≥ 4"), ("best", "≥ 1.5")):
            found = [(min(medians([line], peer)), line) for line in large if medians([line], peer)]
            if found:
                worst, line = min(found, key=lambda pair: pair[0])
                where = f"{label_of(line)}, {TITLES[line['direction']].lower()}"
                name = "best peer" if peer == "best" else peer
                text = f"every case of ≥ 64k elements, {how}, against {name}"
                yield _target(f"{text}: worst is {where}", limit, worst)
        if (mean := _geometric_mean(medians(large, "best"))) is not None:
            yield _target(f"geometric mean against the best peer, {how}", "≥ 2.5", mean)
        for line in large:
            if line["direction"] == "out" and "limit" in line:
                bound = "≤ 1.5" if line["dtype"] in ("float16", "bfloat16") else "≤ 1.25"
                name = f"forward into out ÷ streaming limit, {label_of(line)}, {how}"
                yield {"name": name, "limit": bound, **line["limit"]}
        for line in large:
            if line["case"] == "layer (1024, 784) float32" and line["direction"] == "training":
                for peer, limit in (("PyTorch eager", "≥ 6"), ("torch.compile", "≥ 2")):
                    if peer in line["ratios"]:
                        name = f"layer (1024, 784), training, {how}, against {peer}"
                        yield {"name": name, "limit": limit, **line["ratios"][peer]}


def _target(name: str, limit: str, value: float) -> dict[str, Any]:
    return {"name": name, "limit": limit, "median": value, "low": value, "high": value}
