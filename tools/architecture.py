"""Show which files import which, and find imports that run in a circle or up the tree.

Both trees, `rust/` and `python/ewa_rs/`, are divided into rooms. A file may import from its own
room and from rooms below it, never from one above or beside it, and no files import one another in
a circle. Imports that run late or for types alone count like any other.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Rooms from top to bottom, `|` between rows; those of one row import nothing of one another.
RUST = """lib | bindings | ops | attention/dispatch attention/mod pooling bandwidth
    | attention/schedule | attention/kernel attention/ops | attention/op | attention/mask
    | attention/block | attention/row | attention/layout attention/call | threads | simd
    | tensor definition"""
PYTHON = """__init__ | __main__ | cli | bench | training | inference | models | pretrained nn | ops
    | utils _core"""
#: Folders that import nothing of one another, whatever the rows of their rooms.
APART = {"attention", "pooling", "bandwidth"}

Arrows = dict[tuple[str, str], set[str]]  # (importing file, imported file) -> names
Module = tuple[str, ...]  # a Rust module's path from the root of its crate
OUTSIDE: Module = ("", "")  # any module of another crate


@dataclass(frozen=True)
class Tree:
    """The files of one tree with their lines, the arrows among them and their rooms' heights."""

    name: str
    lines: dict[str, int]
    arrows: Arrows
    rooms: dict[str, int]

    def room(self, file: str) -> str | None:
        """Return the room that a file stands in, if any."""
        path = file.rsplit(".", 1)[0] + "/"
        return next((room for room in self.rooms if path.startswith(f"{room}/")), None)

    def may_import(self, room: str | None, other: str | None) -> bool:
        """Say whether one room may import from another."""
        if room is None or other is None or room == other:
            return room == other
        folders = {room.split("/")[0], other.split("/")[0]}
        return self.rooms[room] < self.rooms[other] and len(folders & APART) < 2

    def offences(self) -> list[str]:
        """List files in no room, and imports from a room above or beside."""
        return [f"{file}: in no room" for file in self.lines if self.room(file) is None] + [
            f"{source} -> {target}: {', '.join(sorted(names))}"
            for (source, target), names in sorted(self.arrows.items())
            if not self.may_import(self.room(source), self.room(target))
        ]

    def circles(self) -> list[tuple[str, ...]]:
        """List the groups of files that all reach one another (strongly connected components)."""
        reached: dict[str, set[str]] = {file: set() for file in self.lines}
        for file, found in reached.items():
            ends = {file}
            while ends := {target for source, target in self.arrows if source in ends} - found:
                found |= ends
        groups = {
            tuple(sorted(other for other in found if file in reached[other]))
            for file, found in reached.items()
        }
        return sorted(group for group in groups if group)

    def __str__(self) -> str:
        """Draw the rooms from top to bottom, one a line, then list circles and offences."""
        total = f"{len(self.lines)} files, {sum(self.lines.values())} lines"
        text = [f"{self.name}: {total}, {len(self.arrows)} arrows"]
        arrows = {(self.room(source), self.room(target)) for source, target in self.arrows}
        for room in self.rooms:
            files = [file for file in self.lines if self.room(file) == room]
            lines = sum(self.lines[file] for file in files)
            others = [other for other in self.rooms if other != room and (room, other) in arrows]
            below = f" -> {', '.join(others)}" if others else ""
            text += [f"  {room:<20}{len(files):>3} files{lines:>6} lines{below}"] * bool(files)
        circles = [" <-> ".join(circle) for circle in self.circles()]
        for title, found in (("circles", circles), ("offences", self.offences())):
            text += [f"{title}: none"] if not found else [f"{title}:", *(f"  {x}" for x in found)]
        return "\n".join(text)


def strip(code: str) -> str:
    """Return Rust without comments, literals of text and inline modules of tests."""
    literal = r"""\bb?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^']+|\\'|[^\\'])'"""
    code = re.sub(rf"//[^\n]*|/\*.*?\*/|{literal}", '""', code, flags=re.DOTALL)
    while found := re.search(r"(#\[cfg\(test\)\]\s*)?\bmod\s+\w+\s*\{", code):
        end, depth = found.end(), 1
        while depth and end < len(code):
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            end += 1
        # The parent of an inline module is the file that it is in.
        inner = code[found.end() : end - 1].replace("super::", "self::")
        code = code[: found.start()] + ("" if found[1] else inner) + code[end:]
    return code


