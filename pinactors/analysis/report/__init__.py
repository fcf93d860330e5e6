"""Makes the packets other than authenticity, with their HTML: characters, price, details, display.

Input: prepared views, match, stamp reading. Output: packets. All text is escaped here.
"""
