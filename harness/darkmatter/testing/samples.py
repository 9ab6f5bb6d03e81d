"""A folder with an SAE that an adapter is checked on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from darkmatter.descriptors import SAEAdapter
from darkmatter.files.view import FileView
from darkmatter.references import parse_reference
from darkmatter.sae.base import SAE
from darkmatter.sae.detect import adapter_for
from darkmatter.sae.load import LoadOptions, read

EXPECTED = "expected.safetensors"
GOLDEN = "golden.json"


@dataclass(frozen=True)
class Sample:
    """A folder with an SAE: ``folder`` is all of it, ``sae`` its place there, ``index`` which in a file."""

    folder: Path
    sae: Path
    index: int | None = None

    @classmethod
    def of(cls, folder: Path) -> Sample:
        """The SAE is where golden.json's ``path`` says, else in ``sae/``, else the folder itself.

        A ``path`` may end in ``#index``, as a reference may.
        """
        golden = folder / GOLDEN
        if golden.is_file():
            place = parse_reference(f"path:{folder / json.loads(golden.read_text())['path']}")
            return cls(folder, Path(place.target), place.index)
        return cls(folder, folder / "sae" if (folder / "sae").is_dir() else folder)

    def copied_to(self, folder: Path) -> Sample:
        """The same sample in a copy of its folder."""
        return Sample(folder, folder / self.sae.relative_to(self.folder), self.index)

    def files(self) -> list[Path]:
        """Every file that a reader of the SAE may look at: what tells the right answer is none of them."""
        own = {self.folder / EXPECTED, self.folder / GOLDEN}
        return sorted(path for path in self.folder.rglob("*") if path.is_file() and path not in own)


def load(adapter: SAEAdapter, sample: Sample, options: LoadOptions | None = None) -> SAE:
    """The way ``load_sae`` takes, with this adapter alone."""
    view = FileView(sample.sae, sample.index)
    return read(view, adapter_for(view, {adapter.name: adapter}), options or LoadOptions())
