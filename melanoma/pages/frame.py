"""The frame of every page: colours, type, and the promise to ask nothing of anyone."""

from __future__ import annotations

from html import escape

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "form-action 'none'; base-uri 'none'"
)
"""Content security policy: a page can't ask anything of anyone, whatever is written into it."""

STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #1a1c20; --quiet: #54585f;
  --line: #c9cdd4; --right: #006847; --wrong: #b22222; --focus: #0b57d0; --track: #e4e7ec; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14161a; --card: #1f2228; --ink: #eceef1; --quiet: #b3b8c1; --line: #454a54;
    --right: #56c596; --wrong: #ff8a80; --focus: #8ab4f8; --track: #353a43; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: break-word;
  font: 15px/1.45 system-ui, "DejaVu Sans", Arial, sans-serif; }
header, main, footer { max-width: 1720px; margin: 0 auto; padding: 0 20px; }
h1 { font-size: 1.5rem; margin: 18px 0 6px; }
p { margin: 6px 0; max-width: 100ch; }
.quiet, figcaption, footer, caption { color: var(--quiet); }
select, button { font: inherit; font-size: .9rem; height: 32px; padding: 2px 8px; color: var(--ink);
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; font-weight: 400; }
thead th { color: var(--quiet); }
details { margin: 10px 0; }
summary { cursor: pointer; font-weight: 600; }
footer { padding: 24px 20px; font-size: .85rem; }
"""

_FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body{attributes}>
<header>
<h1>{title}</h1>
{introduction}
</header>
{tools}
<main>
{main}
</main>
<footer>{footer}</footer>
{script}
</body>
</html>
"""


def frame(
    title: str,
    main: str,
    *,
    introduction: str = "",
    tools: str = "",
    footer: str = "",
    style: str = "",
    script: str = "",
    attributes: str = "",
) -> str:
    """A whole page.

    Args:
        title: plain text.
        main: HTML.
        introduction: HTML below the title.
        tools: HTML between introduction and main.
        footer: plain text.
        style: CSS after that of every page.
        script: JavaScript, or "".
        attributes: of the body, with a leading blank.

    Returns:
        HTML. Texts are escaped; a content security policy forbids any request.
    """
    return _FRAME.format(
        policy=escape(POLICY),
        title=escape(title),
        style=STYLE + style,
        attributes=attributes,
        introduction=introduction,
        tools=tools,
        main=main,
        footer=escape(footer),
        script=f"<script>{script}</script>" if script else "",
    )