def flatten(tree: str) -> Iterator[str]:
    """Yield every path of what stands between `use` and `;`."""
    while group := re.search(r"([\w:]*)\{([^{}]*)\}", tree):  # the innermost
        parts = [part.strip() for part in group[2].split(",")]
        whole = ",".join(group[1] + part for part in parts if part)
        tree = tree[: group.start()] + whole + tree[group.end() :]
    yield from (path.strip() for path in tree.split(",") if path.strip())


class Crate:
    """The modules of a Rust crate, what each one imports and which file defines a path."""

    USE = re.compile(r"\b(pub(?:\s*\([^)]*\))?\s+)?use\s+([^;]+);")
    PATH = re.compile(r"(?<![\w:.])\w+(?:::\w+)+")

    def __init__(self, root: Path) -> None:
        """Read the files below `root` that are part of the library."""
        self.files: dict[Module, str] = {}
        self.code: dict[Module, str] = {}
        self.uses: dict[Module, dict[str, Module]] = {}  # by the name here
        self.reexports: dict[Module, set[str]] = defaultdict(set)
        self.lines: dict[str, int] = {}
        for path in sorted(root.rglob("*.rs")):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[0] not in ("tests", "benches"):
                module = parts[:-1] if parts[-1] == "mod" or parts == ("lib",) else parts
                self.files[module] = path.relative_to(root).as_posix()
                self.lines[self.files[module]] = len(path.read_text().splitlines())
                self.read(module, strip(path.read_text()))

    def read(self, module: Module, code: str) -> None:
        """Take in a module: its imports apart from the rest of its code."""
        self.code[module], self.uses[module] = self.USE.sub("", code), {}
        for public, tree in self.USE.findall(code):
            for path in flatten(tree):
                full, _, alias = path.partition(" as ")
                parts = tuple(full.removesuffix("::self").split("::"))
                name = alias.strip() or parts[-1]
                name = full if name in ("*", "_") else name
                self.uses[module][name] = parts
                self.reexports[module] |= {name} if public else set()

    def resolve(self, at: Module, path: Module, seen: frozenset[object] = frozenset()) -> Module:
        """Return the module that defines what `path` means in the module `at`."""
        head, rest = path[0], path[1:]
        if head == "super":
            return self.resolve(at[:-1], ("self", *rest), seen)
        if head == "self" and rest[:1] != ("super",):
            return self.descend(at, rest, seen)
        if head == "self":
            return self.resolve(at, rest, seen)
        if head == "crate" or (*at, head) in self.files:
            return self.descend(() if head == "crate" else (*at, head), rest, seen)
        if head in self.uses[at] and (at, head) not in seen:
            return self.resolve(at, self.uses[at][head] + rest, seen | {(at, head)})
        return OUTSIDE

    def descend(self, at: Module, path: Module, seen: frozenset[object]) -> Module:
        """Follow `path` down from a module, through re-exports of children, to its file."""
        for index, part in enumerate(path):
            if (*at, part) in self.files:
                at = (*at, part)
            elif part in self.uses[at] and (at, part) not in seen:
                target = self.uses[at][part] + path[index + 1 :]
                found = self.resolve(at, target, seen | {(at, part)})
                return found if found[: len(at)] == at and found != OUTSIDE else at
            else:
                break
        return at

    def imported(self, module: Module, macros: dict[str, Module]) -> Iterator[tuple[str, Module]]:
        """Yield every name that a module imports, with the module that defines it."""
        code = self.code[module]
        paths = [tuple(path.split("::")) for path in self.PATH.findall(code)]
        yield from ((path[-1], self.resolve(module, path)) for path in paths)
        for name, path in self.uses[module].items():
            target = self.resolve(module, path)
            child = target[: len(module)] == module and name in self.reexports[module]
            qualifies = target[-1:] == path[-1:] and any(name == path[0] for path in paths)
            if not child and not qualifies:  # of a module named in paths, those are the imports
                yield path[-1], target
        for name in set(re.findall(r"(\w+)!\s*[({\[]", code)) & macros.keys():
            yield f"{name}!", macros[name]

    def arrows(self) -> Arrows:
        """Find every import of a file by another."""
        defined = r"macro_rules!\s*(\w+)"
        macros = {name: at for at in self.code for name in re.findall(defined, self.code[at])}
        arrows: Arrows = defaultdict(set)
        for module, file in self.files.items():
            for name, target in self.imported(module, macros):
                if target not in (OUTSIDE, module):
                    arrows[file, self.files[target]].add(name)
        return arrows


