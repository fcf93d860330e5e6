"""The catalogue of pins: the database and the search index, versions, reading while imports run.

Comes in: rows and pictures. Goes out: pins, their pictures and sales. `importing` has the import, `demo` the
demonstration catalogue.
"""
