"""Fill the marked sections of Markdown files with the files that they name.

What stands between ``<!-- begin: PATH -->`` and ``<!-- end -->`` is replaced by the text of PATH,
which is taken from the root of the repository. ``make docs`` runs this over the README and the
guides; a test runs it with ``--check``, which changes nothing and fails if something would change.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECTION = re.compile(r"(<!-- begin: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return the text with every marked section filled anew."""
    return SECTION.sub(lambda m: f"{m[1]}{(ROOT / m[2]).read_text('utf-8')}{m[3]}", text)


def main(check: bool) -> int:
    """Fill or check all documents; return the exit code."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    stale = [d for d in documents if filled(d.read_text("utf-8")) != d.read_text("utf-8")]
    for document in stale:
        print(
            f"{document.relative_to(ROOT)}: {'out of date, run make docs' if check else 'filled'}"
        )
        if not check:
            document.write_text(filled(document.read_text("utf-8")), "utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
