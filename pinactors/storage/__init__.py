"""Storage of photographs, each once under the hash of its content, and of packet logs (`logs`).

Input: bytes as they arrive, entries of a session's log. Output: where they are stored. Photographs are
handled synchronously, in threads or workers. Nothing here depends on sessions or requests.
"""
