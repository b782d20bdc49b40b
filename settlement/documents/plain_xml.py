"""XML from strangers: UTF-8, well-formed, without a document type, and of bounded size and depth.

No document type means no entities, so nothing can be fetched, included or blown up, whatever reads the text next.
"""

from typing import Final
from xml.parsers.expat import ExpatError, ParserCreate

from landfall.errors import LandfallError

MAX_DEPTH: Final = 64
"""Nested elements; invoices and statements have some ten."""


class XmlError(LandfallError):
    """The file is not what XML is read here; the message says why."""


def read_plain(xml: bytes, *, most: int) -> str:
    """The text of an XML document of at most `most` octets. Raises `XmlError`."""
    if len(xml) > most:
        raise XmlError(f"the file has {len(xml):,} octets, at most {most:,} are read")
    depth = 0

    def start(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise XmlError(f"elements are nested more than {MAX_DEPTH} deep")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise XmlError("the file has a document type (<!DOCTYPE …>), which it has no use for: remove it")

    try:
        text = xml.decode("utf-8")
        parser = ParserCreate("utf-8")
        parser.StartDoctypeDeclHandler = refuse
        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.Parse(xml, True)
    except (UnicodeDecodeError, ExpatError) as error:
        raise XmlError(f"the file is no well-formed XML in UTF-8: {error}") from None
    return text
