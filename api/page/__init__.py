"""The page a browser gets: its files, as they are served."""
