"""torch module to Relax: export, then one Relax value for each operator of the exported graph."""
