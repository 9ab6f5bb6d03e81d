"""``darkmatter feature``: a card per latent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from darkmatter.cli.commands.run import DEFAULT_OUT
from darkmatter.cli.options import setting_value
from darkmatter.cli.output import warn
from darkmatter.errors import UsageError

RENDERERS = ("md", "html")


@click.command()
@click.argument("sae", metavar="SAE")
@click.argument("indices", nargs=-1, type=int, metavar="[INDEX]...")
@click.option(
    "--sample", type=click.IntRange(min=1), help="Instead of INDEX: so many that fire, drawn by the seed."
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=DEFAULT_OUT,
    show_default=True,
    help="Results folder in which SAE is a name.",
)
@click.option(
    "--format", "renderer", type=click.Choice(RENDERERS), help="md or html; default: by -o, else md."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="File; default: the terminal."
)
@click.option("--model", help="SAE is a reference: the language model it belongs to.")
@click.option("--text", help="The text it reads: .txt, .jsonl, or hf:NAME[:CONFIG[:SPLIT]].")
@click.option("--activations", help="A .safetensors file with tensors x and tokens, instead of a model.")
@click.option("--hook", help="Hook point, where SAE records none.")
@click.option("--upstream", help="Reference of an SAE at an earlier hook point, for causal edges.")
@click.option("--adapter", help="The reader to use for SAE.")
@click.option("--ctx", type=int, help="Context length; default: what SAE records, else 256.")
@click.option("--contexts", type=int, default=400, show_default=True, help="Number of contexts.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="An option of feature_effects.")
def feature(
    sae: str,
    indices: tuple[int, ...],
    *,
    sample: int | None,
    results: Path,
    renderer: str | None,
    out: Path | None,
    settings: tuple[str, ...],
    **source: Any,
) -> int:
    """Show what latents fire on, what they do to the prediction and what makes them fire.

    SAE is a name in the results folder, whose settings are used; with --model and --text, or
    --activations, a path or other reference of an SAE. Exit status 1 says that some latent has no card.
    """
    if bool(indices) == (sample is not None):
        message = f"give either INDEX, such as `darkmatter feature {sae} 7`, or --sample N."
        raise click.UsageError(message)
    from darkmatter.cards import html, markdown
    from darkmatter.cards.make import cards_from_folder, cards_of_suite
    from darkmatter.files.atomic import write_bytes
    from darkmatter.plugins import host
    from darkmatter.progress import Progress

    progress = Progress.on_stderr(host().emit)
    indices = tuple(dict.fromkeys(indices))
    if source["model"] or source["activations"]:
        fields, name = _fields(sae, source)
        cards, dead = cards_of_suite(fields, name, indices, sample, _options(settings), progress)
    else:
        _refuse_without_model(source, settings)
        cards, dead = cards_from_folder(results, sae, indices, sample, progress)
    for sentence in dead:
        warn(sentence)
    if not cards:
        return 1
    wanted = renderer or ("html" if out is not None and out.suffix.lower() in {".html", ".htm"} else "md")
    text = (html if wanted == "html" else markdown).render(cards)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_bytes(out, text.encode())
        warn(f"written: {out}")
    return 1 if dead else 0


def _refuse_without_model(source: dict[str, Any], settings: tuple[str, ...]) -> None:
    """What speaks of a reference means nothing for a name in a results folder."""
    given = [name for name in ("text", "hook", "upstream", "adapter", "ctx") if source[name]]
    given += ["set"] if settings else []
    if given:
        message = (
            f"--{', --'.join(given)} cannot be combined with a name in a results folder, whose recorded "
            "settings are used. Give --model and --text too, and a reference as SAE."
        )
        raise UsageError(message)


def _fields(reference: str, source: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The suite around one SAE, and its name."""
    from darkmatter.references import parse_named, unique_names

    given = [parse_named(text) for text in (reference, source["upstream"]) if text]
    stated = [name for name, _ in given if name is not None]
    if len(set(stated)) < len(stated):
        message = f"SAE and --upstream are both called {stated[0]!r}; give them different names."
        raise UsageError(message)
    # Both at once: two folders of one name are two SAEs.
    automatic = iter(unique_names([ref for name, ref in given if name is None], taken=stated))
    names = [name or next(automatic) for name, _ in given]
    saes = {name: {"ref": ref.raw} for name, (_, ref) in zip(names, given, strict=True)}
    if source["adapter"]:
        saes[names[0]]["adapter"] = source["adapter"]
    fields: dict[str, Any] = {"saes": saes, "seed": source["seed"]}
    if source["hook"] and source["upstream"]:
        message = "--hook and --upstream cannot be combined; state the hook points with a suite."
        raise UsageError(message)
    if source["hook"]:
        fields["hooks"] = [source["hook"]]
    if source["activations"]:
        return {**fields, "activations": source["activations"]}, names[0]
    if not source["text"]:
        message = "--text is missing: the text that the model reads, such as --text stories.jsonl."
        raise UsageError(message)
    text = {"path": source["text"], "context_length": source["ctx"], "contexts": source["contexts"]}
    return {**fields, "model": source["model"], "text": text}, names[0]


def _options(settings: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        if not equals:
            message = f"--set {setting!r}: expected FIELD=VALUE, such as top_fragments=5."
            raise UsageError(message)
        found[field] = setting_value(value, setting)
    return found
