"""Serve the page of a lab (``harness lab serve``): what its scheduler reports, and what a results folder holds.

The page only reads. What phones, clients and runs wrote is data: the template escapes it, and no script reads it.
"""
