"""`pinactors analyze`: photographs in files, analysed by a server or in this process, and shown.

Comes in: paths from the command line. Goes out: lines, a live table, JSON, or the files of a batch. HTTP is
the client's business; nothing here opens a port.
"""
