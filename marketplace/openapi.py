"""The API's description: the page at /docs from shipped files, and bodies that no struct describes."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from litestar import Request, Router, get
from litestar.enums import MediaType
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    Operation,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.static_files import create_static_files_router

from landfall import __version__
from settlement.ledger.api import JOSE, JOSE_SEQUENCE
from settlement.ledger.rejections import CODES

DOCS: Final = "/docs"
BEARER: Final[list[dict[str, list[str]]]] = [{"bearer": []}]
_STATIC: Final = Path(__file__).parent / "static"
_JWS: Final = "eyJ0eXAiOiJsYW5kZmFsbCtqd3MiLCJhbGciOiJFZERTQSIsImtpZCI6IuKApiJ9.eyJ0eXBlIjoib2ZmZXIiLCLigKYiOiIifQ.c2ln"


def _text_body(description: str, examples: dict[str, str]) -> RequestBody:
    content = {
        media: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING), example=example)
        for media, example in examples.items()
    }
    return RequestBody(content=content, description=description, required=True)


@dataclass
class SequenceOperation(Operation):
    """An operation whose body is one envelope or several."""

    def __post_init__(self) -> None:
        self.request_body = _text_body("Compact JWS.", {JOSE: _JWS, JOSE_SEQUENCE: f"{_JWS}\n{_JWS}\n"})


@dataclass
class OctetsOperation(Operation):
    """An operation whose body is octets."""

    def __post_init__(self) -> None:
        octets = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody(
            content={"application/octet-stream": OpenAPIMediaType(schema=octets)}, required=True
        )


class ApiPage(OpenAPIRenderPlugin):
    """The page itself: RapiDoc from our own files, nothing from elsewhere."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page's HTML."""
        return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(openapi_schema["info"]["title"])}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<script src="{DOCS}/static/rapidoc/rapidoc-min.js" defer></script></head>
<body><rapi-doc spec-url="{DOCS}/openapi.json" load-fonts="false" render-style="read" show-header="false"
 regular-font="system-ui, sans-serif" mono-font="ui-monospace, monospace" allow-spec-url-load="false"
 allow-spec-file-load="false"></rapi-doc></body></html>""".encode()


@get(f"{DOCS}/rejections", media_type=MediaType.HTML, include_in_schema=False, sync_to_thread=False)
def show_rejections() -> str:
    """Every code of a problem: where the `type` of each leads."""
    rows = "".join(
        f'<tr id="{code}"><td><code>{code}</code></td><td>{row.status}</td>'
        f"<td>{escape(row.title)}</td><td>{escape(row.remedy)}</td></tr>"
        for code, row in CODES.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Rejections</title><style>'
        "body{font-family:system-ui,sans-serif;margin:2rem}td,th{padding:.3rem .8rem;text-align:left}"
        "tr:target{background:#fff3bf}</style></head><body><h1>Rejections</h1><table>"
        f"<tr><th>code</th><th>status</th><th>what it says</th><th>what to do</th></tr>{rows}</table></body></html>"
    )


def describe_api(title: str, description: str) -> OpenAPIConfig:
    """The description of an application, with its page at /docs and itself at /docs/openapi.json."""
    return OpenAPIConfig(
        title=title,
        version=__version__,
        description=description,
        path=DOCS,
        render_plugins=[ApiPage(), JsonRenderPlugin(), YamlRenderPlugin()],
        use_handler_docstrings=True,
        components=Components(
            security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
        ),
    )


def static_files() -> Router:
    """The page's files, from the package."""
    return create_static_files_router(f"{DOCS}/static", [_STATIC], include_in_schema=False)
