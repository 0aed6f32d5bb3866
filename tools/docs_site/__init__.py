"""The site of the documentation: what mkdocs is told beside mkdocs.yml, and the pages that are made from the code."""
