"""A Relax function as a graph, and which torch operators each of its values stands for."""
