"""What is removed after a while: photographs nobody refers to, and what the settings keep for so many days.

Comes in: the stores and the records. Goes out: nothing but free room, and lines in the log.
"""
