"""Write docs/formats.md from the built-in adapters' layouts and the golden samples.

    python docs/make_formats.py            # writes docs/formats.md
    python docs/make_formats.py --check    # exit status 1 if it is out of date

What a layout is stands in its adapter, how it was verified in each sample's golden.json, and what is
assumed is what the adapter says when it reads the samples.
"""

from __future__ import annotations

import fnmatch
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkmatter.api import DarkmatterError, Layout, SAEAdapter
from darkmatter.testing.samples import Sample, load
from darkmatter_plugins.adapters import ADAPTERS

PAGE = Path(__file__).with_name("formats.md")
SAMPLES = Path(__file__).parents[1] / "tests" / "golden" / "samples"

HEAD = """\
# Formats

Made by `docs/make_formats.py` from the adapters and from the golden samples in `tests/golden/samples`.
`darkmatter inspect PATH` says which adapter reads a file, by which formula, and what it assumed.

**Verified** means: a tiny SAE of the layout stands in the repository, beside inputs and what a library
made of them. From its files alone darkmatter gives the same codes and reconstructions to 1e-5 (absolute
and relative, in float32), with exactly the same latents active. The strongest case is an SAE that the
library wrote *and* evaluated. Where no library writes a layout, the files are written by hand and a
library that reads them evaluates them: that shows what the library understands, and a publisher may have
uploaded something else. Every sample is also damaged, tensor by tensor and field by field: the error
names file, tensor or field, and what was expected.

What a file does not say is assumed aloud: in `inspect`, in the log of a run, in every result. Say what you
know with `--override FIELD=VALUE`. `hook`, `hook_out`, `model`, `context_length`, `bos` and `processing`
can be said of every SAE; `norm_factor` of every one of the canonical form that scales all rows alike;
`dtype` of those and where there are codes alone; `orientation` and `k` where the format leaves them open.
Below stands what a format leaves open most often.

One more format is one file and one golden sample:
[CONTRIBUTING.md](../CONTRIBUTING.md#adding-an-sae-format) shows it with an example.
"""


@dataclass(frozen=True)
class Verified:
    """A golden sample that its adapter reads, and what it said then."""

    name: str
    golden: dict[str, Any]
    assumptions: tuple[str, ...]


def verified(adapter: SAEAdapter, root: Path) -> list[Verified]:
    """The golden samples of an adapter that it reads; one that it refuses shows no format."""
    found = []
    for path in sorted(root.glob("*/*/golden.json")):
        golden = json.loads(path.read_text(encoding="utf-8"))
        if golden["adapter"] != adapter.name:
            continue
        try:
            sae = load(adapter, Sample.of(path.parent))
        except DarkmatterError:
            continue
        name = path.parent.relative_to(root).as_posix()
        found.append(Verified(name, golden, sae.assumptions))
    return found


def shown_by(layout: Layout, samples: Iterable[Verified]) -> list[Verified]:
    """The samples of one layout."""
    return [
        sample for sample in samples if any(fnmatch.fnmatchcase(sample.name, glob) for glob in layout.samples)
    ]


def page(adapters: Sequence[SAEAdapter], root: Path) -> str:
    """The whole page."""
    ordered = sorted(adapters, key=lambda adapter: adapter.name)
    samples = {adapter.name: verified(adapter, root) for adapter in ordered}
    rows = [
        row(adapter, layout, shown_by(layout, samples[adapter.name]))
        for adapter in ordered
        for layout in adapter.layouts
    ]
    table = ["| format | files | architectures | verified how |", "|---|---|---|---|", *rows, ""]
    return "\n".join([HEAD, *table, *(section(adapter, samples[adapter.name]) for adapter in ordered)])


