"""Read a Relax function as a graph, and find the torch operators for which each of its values stands."""
