"""`pinactors mcp`: a server of the Model Context Protocol with tools to analyse photographs and find pins.

Input: a model's calls on standard input, which name files and URLs. Output: answers on standard output, which
nothing else may write to. Only files that its user may read, and URLs of this machine or of public servers,
are opened.
"""
