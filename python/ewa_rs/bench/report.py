"""What a run leaves behind: results.json, tables in Markdown, a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ewa_rs.bench.peers import PEERS
from ewa_rs.training.files import read_json, write_json, write_text

Line = dict[str, Any]
TITLES = {
    "forward": "Forward",
    "out": "Forward into `out`",
    "training": "Forward and backward",
}
SHORT = {"PyTorch eager": "eager", "torch.compile": "compile", "ONNX Runtime": "ONNX RT"}


def read_results(folder: Path) -> dict[str, Any]:
    """Read the results.json of a benchmark; any other file is a ValueError that names it."""
    path = folder / "results.json"
    results = read_json(path)
    missing = [n for n in ("machine", "lines", "targets", "command") if n not in results]
    if missing:
        raise ValueError(f"{path}: no results of a benchmark, {', '.join(missing)} missing")
    return results


def write_report(folder: Path, results: dict[str, Any]) -> None:
    """Write results.json, and from it the tables and the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "results.json", results)
    write_text(folder / "summary.md", summary(results) + "\n" + machine(results))
    write_text(folder / "targets.md", targets(results))
    write_text(folder / "table.md", tables(results))
    from ewa_rs.bench.plot import ratio_plot

    ratio_plot(results, folder / "ratios.png")


def peers_of(results: dict[str, Any]) -> list[str]:
    """Return the peers with a figure, in the order of the registry."""
    found = {peer for line in results["lines"] for peer in line.get("ratios", ())}
    return [peer.name for peer in PEERS if peer.name in found]


def threads_of(results: dict[str, Any]) -> list[int]:
    """Return the numbers of threads."""
    return sorted({line["threads"] for line in results["lines"]})


def best_peer(line: Line) -> float | None:
    """Return the ratio to the fastest peer."""
    return min((r["median"] for r in line.get("ratios", {}).values()), default=None)


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return exp of the mean of the logarithms; None of nothing."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None


def medians(lines: Iterable[Line], peer: str) -> list[float]:
    """Return the ratios to a peer, or to the best one."""
    if peer == "best":
        return [best for line in lines if (best := best_peer(line)) is not None]
    return [line["ratios"][peer]["median"] for line in lines if peer in line.get("ratios", {})]


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Return a table whose first column is text and whose others are figures."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *rows))


def number(value: float | None) -> str:
    """Return three digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def cell(ratio: dict[str, float] | None) -> str:
    """Return a median with its quartiles."""
    if ratio is None:
        return "–"
    low, median, high = (number(ratio[name]) for name in ("low", "median", "high"))
    return f"**{median}** {low}–{high}"


def summary(results: dict[str, Any]) -> str:
    """Return the geometric means over all cases, and the smallest ratio to the best peer."""
    peers = peers_of(results)
    header = ["times faster than", *(SHORT.get(p, p) for p in peers), "best peer", "at least"]
    rows = []
    for threads in threads_of(results):
        for direction, title in TITLES.items():
            lines = lines_of(results, direction, threads)
            best = medians(lines, "best")
            if best:
                means = [geometric_mean(medians(lines, peer)) for peer in (*peers, "best")]
                label = f"{title}, {thread_text(threads)}"
                rows.append([label, *map(number, means), number(min(best))])
    return markdown(header, rows)


def machine(results: dict[str, Any]) -> str:
    """Return where and with what it was measured, and the command."""
    about = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    absent = "".join(f" Not there: {peer} ({why})." for peer, why in results["absent"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, kernels for {about['simd']}; "
        f"{' and '.join(thread_text(t) for t in threads_of(results))}. {versions}.{absent}\n\n"
        f"    {results['command']}\n"
    )


def tables(results: dict[str, Any]) -> str:
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
                parts.append(f"### {title}, {thread_text(threads)}\n\n{markdown(header, rows)}")
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


def targets(results: dict[str, Any]) -> str:
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
    return markdown(["what", "target", "measured", "met"], shown)


def _case_targets(results: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Targets that follow from the table of cases: the worst of them, with its name."""
    for threads in threads_of(results):
        large = [line for line in results["lines"] if line["elements"] >= 65536]
        large = [line for line in large if line["threads"] == threads and "ratios" in line]
        for peer, limit in (("PyTorch eager", "≥ 4"), ("best", "≥ 1.5")):
            found = [(min(medians([line], peer)), line) for line in large if medians([line], peer)]
            if found:
                worst, line = min(found, key=lambda pair: pair[0])
                where = f"{label_of(line)}, {TITLES[line['direction']].lower()}"
                name = "best peer" if peer == "best" else peer
                text = f"every case of ≥ 64k elements, {thread_text(threads)}, against {name}"
                yield _target(f"{text}: worst is {where}", limit, worst)
        if (mean := geometric_mean(medians(large, "best"))) is not None:
            yield _target(
                f"geometric mean against the best peer, {thread_text(threads)}", "≥ 2.5", mean
            )
        for line in large:
            if line["direction"] == "out" and "limit" in line:
                bound = "≤ 1.5" if line["dtype"] in ("float16", "bfloat16") else "≤ 1.25"
                name = (
                    f"forward into out ÷ streaming limit, {label_of(line)}, {thread_text(threads)}"
                )
                yield {"name": name, "limit": bound, **line["limit"]}
        for line in large:
            if line["case"] == "layer (1024, 784) float32" and line["direction"] == "training":
                for peer, limit in (("PyTorch eager", "≥ 6"), ("torch.compile", "≥ 2")):
                    if peer in line["ratios"]:
                        name = (
                            f"layer (1024, 784), training, {thread_text(threads)}, against {peer}"
                        )
                        yield {"name": name, "limit": limit, **line["ratios"][peer]}


def _target(name: str, limit: str, value: float) -> dict[str, Any]:
    return {"name": name, "limit": limit, "median": value, "low": value, "high": value}


def lines_of(results: dict[str, Any], direction: str, threads: int) -> list[Line]:
    """Return what was measured in one direction with so many threads."""
    return [
        line
        for line in results["lines"]
        if line["direction"] == direction and line["threads"] == threads
    ]


def label_of(line: Line) -> str:
    """Return the case, with its dtype if that is not float32."""
    return line["name"] if line["dtype"] == "float32" else f"{line['name']} {line['dtype']}"


def thread_text(count: int) -> str:
    """Return a number of threads in words."""
    return "1 thread" if count == 1 else f"{count} threads"
