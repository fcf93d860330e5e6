"""Routes of the operator's page: shows analyses and edits the catalogue. Every request needs a key with the
right to administer (`access`).

`imports` receives import folders and runs them; `analyses` and `catalogue` show analyses and pins. The page
itself is in `static/admin/` of `api.page`.

Input: the page's requests, import folders among them. Output: JSON, pictures, and a changed catalogue. The
catalogue is changed only by imports, in their own process; photographs are not decoded here.
"""
