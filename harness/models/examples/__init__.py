"""Contain the models that are shipped with G2P, each in a file as a user would write it. Their weights are seeded."""
