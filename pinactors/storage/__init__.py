"""What is kept beside the records: photographs, once by the hash of their content, and packet logs (`logs`).

Comes in: bytes as they arrive, entries of a session's log. Goes out: where they are. Photographs are handled
synchronously, in threads or workers. Nothing here knows a session or a request.
"""