class Package:
    """The modules of a Python package, what each one imports and which file defines a name."""

    def __init__(self, root: Path) -> None:
        """Read the files below `root`."""
        self.files: dict[str, str] = {}
        self.nodes: dict[str, list[ast.AST]] = {}
        self.lines: dict[str, int] = {}
        for path in sorted(root.rglob("*.py*")):
            if path.suffix in (".py", ".pyi"):
                file, text = path.relative_to(root).as_posix(), path.read_text()
                parts = path.relative_to(root.parent).with_suffix("").parts
                module = ".".join(parts).removesuffix(".__init__")
                self.files[module], self.lines[file] = file, len(text.splitlines())
                self.nodes[module] = list(ast.walk(ast.parse(text)))

    def imported(self, module: str) -> Iterator[tuple[str, str, str]]:
        """Yield of every `from … import` the module, the name there and the name here."""
        for node in self.nodes[module]:
            if isinstance(node, ast.ImportFrom):
                source = node.module or ""
                if node.level:
                    inside = ["__init__"] if self.files[module].endswith("__init__.py") else []
                    parts = [*module.split("."), *inside][: -node.level]
                    source = ".".join([*parts, *filter(None, [node.module])])
                if source in self.files:
                    yield from ((source, one.name, one.asname or one.name) for one in node.names)

    def loaded(self, module: str) -> Iterator[str]:
        """Yield every module of an `import`, or of an `import_module` of a text."""
        for node in self.nodes[module]:
            if isinstance(node, ast.Import):
                yield from (one.name for one in node.names if one.name in self.files)
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                texts = getattr(node.args[0], "values", node.args[:1])  # an f-string has several
                words = [getattr(text, "value", None) for text in texts]
                known = [re.escape(word) if isinstance(word, str) else "[^.]+" for word in words]
                yield from (name for name in self.files if re.fullmatch("".join(known), name))

    def define(self, module: str, name: str, seen: frozenset[str] = frozenset()) -> str:
        """Return the module that defines a name of another module."""
        if f"{module}.{name}" in self.files:
            return f"{module}.{name}"
        folder = self.files[module].endswith("/__init__.py")  # what the root gives is the root's
        if folder and module not in seen:
            for source, there, here in self.imported(module):
                if here == name:
                    return self.define(source, there, seen | {module})
        return module

    def arrows(self) -> Arrows:
        """Find every import of a file by another."""
        arrows: Arrows = defaultdict(set)
        for module, file in self.files.items():
            found = [(name, self.define(source, name)) for source, name, _ in self.imported(module)]
            for name, target in [*found, *((name, name) for name in self.loaded(module))]:
                if target != module:
                    arrows[file, self.files[target]].add(name)
        return arrows


def read(root: Path) -> Tree:
    """Read the Rust files or the Python package below `root`."""
    python = (root / "__init__.py").exists()
    source = Package(root) if python else Crate(root)
    rows = (PYTHON if python else RUST).split("|")
    rooms = {room: height for height, row in enumerate(rows) for room in row.split()}
    return Tree("python" if python else "rust", source.lines, source.arrows(), rooms)


def main() -> int:
    """Print both trees; fail if either has circles or offences."""
    trees = read(ROOT / "rust"), read(ROOT / "python" / "ewa_rs")
    print(*trees, sep="\n\n")
    return int(any(tree.circles() or tree.offences() for tree in trees))


if __name__ == "__main__":
    sys.exit(main())
