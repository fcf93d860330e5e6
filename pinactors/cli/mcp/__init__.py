"""`pinactors mcp`: analyses and the catalogue as tools for a language model."""
