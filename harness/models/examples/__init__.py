"""Models that are shipped beside G2P, each a file as a user would write it. Their weights are seeded."""
