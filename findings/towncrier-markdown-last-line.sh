#!/usr/bin/env bash
# towncrier: the issue's number is written into the last line of a fragment in Markdown, and what that line was is no
# more: the end of a code block, the last row of a table, where a link goes.
#
# Seen with: towncrier 26.9.0, and markdown-it-py 4.3.0 to make HTML of it (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: what a fragment says is in the notes as it was, and the number after it, as it is after a paragraph or a list
#   with bullets, which gets a paragraph of its own for it. In reStructuredText a code block gets that as well.
# Happens: the default template for Markdown looks for lists with bullets alone, and what is looked for of code blocks is
#   the one of reStructuredText. "``` (#1)" does not end a code block (CommonMark, 4.5): the fence and the number are
#   shown as a line of the code. Behind a table's last row the number is a cell too many, which is left out. Behind
#   the address of a link at the end ("[name]: address") it is the title of that link, and is seen
#   nowhere but under the mouse. Nothing is said at "towncrier build"; one more line of words at the end helps.
#
# Output:
#   a paragraph: number after it, content as it was
#   a list: number after it, content as it was
#   a code block: number in the code, fence in the code
#   a table: no number, content as it was
#   a link's address: no number, number in the link's title
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet towncrier==26.9.0 markdown-it-py==4.3.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

mkdir -p "$work/project/news"
cd "$work/project"
cat >towncrier.toml <<'TOML'
[tool.towncrier]
name = "Boxes"
directory = "news"
filename = "NEWS.md"
issue_format = "#{issue}"
TOML
printf 'Boxes have a lid.\n' >news/1.feature.md
printf 'Boxes have\n\n* a lid\n* a floor\n' >news/2.feature.md
printf 'Boxes have a colour:\n\n```toml\ncolour = "blue"\n```\n' >news/3.feature.md
printf 'Boxes have sizes:\n\n| name | litres |\n|---|---|\n| small | 1 |\n' >news/4.feature.md
printf 'Boxes have [a page].\n\n[a page]: https://boxes.example/\n' >news/5.feature.md
"$work/venv/bin/towncrier" build --draft --version 1.0 --date 2026-01-02 >notes.md 2>towncrier.log ||
    { cat towncrier.log >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - notes.md <<'PYTHON'
import re
import sys

from markdown_it import MarkdownIt

WANTED = """\
a paragraph: number after it, content as it was
a list: number after it, content as it was
a code block: number in the code, fence in the code
a table: no number, content as it was
a link's address: no number, number in the link's title"""
# What the content looks like as HTML where nothing is in it that was not said.
CONTENT = {
    "a paragraph": "Boxes have a lid.",
    "a list": "<li>a floor</li>",
    "a code block": "colour = &quot;blue&quot;\n</code>",
    "a table": "<td>1</td>\n</tr>\n</tbody>\n</table>",
    "a link's address": '<a href="https://boxes.example/">',
}

with open(sys.argv[1], encoding="utf-8") as file:
    html = MarkdownIt("commonmark").enable("table").render(file.read())
# The entries are in the order of their numbers, and each begins with the same words.
entries = re.split(r"<li>\s*(?:<p>)?(?=Boxes have)", html)[1:]
lines = []
for (name, content), (number, entry) in zip(CONTENT.items(), enumerate(entries, 1)):
    shown = re.sub(r"<[^>]*>", "", re.sub(r"<code.*?</code>", "", entry, flags=re.DOTALL))
    code = "".join(re.findall(r"<code.*?</code>", entry, flags=re.DOTALL))
    where = "number after it" if f"(#{number})" in shown else "number in the code" if f"(#{number})" in code else "no number"
    what = (
        "content as it was"
        if content in entry
        else "fence in the code"
        if "```" in code
        else "number in the link's title"
        if f'title="#{number}"' in entry
        else "another content"
    )
    lines.append(f"{name}: {where}, {what}")
found = "\n".join(lines)
print(found)
sys.exit(0 if found == WANTED else 1)
PYTHON
