"""The proxy's view of the masters: chooses a session's master, sends requests to masters and checks the
packets they return.
"""
