"""Texts with which an attacker could fill a catalogue, and a check of the HTML made from them."""

from html.parser import HTMLParser
from typing import TypeVar

from pinactors.protocol import SESSION_ID_LIMIT, Packet, timestamp

P = TypeVar("P", bound=Packet)

TEXTS = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "</section></li><b>",
    "a\x00b\x1b[31m\r\nc",
    "\u202egnp.exe\u2066",
    "\ud800lone",
    "&" * 5000,
    '"' * 5000,
    "\\" * 5000,
    "\U0001f600" * 3000,
    "",
    " \t ",
)

_TAGS = {"section", "h3", "p", "dl", "dt", "dd", "ol", "ul", "li", "strong"}


class _Audit(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag not in _TAGS or any(name != "class" for name, _ in attrs):
            self.faults.append(f"<{tag} {attrs}>")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"<!{decl}")


def faults(fragment: str) -> list[str]:
    """The tags and attributes that none of the templates writes, and the tags that are not closed."""
    audit = _Audit()
    audit.feed(fragment)
    audit.close()
    return audit.faults + audit.open


def stamped(packet: P) -> P:
    """The packet with the fields that packet assembly sets, with the longest session id allowed."""
    packet.session_id, packet.timestamp, packet.sequence = '"' * SESSION_ID_LIMIT, timestamp(), 999
    return packet
