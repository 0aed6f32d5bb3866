"""What every room may use: errors, the cache, worker processes, progress, and how text is shown."""
