"""Uploads that arrive at random: the capacity of our server, its behaviour under overload, and its comparison
with the peers."""
