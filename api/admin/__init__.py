"""Routes of the operator's page: shows analyses and edits the catalogue. Every request needs a key with the
right to administer (`access`).

`imports` receives import folders and runs them; `analyses` and `catalogue` show analyses and pins. The page
itself is in `admin/` of `api.page`.
"""
