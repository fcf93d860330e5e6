"""What is kept as files: photographs, stored once by content hash.

Synchronous: callers run it in threads or workers. Nothing here knows a session or a request.
"""
