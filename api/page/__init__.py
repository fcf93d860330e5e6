"""The page for browsers: its routes and the files that they serve."""
