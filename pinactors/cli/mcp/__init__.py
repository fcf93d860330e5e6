"""`pinactors mcp`: a server of the Model Context Protocol with tools to analyse photographs and find pins."""
