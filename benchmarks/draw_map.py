"""Draw the folders of our packages and the imports between them, as the code has them, to docs/pictures/map.svg.

An arrow goes from a folder to one that it imports from, at file scope or within functions; its width grows with the
number of such imports. Folders lie in layers, so that as few arrows as possible climb: those are orange. What a folder
imports from the other package stands in its box.

    python benchmarks/draw_map.py
"""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "MedSAM2Slicer"
PICTURE = ROOT / "docs" / "pictures" / "map.svg"

Folder = tuple[str, ...]  # path from SOURCE on, a package first
Imports = Counter[tuple[Folder, Folder]]

_WIDTH, _LINE, _GAP, _DEEP = 190, 14, 24, 70  # of a box, a line of text, between boxes, between layers; pixels
_LETTERS = 27  # that fit in a box, in a wide font such as DejaVu Sans


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(drawn(), encoding="utf-8")


def drawn() -> str:
    """Return the picture as SVG; the same code gives the same text."""
    sizes, imports = read()
    parts, left, height = [], _GAP, 0
    for package in sorted({folder[0] for folder in sizes}):
        layers = layered([one for one in sizes if one[0] == package], imports)
        places = _places(layers, left, sizes, imports)
        parts += _arrows(places, imports) + [_box(one, places, sizes, imports) for one in sorted(places)]
        left = max(x for x, _, _ in places.values()) + _WIDTH + 3 * _GAP
        height = max(height, *(y + tall for _, y, tall in places.values()))
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" width="{left - 2 * _GAP}" height="{height + _GAP}"'
    style = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([f'{frame} font-family="sans-serif" font-size="11">', style, *parts, "</svg>", ""])


def read() -> tuple[dict[Folder, int], Imports]:
    """Return how many files each folder has, and the imports from folder to folder."""
    packages = sorted(path.parent for path in SOURCE.glob("*/__init__.py"))
    files = {file: file.parent.relative_to(SOURCE).parts for package in packages for file in package.rglob("*.py")}
    sizes = Counter(folder for file, folder in files.items() if file.stat().st_size)
    imports = Imports()
    for file, folder in sorted(files.items()):
        for name in _imported(file):
            target = _folder(name)
            if target in sizes and target != folder:
                imports[folder, target] += 1
    return dict(sizes), imports


def layered(folders: list[Folder], imports: Imports) -> list[list[Folder]]:
    """Sort folders into layers, the ones that import first, so that few imports climb."""
    left, order = sorted(folders), list[Folder]()
    while left:  # next the one that is imported least by the others, in proportion to what it imports
        order.append(max(left, key=lambda one: _excess(one, left, imports)))
        left.remove(order[-1])
    depth: dict[Folder, int] = {}
    for place, one in enumerate(order):
        depth[one] = max((depth[above] + 1 for above in order[:place] if imports[above, one]), default=0)
    return [[one for one in order if depth[one] == level] for level in range(max(depth.values()) + 1)]


def _excess(one: Folder, others: list[Folder], imports: Imports) -> float:
    made = sum(imports[one, other] for other in others)
    met = sum(imports[other, one] for other in others)
    return (made + 1) / (met + 1)


def _imported(file: Path) -> Iterator[str]:
    """Names of modules that a file imports, and of what it takes from them, which may be modules too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from {_module(node.module, alias.name) for alias in node.names}


def _module(package: str, name: str) -> str:
    """What `from package import name` imports: the module of that name, if there is one."""
    path = SOURCE.joinpath(*package.split("."), name)
    return f"{package}.{name}" if path.is_dir() or path.with_suffix(".py").exists() else package


def _folder(module: str) -> Folder:
    path = SOURCE.joinpath(*module.split("."))
    return (path if path.is_dir() else path.parent).relative_to(SOURCE).parts


def _places(
    layers: list[list[Folder]], left: int, sizes: Mapping[Folder, int], imports: Imports
) -> dict[Folder, tuple[int, int, int]]:
    """Left edge, upper edge and height of each box; layers are centered on the widest one."""
    places, top, widest = {}, _GAP, max(len(layer) for layer in layers)
    for layer in layers:
        inset = left + (widest - len(layer)) * (_WIDTH + _GAP) // 2
        talls = [_LINE * len(_lines(one, sizes, imports)) + 10 for one in layer]
        for place, (one, tall) in enumerate(zip(layer, talls, strict=True)):
            places[one] = (inset + place * (_WIDTH + _GAP), top, tall)
        top += max(talls) + _DEEP
    return places


def _arrows(places: Mapping[Folder, tuple[int, int, int]], imports: Imports) -> list[str]:
    """Curves between boxes, which lie behind them."""
    curves = []
    for (one, other), count in sorted(imports.items()):
        if one in places and other in places:
            (x0, y0, tall0), (x1, y1, tall1) = places[one], places[other]
            falls = y0 < y1
            start, end = (y0 + tall0, y1 - 5) if falls else (y0, y1 + tall1 + 5)
            bend = (end - start) // 2
            color, width = ("#8090a0" if falls else "#e07000"), 1 + min(count, 30) / 10
            middle = _WIDTH // 2 + (0 if falls else 16)
            line = f"M{x0 + middle} {start}c0 {bend} {x1 - x0} {end - start - bend} {x1 - x0} {end - start}"
            tip = f"M{x1 + middle - 4} {end}h8l-4 {5 if falls else -5}z"
            curves.append(
                f'<g><title>{_name(one)} imports from {_name(other)}: {count}</title><path d="{line}" fill="none" '
                f'stroke="{color}" stroke-width="{width:.1f}"/><path d="{tip}" fill="{color}"/></g>'
            )
    return curves


def _box(
    one: Folder, places: Mapping[Folder, tuple[int, int, int]], sizes: Mapping[Folder, int], imports: Imports
) -> str:
    x, y, tall = places[one]
    rect = f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{tall}" rx="4" fill="#f4f7fa" stroke="#506070"/>'
    weights = itertools.chain([' font-weight="bold"'], itertools.repeat(""))
    lines = zip(itertools.count(y + _LINE + 2, _LINE), weights, _lines(one, sizes, imports))
    return rect + "".join(f'<text x="{x + 8}" y="{at}"{bold}>{escape(line)}</text>' for at, bold, line in lines)


def _lines(one: Folder, sizes: Mapping[Folder, int], imports: Imports) -> list[str]:
    """The text of a box: the folder, its files, and what it imports from other packages."""
    others = sorted(_name(other) for (which, other) in imports if which == one and other[0] != one[0])
    lines = [_name(one), f"{sizes[one]} files"]
    for name in others:
        longer = f"{lines[-1]}, {name}"
        if longer.startswith("→") and len(longer) <= _LETTERS:
            lines[-1] = longer
        else:
            lines.append(f"→ {name}")
    return lines


def _name(folder: Folder) -> str:
    return "/".join(folder[1:]) if folder[1:] else folder[0]


if __name__ == "__main__":
    main()