def row(adapter: SAEAdapter, layout: Layout, samples: Sequence[Verified]) -> str:
    """One layout as a table row."""
    cells = (
        f"[{adapter.name}](#{adapter.name})" + (f"<br>{layout.name}" if layout.name != adapter.name else ""),
        "<br>".join(f"`{file}`" for file in layout.files),
        ", ".join(layout.architectures),
        "<br>".join(how(layout, samples)),
    )
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def how(layout: Layout, samples: Sequence[Verified]) -> list[str]:
    """How a layout was verified, strongest first."""
    by_library = [sample.golden for sample in samples if sample.golden["written_by"] == "library"]
    by_hand = [sample.golden for sample in samples if sample.golden["written_by"] == "hand"]
    said = []
    if by_library:
        said.append(f"{count(by_library)} written and evaluated by {versions(by_library)}")
    if by_hand:
        said.append(f"{count(by_hand)} written by hand, evaluated by {versions(by_hand)}")
    if layout.published:
        said.append("a published file was read")
    elif by_library:
        said.append("not verified on a published file")
    else:
        said.append(f"layout from {layout.known_from}, not verified on a published file")
    return said


def count(samples: Sequence[object]) -> str:
    """How many samples, in words that agree."""
    return f"{len(samples)} sample{'' if len(samples) == 1 else 's'}"


def versions(goldens: Iterable[dict[str, Any]]) -> str:
    """The packages with all their versions: "sae-lens 6.51.1 and 6.54.12"."""
    known: dict[str, set[str]] = {}
    for golden in goldens:
        package, _, version = golden["version"].partition(" ")
        known.setdefault(package, set()).add(version)
    return ", ".join(f"{package} {' and '.join(sorted(found))}" for package, found in sorted(known.items()))


def section(adapter: SAEAdapter, samples: Sequence[Verified]) -> str:
    """One adapter: where its files lie, what it takes for granted, and what others get wrong."""
    layouts = [
        f"**{layout.name}**, known from {layout.known_from}. {given_as(layout, samples)}"
        for layout in adapter.layouts
    ]
    lines = [f"## {adapter.name}", "", f"{adapter.summary}.", ""]
    lines += listed("Where each layout is known from, and what to give:", layouts)
    lines += listed("Assumed where the files do not say (one example of each):", assumptions(samples))
    fields = overrides(adapter, samples)
    if fields:
        lines += [f"Overrides that help: {', '.join(f'`{field}`' for field in fields)}.", ""]
    traps = dict.fromkeys(trap for layout in adapter.layouts for trap in layout.traps)
    return "\n".join([*lines, *listed("What other readers get wrong:", traps)])


def listed(title: str, sentences: Iterable[str]) -> list[str]:
    """A list under its title; nothing where there is nothing to say."""
    items = [f"- {sentence}" for sentence in sentences]
    return [title, "", *items, ""] if items else []


def given_as(layout: Layout, samples: Sequence[Verified]) -> str:
    """What a user gives: the folder or file of the layout's first sample, below the download's folder."""
    first = next(iter(shown_by(layout, samples)), None)
    if first is None:
        return ""
    return f"Give `{'/'.join(['FOLDER', *Path(first.golden['path']).parts[1:]])}`."


def assumptions(samples: Iterable[Verified]) -> list[str]:
    """What the samples make an adapter say; of sentences that begin alike, up to a semicolon, the first."""
    examples: dict[str, str] = {}
    for sentence in (str(sentence) for sample in samples for sentence in sample.assumptions):
        examples.setdefault(sentence.partition(";")[0], sentence)
    return [examples[beginning] for beginning in sorted(examples)]


def overrides(adapter: SAEAdapter, samples: Iterable[Verified]) -> list[str]:
    """The fields that assumptions are about, and those that the adapter follows itself."""
    found: set[str] = set(adapter.follows)
    for sample in samples:
        found |= {getattr(sentence, "about", None) for sentence in sample.assumptions} - {None}
    return sorted(found)


def main() -> int:
    """Write the page, or say whether it is up to date."""
    text = page(ADAPTERS, SAMPLES)
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
