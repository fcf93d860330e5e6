"""What an operator does in a browser: looks at analyses, edits the catalogue. Every request needs a key that
has the right (`access`).

`imports` receives import folders and runs them, `analyses` shows what was analysed, `catalogue` what pins
there are. The page itself is `api.page`'s `admin/`.
"""
