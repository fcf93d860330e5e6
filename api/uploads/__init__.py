"""Uploads: parses JSON and multipart bodies as they arrive, stores the photographs in them and opens
sessions.
"""
