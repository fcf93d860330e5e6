"""The catalogue of pins: import from a folder, the database and the search index, reading while imports run.

Comes in: rows and pictures. Goes out: pins, their pictures and sales. The demonstration catalogue is in
`demo`.
"""
