"""The description of the interface: OpenAPI 3.1 and 3.2, and the same as a page.

`fields` says what each field means and how far its value goes, `schemas` makes the types from the structs
that are encoded and decoded; `uploads`, `resuming`, `reading` and `operations` describe the requests out of
`parts`, `document` puts them together and serves them.
"""

from pinactors.api.openapi.document import blueprint_of, description
from pinactors.api.openapi.parts import Service

__all__ = ["Service", "blueprint_of", "description"]
