"""`pinactors analyze`: analyses photographs in files, on a server or in this process, and shows the results.

Input: paths from the command line. Output: lines, a live table, JSON, or the files of a batch. HTTP requests
are made by `pinactors.client`; nothing here opens a port.
"""
