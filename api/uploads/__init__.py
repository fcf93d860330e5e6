"""Uploads: JSON and multipart bodies parsed as they arrive, photographs handed to the store, sessions
opened.
"""
