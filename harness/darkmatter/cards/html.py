"""Cards as one self-contained HTML page: no scripts, nothing loaded from anywhere."""

from __future__ import annotations

import html
from collections.abc import Sequence

from darkmatter.cards.parts import Bars, Card, Columns, Facts, Missing, Part
from darkmatter.printable import printable

STEPS = 10
"""Shades of a token."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SHADES = "\n".join(
    f".a{step} {{ background: color-mix(in srgb, var(--hot) {8 * step + 10}%, transparent); }}"
    for step in range(1, STEPS + 1)
)
_BARS = "\n".join(f".b{step} {{ width: {5 * step}%; }}" for step in range(21))
_STYLE = f"""
:root {{ color-scheme: light dark; --line: #8884; --faint: #777; --hot: #ff9d2e; --bar: #3b82c4;
  --page: #fff; --ink: #1b1b1b; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --faint: #9a9a9a; --hot: #b4570a; --bar: #5a9fdc; --page: #161616; --ink: #e6e6e6; }}
}}
* {{ box-sizing: border-box; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem;
  background: var(--page); color: var(--ink); }}
h1 {{ font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.05rem; margin: 1.8rem 0 .1rem; }}
article + article {{ border-top: 3px double var(--line); margin-top: 3rem; padding-top: 2rem; }}
p {{ margin: .1rem 0 .5rem; }} .note, .subtitle {{ color: var(--faint); overflow-wrap: anywhere; }}
.scroll {{ overflow-x: auto; background:
  linear-gradient(to right, var(--page) 40%, transparent) local,
  linear-gradient(to left, var(--page) 40%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to left, #8889, transparent) right / 1rem 100% no-repeat; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .18rem 1.1rem .18rem 0; text-align: left; vertical-align: top; }}
thead th {{ border-bottom: 1px solid var(--line); font-weight: 600; white-space: nowrap; }}
tbody th {{ font-weight: 400; white-space: nowrap; color: var(--faint); }}
.bars td.height {{ min-width: 8rem; width: 22%; }} .bars i {{ display: block; height: 1em; margin-top: .25em;
  background: var(--bar); }}
.fragment {{ border-bottom: 1px solid var(--line); padding: .3rem 0; display: flex; gap: .8rem; }}
.fragment b {{ color: var(--faint); font-weight: 400; min-width: 3.6em; font-variant-numeric: tabular-nums; }}
.fragment span span {{ border-radius: 3px; padding: .05em .1em; overflow-wrap: anywhere; }}
{_SHADES}
{_BARS}
@media (max-width: 40rem) {{ .fragment {{ display: block; }} .fragment b {{ margin-right: .6rem; }}
  .bars td.height {{ min-width: 3rem; }} tbody th {{ white-space: normal; }}
  th, td {{ padding-right: .7rem; }} .facts th, .columns th {{ white-space: normal; }}
  .columns {{ font-size: .87rem; }} .columns th, .columns td {{ padding-right: .55rem; }} }}
""".strip()


def render(cards: Sequence[Card]) -> str:
    """All cards on one page."""
    title = escape(cards[0].title if len(cards) == 1 else f"{len(cards)} latents")
    head = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>",
    ]
    return "\n".join([*head, *map(_card, cards), "</body>\n</html>\n"])


def escape(text: str) -> str:
    """Text from a file that stays text in HTML."""
    return html.escape(printable(text))


def _card(card: Card) -> str:
    parts = [f'<article>\n<h1>{escape(card.title)}</h1>\n<p class="subtitle">{escape(card.subtitle)}</p>']
    if card.measured_on:
        parts.append(f'<p class="subtitle">Measured on {escape(card.measured_on)}</p>')
    for section in card.sections:
        note = f'\n<p class="note">{escape(section.note)}</p>' if section.note else ""
        parts.append(f"<section>\n<h2>{escape(section.title)}</h2>{note}\n{_part(section.part)}\n</section>")
    return "\n".join([*parts, "</article>"])


def _part(part: Part) -> str:
    if isinstance(part, Missing):
        return f"<p>Not measured: {escape(part.reason)}.</p>"
    if isinstance(part, Facts):
        rows = [
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in part.rows
        ]
        return _table("facts", [], rows)
    if isinstance(part, Columns):
        return _table("columns", part.headings, [_row(row) for row in part.rows])
    if isinstance(part, Bars):
        most = max(count for _, count, _ in part.rows) or 1
        bars = [
            f'<tr><th scope="row">{escape(label)}</th><td>{count}</td>'
            f'<td class="height"><i class="b{-(-20 * count // most)}"></i></td>'
            f'<td class="wide">{escape(text)}</td></tr>'
            for label, count, text in part.rows
        ]
        return _table("bars", [part.heading[0], "rows", "", part.heading[1]], bars)
    return "\n".join(_fragment(label, tokens) for label, tokens in part.rows)


def _table(kind: str, headings: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    head = f"<thead><tr>{cells}</tr></thead>\n" if headings else ""
    body = "\n".join(rows)
    return f'<div class="scroll"><table class="{kind}">\n{head}<tbody>\n{body}\n</tbody></table></div>'


def _row(cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _fragment(label: str, tokens: Sequence[tuple[str, float]]) -> str:
    marked = " ".join(_token(text, share) for text, share in tokens)
    return f'<div class="fragment"><b>{escape(label)}</b><span>{marked}</span></div>'


def _token(text: str, share: float) -> str:
    step = min(STEPS, -(-round(share * 1000) * STEPS // 1000))
    return f'<span class="a{step}">{escape(text)}</span>' if step else f"<span>{escape(text)}</span>"
