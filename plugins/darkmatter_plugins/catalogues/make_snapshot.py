"""Write ``data/saelens.json.gz`` from an installed sae-lens.

    python -m darkmatter_plugins.catalogues.make_snapshot pretrained_saes.yaml VERSION

``pretrained_saes.yaml`` lies in the package ``sae_lens``; VERSION is the package's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from darkmatter_plugins.catalogues.registry import SNAPSHOT, compressed, pack


def main(path: str, version: str) -> None:
    """Write the copy; the same input gives the same bytes."""
    document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    SNAPSHOT.write_bytes(compressed(f"sae-lens {version}", pack(document)))


if __name__ == "__main__":
    main(*sys.argv[1:])
