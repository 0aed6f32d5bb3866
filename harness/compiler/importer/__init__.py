"""Import a torch module into Relax: export it, then make one Relax value for each operator of the exported graph."""
