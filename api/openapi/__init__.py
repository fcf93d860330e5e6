"""The description of the HTTP interface, as OpenAPI 3.1 and 3.2 documents and as a page.

`fields` has the meaning and bounds of each field; `schemas` makes the schemas from the structs that are
encoded and decoded; `uploads`, `resuming`, `reading` and `operations` describe the requests with the helpers
in `parts`; `document` builds the document and serves it.

Input: the types and limits of the code. Output: JSON and HTML. Nothing here decides what a request gets.
"""

from pinactors.api.openapi.document import blueprint_of, description
from pinactors.api.openapi.parts import Service

__all__ = ["Service", "blueprint_of", "description"]
