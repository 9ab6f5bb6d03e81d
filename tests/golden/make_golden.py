"""Write the golden samples: SAEs saved, and evaluated, by the libraries that define the formats.

Each library needs its own environment (their pins exclude one another); the files
under ``requirements/`` say what goes into it and in which order to install. Then, from
the root of the repository, with that environment's interpreter::

    python tests/golden/make_golden.py --library sae_lens --out tests/golden/samples

``--only PATTERN`` limits the run to samples whose name matches a shell pattern.

========================  ==========================================  =====================
``--library``             requirements                                written to
========================  ==========================================  =====================
sae_lens                  requirements/sae_lens_6_51.txt              samples/sae_lens
sae_lens (newer)          requirements/sae_lens_6_54.txt              samples/sae_lens_6_54
publishers                requirements/sae_lens_6_54.txt              samples/<publisher>
dictionary_learning       requirements/dictionary_learning.txt        samples/dictionary_learning
sparsify                  requirements/sparsify.txt                   samples/sparsify
darkmatter                this repository, installed                  samples/darkmatter
========================  ==========================================  =====================

``sae_lens`` writes what the installed version can write, so one name serves both.
Everything is seeded by the sample's name: a second run gives the same bytes, with the
same pins on the same kind of machine.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import json
import os
import sys
from pathlib import Path

# Read by sparsify and by Hugging Face libraries when they are imported.
os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

MODULES = {
    "sae_lens": "_saelens",
    "publishers": "_publishers",
    "dictionary_learning": "_dictionary_learning",
    "sparsify": "_sparsify",
    "darkmatter": "_darkmatter",
}


def index(out: Path) -> None:
    """List every sample in one file, so that a test can be parametrised without a walk."""
    found = sorted(p.parent.relative_to(out).as_posix() for p in out.glob("*/*/golden.json"))
    (out / "index.json").write_text(json.dumps(found, indent=2) + "\n")


def fix_hash_seed() -> None:
    """Start again with a fixed string hash: SAELens writes some keys in a set's order."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])


def main() -> None:
    """Write the samples of one library, then the index of all."""
    parser = argparse.ArgumentParser(description="Write golden SAE samples.")
    parser.add_argument("--library", required=True, choices=sorted(MODULES))
    parser.add_argument("--out", type=Path, default=Path("tests/golden/samples"))
    parser.add_argument("--only", default="*", help="shell pattern on sample names")
    args = parser.parse_args()
    fix_hash_seed()
    import torch

    # One thread: the order of float additions, and so the bytes, must not vary.
    torch.set_num_threads(1)
    module = importlib.import_module(MODULES[args.library])
    for name, build in module.samples().items():
        if fnmatch.fnmatch(name, args.only):
            build(args.out, name)
    index(args.out)


if __name__ == "__main__":
    main()
