"""Count the instructions of three kernels with callgrind, and compare with the figures on record.

Times don't hold on shared machines; instruction counts do, for one compiler and one instruction
set. The figures are compared only where both are those that they were taken with. `--update` takes
new ones.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "benchmarks" / "instructions.json"
KERNELS = ("attention_forward", "attention_backward", "layer_backward")
SLACK = 0.03


def output(*command: str) -> str:
    """Run a command for what it prints; its errors go where ours do."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def build() -> str:
    """Compile the benchmark and say where it lies."""
    messages = output(
        *("cargo", "build", "--release", "--locked", "--quiet", "--bench", "instructions"),
        "--message-format=json-render-diagnostics",
    )
    paths = [json.loads(line).get("executable") for line in messages.splitlines()]
    return next(str(path) for path in paths if path)


def count(binary: str, kernel: str) -> int:
    """Run one kernel and count its instructions."""
    with tempfile.NamedTemporaryFile() as profile:
        command = [
            *("valgrind", "--tool=callgrind", "--toggle-collect=measured"),
            *(f"--callgrind-out-file={profile.name}", binary, kernel),
        ]
        result = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode or not found or found[1] == "0":
        sys.exit(f"valgrind counted nothing of {kernel}:\n{result.stderr}")
    return int(found[1])


def main() -> int:
    """Compare with the figures on record, or replace them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="put new figures on record")
    update = parser.parse_args().update
    if shutil.which("valgrind") is None:
        print("skipped: instruction counts need valgrind, which is not installed")
        return 0
    record = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    rustc = output("rustc", "--version").strip()
    if not update and record.get("rustc") != rustc:
        print(
            f"skipped: the instruction counts are those of {record.get('rustc')}, this is {rustc}"
        )
        return 0
    binary = build()
    simd = output(binary).strip()
    if not update and is_other("simd", record, simd):
        return 0
    counts = {kernel: count(binary, kernel) for kernel in KERNELS}
    if update:
        record = {"rustc": rustc, "simd": simd, "instructions": counts}
        FIGURES.write_text(json.dumps(record, indent=2) + "\n")
    return report(counts, record["instructions"])


def is_other(key: str, record: dict[str, str], found: str) -> bool:
    """Say so where the figures on record are not for what is here."""
    if record.get(key) == found:
        return False
    print(f"skipped: the instruction counts on record are for {record.get(key)}, this is {found}")
    return True


def report(counts: dict[str, int], recorded: dict[str, int]) -> int:
    """Print counts beside the recorded ones; 1 if any is above them by more than the slack."""
    failed = False
    for kernel, found in counts.items():
        change = found / recorded[kernel] - 1
        failed |= change > SLACK
        note = f"more than {SLACK:.0%} above the record" if change > SLACK else ""
        if change < -SLACK:
            note = "below the record: put it on record with --update"
        print(f"{kernel:20} {found:12,} instructions  {change:+7.2%}  {note}".rstrip())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
