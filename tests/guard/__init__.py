"""Holds a test to its marker: what a ``pure`` test may not start is refused, in its own process and in its children."""
