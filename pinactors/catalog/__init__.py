"""The catalogue of pins: its database and search index, published versions, and reads that are safe during
imports.

Input: rows and pictures. Output: pins, their pictures and sales. `importing` has the import, `demo` the
demonstration catalogue.
"""
