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
sae_lens_legacy           requirements/sae_lens_legacy.txt            samples/sae_lens_legacy
mats_training             requirements/mats.txt                       samples/mats_training
publishers                requirements/sae_lens_6_54.txt              samples/<publisher>
dictionary_learning       requirements/dictionary_learning.txt        samples/dictionary_learning
sparsify                  requirements/sparsify.txt                   samples/sparsify
openai                    requirements/openai.txt                     samples/openai
hoagyc                    requirements/hoagyc.txt                     samples/hoagyc
circuit_tracer            requirements/circuit_tracer.txt             samples/circuit_tracer
llamascopium              requirements/llamascopium.txt               samples/llamascopium
lm_saes, lm_saes_r1       requirements/llamascopium.txt               samples/llama_scope
darkmatter                this repository, installed                  samples/darkmatter
========================  ==========================================  =====================

``sae_lens`` writes what the installed version can write, so one name serves both.
``--source PATH`` is a checkout of public code that is no package: the requirements file of
its library says of which repository and commit.
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

MODULES = {"sae_lens": "_saelens", "sae_lens_legacy": "_saelens_legacy", "mats_training": "_mats"}
"""Libraries whose module is not named after them."""

OTHERS = {path.stem[1:] for path in Path(__file__).parent.glob("_*.py")} - {
    "common",
    *(module[1:] for module in MODULES.values()),
}
"""Libraries whose module is named after them, underscore first."""


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
    parser.add_argument("--library", required=True, choices=sorted({*MODULES, *OTHERS}))
    parser.add_argument("--out", type=Path, default=Path("tests/golden/samples"))
    parser.add_argument("--only", default="*", help="shell pattern on sample names")
    parser.add_argument("--source", type=Path, help="checkout of the code of a library that is no package")
    args = parser.parse_args()
    fix_hash_seed()
    if args.source is not None:
        sys.path.insert(0, str(args.source))
    import torch

    # One thread: the order of float additions, and so the bytes, must not vary.
    torch.set_num_threads(1)
    module = importlib.import_module(MODULES.get(args.library, f"_{args.library}"))
    for name, build in module.samples().items():
        if fnmatch.fnmatch(name, args.only):
            build(args.out, name)
    index(args.out)


if __name__ == "__main__":
    main()
