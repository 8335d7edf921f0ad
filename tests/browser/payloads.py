"""What strangers may write in the hope that a page runs it: 200 texts, made of ways out of a
context and ways to be run.

Each that runs sets `window.__pwned` to its number, each element or attribute that it would add
carries `data-pwned`, and each expression that a template would work out gives `WORKED_OUT`.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterator
from itertools import count, islice

MARK = "data-pwned"
WORKED_OUT = str(48_271 * 3)

OUT = ["", '">', "'>", "`>", "</textarea>", "</title>", "</script>", "</style>", "-->", "]]>", "</pre>", "</option></select>",
       "</noscript>", "</svg>", "</template>", '"></dd></dl>', "<!--><!-- -->", "<![CDATA[ ]]>",
       "*/-->", "\\\">"]  # fmt: skip
"""Ways out of the place where a text may stand."""

ELEMENTS = [
    "<script {m}>{js}</script>",
    "<SCRIPT/{m}>{js}</SCRIPT >",
    "<script {m} src='data:text/javascript,{js}'></script>",
    "<script {m} type=module>{js}</script>",
    "<img {m} src=x onerror={js}>",
    "<IMG {m} SRC=x OnErRoR='{js}'/>",
    '<img {m} srcset="x 1x" onerror="{js}">',
    "<svg {m} onload={js}>",
    "<svg/{m}/onload={js}//",
    "<svg {m}><script>{js}</script></svg>",
    "<svg {m}><animate onbegin={js} attributeName=x dur=1s></svg>",
    "<svg {m}><set onbegin={js} attributeName=x></svg>",
    "<svg {m}><foreignObject><img src=x onerror={js}></foreignObject></svg>",
    "<svg {m}><a xlink:href='javascript:{js}'><text y=9>x</text></a></svg>",
    "<svg {m}><use href=\"data:image/svg+xml,<svg id='x' onload='{js}'/>#x\"></svg>",
    (
        "<math {m}><mtext><table><mglyph><style><img src=x"
        " onerror={js}></style></mglyph></table></mtext></math>"
    ),
    "<math {m} href='javascript:{js}'>x</math>",
    "<iframe {m} src='javascript:parent.{js}'></iframe>",
    '<iframe {m} srcdoc="<script>parent.{js}</script>"></iframe>',
    '<iframe {m} srcdoc="&lt;img src=x onerror=parent.{js}&gt;"></iframe>',
    "<object {m} data='javascript:{js}'></object>",
    "<embed {m} src='data:text/html,<script>parent.{js}</script>'>",
    "<details {m} open ontoggle={js}><summary>x</summary></details>",
    "<video {m}><source onerror={js}></video>",
    "<audio {m} src=x onerror={js}></audio>",
    "<body {m} onload={js} onpageshow={js}>",
    "<input {m} autofocus onfocus={js}>",
    "<textarea {m} autofocus onfocus={js}></textarea>",
    "<select {m} autofocus onfocus={js}><option>x</select>",
    "<a {m} href='javascript:{js}' autofocus onfocus={js} tabindex=1>x</a>",
    "<form {m} action='javascript:{js}'><button autofocus onfocus={js}>x</button></form>",
    "<button {m} form=picked formaction='javascript:{js}' autofocus onfocus={js}>x</button>",
    "<meta {m} http-equiv=refresh content='0;url=javascript:{js}'>",
    "<base {m} href='javascript:{js}//'>",
    "<link {m} rel=stylesheet href='data:text/css,*' onload={js}>",
    "<style {m} onload={js}>@import 'data:text/css,*';</style>",
    "<marquee {m} onstart={js}>x</marquee>",
    (
        "<div {m} style='animation:x 1s' onanimationstart={js}></div><style {m}>@keyframes"
        " x{{}}</style>"
    ),
    "<x {m} contenteditable autofocus onfocus={js}>x</x>",
    "<dialog {m} open><form method=dialog><img src=x onerror={js}></form></dialog>",
    "<template {m} shadowrootmode=open><img src=x onerror={js}></template>",
    "<noscript {m}><p title='</noscript><img src=x onerror={js}>'></noscript>",
    "<frameset {m} onload={js}><frame src='javascript:{js}'></frameset>",
    "<table {m} background='javascript:{js}'><td><img src=x onerror={js}></table>",
    "<img {m} src=x onerror=eval(atob('{b64}'))>",
]
"""Ways to be run as markup. `js` is the code, `b64` the same in Base64, `m` the mark."""

ATTRIBUTES = [
    "{q} {m} onmouseover={js} autofocus onfocus={js} x={q}",
    "{q} {m} style={q}animation:x 1s{q} onanimationstart={q}{js}",
    "{q}/{m}/onload={js}/x={q}",
    "{q} {m} srcdoc={q}<script>parent.{js}</script>",
    "{q} {m} formaction={q}javascript:{js}",
    "{q}\n{m}\nonerror\n=\n{js}\n",
]
"""Ways out of a value into the attributes beside it; `q` is the quote."""

ADDRESSES = [
    "javascript:{js}",
    "JaVaScRiPt:{js}//",
    "java\tscript:{js}",
    "\x01javascript:{js}",
    "&#106;avascript&colon;{js}",
    "javascript://www.acme.example/%0A{js}",
    "data:text/html,<script {m}>parent.{js}</script>",
    "data:text/html;base64,{b64}",
    "vbscript:{js}",
    "//evil.example/{m}",
    "https://www.acme.example/'{m}'onclick='{js}'",
    "https://www.acme.example/?a=<svg {m} onload={js}>#<img {m} src=x onerror={js}>",
    "view-source:javascript:{js}",
    "/ops/../../\\evil.example",
]

SCRIPTS = ["';{js};//", '";{js};//', "`;{js};`", "\\';{js};//", "${{{js}}}", "*/{js}/*", "</script><script {m}>{js}</script>",
           "\u2028{js}\u2029", "-{js}-", "[].at.constructor('{js}')()"]  # fmt: skip
"""Ways out of a text within a script."""

EXPRESSIONS = [
    "{{ 48271*3 }}", "{{48271*3}}", "${48271*3}", "#{48271*3}", "<%= 48271*3 %>",
    "{% print(48271*3) %}", "[[48271*3]]",
    "@(48271*3)", "*{48271*3}", "{{= 48271*3 }}", "{{ self.__init__.__globals__ }}",
    "{{ me.name|safe }}", "{# {{ 48271*3 }} #}",
    "{{constructor.constructor('window.__pwned=1')()}}", "{0.__class__.__init__.__globals__}",
    "%(token)s%n%s",
    "{% raw %}{{ 48271*3 }}",
    "=HYPERLINK(\"javascript:window.__pwned=1\",\"x\")", "@import 'javascript:window.__pwned=1';",
    "expression(window.__pwned=1)",
]  # fmt: skip

SPELLINGS = [
    "&lt;script {m}&gt;{js}&lt;/script&gt;",
    "&#60;img {m} src=x onerror={js}&#62;",
    "&#x3c;svg {m} onload={js}&#x3e;",
    "%3Csvg%20{m}%20onload={js}%3E",
    "%253Csvg%2520{m}%2520onload={js}%253E",
    "\\u003csvg {m} onload={js}\\u003e",
    "\\x3csvg {m} onload={js}\\x3e",
    "+ADw-svg {m} onload={js}+AD4-",
    "\uff1csvg {m} onload={js}\uff1e",
    "\u2039svg {m} onload={js}\u203a",
    "&amp;lt;svg {m} onload={js}&amp;gt;",
    "<scr\x00ipt {m}>{js}</scr\x00ipt>",
    "<img\x00 {m} src=x onerror={js}>",
    "<\x00svg {m} onload={js}>",
    "<img\x0b{m}\x0bsrc=x\x0conerror={js}>",
    "<img\n{m}\nsrc=x\nonerror={js}\n>",
    "\u202e<img {m} src=x onerror={js}>\u202c",
    "\u2067\u200f<svg {m} onload={js}>\u2069",
    "<s\u200bvg {m} onload={js}><svg\ufeff {m} onload={js}>",
    "<\u017fcript {m}>{js}</\u017fcript>",
    "<svg\u00a0{m}\u3000onload={js}>",
    "<<script {m}>{js}//<</script>",
    "<scr<script>ipt {m}>{js}</scr</script>ipt>",
    "<img {m} src=x onerror={js} //",
    "<img {m} src='x onerror={js}>",
    "</ {m} onload={js}><?{m} {js}?><!{m} {js}>",
    "<!--{m}--!><svg {m} onload={js}><!-->",
    "<!DOCTYPE html><html {m} onload={js}>",
    (
        "\ufeff<?xml version='1.0'?><x:script {m}"
        " xmlns:x='http://www.w3.org/1999/xhtml'>{js}</x:script>"
    ),
    "e\u0301" * 20 + "<svg {m} onload={js}>",
    "\U0001f600\u200d\U0001f680<svg {m} onload={js}>\U0001f600",
    "\u05d0\u05d1 <b {m} dir=rtl onclick={js}>\u0627\u0644</b>",
]
"""What a decoder that comes too late would turn into markup."""

POLYGLOTS = [
    (
        "'\"`--></title></textarea></script></style></select><svg {m}"
        " onload={js}>{{{{48271*3}}}}${{48271*3}}"
    ),
    "javascript:/*'/*\"/*`/*--></script><img {m} src=x onerror={js}>*/{js}//",
    "\"]}}'];{js};//</script><math {m}><svg onload={js}>",
    "=cmd|'{js}'!A1\"><svg {m} onload={js}>",
    "&\"'><x {m} onclick={js}>&lt;x {m}&gt;&#39;%27%22%3E",
]

LONG = [
    "W" * 3_000,
    "<" * 400 + "svg " + MARK + ">" * 400,
    "\u05d0" * 1_200 + "<img " + MARK + " src=x>",
]
"""Words that break a layout, if nothing worse."""


def _generate() -> Iterator[str]:
    numbers = count(1)

    def filled(template: str, **more: str) -> str:
        js = f"window.__pwned={next(numbers)}"
        return template.format(js=js, m=MARK, b64=base64.b64encode(js.encode()).decode(), **more)

    yield from LONG
    yield from (filled(each) for each in POLYGLOTS)
    yield from EXPRESSIONS
    yield from (filled(each) for each in (*SPELLINGS, *ADDRESSES, *SCRIPTS))
    yield from (filled(each, q=quote) for each in ATTRIBUTES for quote in ('"', "'", "`"))
    for turn in count():
        for place, each in enumerate(ELEMENTS):
            yield OUT[(place + turn * 7) % len(OUT)] + filled(each)


PAYLOADS: tuple[str, ...] = tuple(islice(_generate(), 200))

PRINTABLE = [each for each in PAYLOADS if each.isascii() and each.isprintable() and len(each) < 500]
"""Those that can be the value of a header."""


def words(text: str) -> str:
    """What is left of a text without its blanks and what nobody can see: those a page, or an input,
    may change.
    """
    return "".join(
        each
        for each in unicodedata.normalize("NFC", text)
        if unicodedata.category(each)[0] not in "CZ"
    )
