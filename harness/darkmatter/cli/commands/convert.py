"""``darkmatter convert``: any SAE of the canonical form as darkmatter's own files."""

from __future__ import annotations

from pathlib import Path

import click

from darkmatter.cli.options import override_option, overrides_help, read_overrides
from darkmatter.cli.output import say, say_assumptions


@click.command(epilog=overrides_help())
@click.argument("reference", metavar="REF")
@click.argument("out", type=click.Path(path_type=Path))
@override_option(
    "FIELD=VALUE", "What the file does not say, or says wrongly; `inspect` names what is assumed."
)
@click.option("--adapter", help="Read it with this adapter, whatever the others claim.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty; replace earlier files.")
def convert(
    reference: str, out: Path, overrides: tuple[str, ...], adapter: str | None, *, force: bool
) -> None:
    """Write an SAE in the canonical form: OUT/darkmatter.json and OUT/darkmatter.safetensors.

    Nothing is lost: codes and reconstructions stay the same bit for bit, and what was assumed or
    overridden stays on record. The files are read back and compared before success is reported.
    """
    from darkmatter.sae.load import load_sae
    from darkmatter.sae.saved import save_sae

    sae = load_sae(reference, adapter=adapter, overrides=read_overrides(overrides))
    save_sae(sae, out, overwrite=force, reference=reference)
    say(f"wrote {out}: {sae.d_in} -> {sae.d_sae} -> {sae.d_out}, fingerprint {sae.fingerprint}")
    say_assumptions(sae.assumptions)
