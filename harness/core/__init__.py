"""Provide what every room may use: errors, the cache, worker processes, progress, and safe text."""
