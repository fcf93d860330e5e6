"""HTTP/1.1 and WebSocket connections: Hypercorn's protocols, hardened, with request bodies read as they
arrive.

Input: the bytes of a TCP connection. Output: calls of the application (`calls`), which reads bodies piece by
piece (`body`), and the bytes of its answers. A connection must not affect another one, and nothing here
depends on what a request means.
"""
