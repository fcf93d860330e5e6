"""One connection on Hypercorn's protocols: hardened HTTP/1.1 and WebSocket, request bodies as they arrive."""
