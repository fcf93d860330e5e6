"""The masters as the proxy sees them: which of them a session belongs to, what they are sent and asked, and
what they send, checked.
"""
