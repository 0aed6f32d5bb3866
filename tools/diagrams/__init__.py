"""Draw the diagrams of the docs as SVG files: small pieces, and one module for each diagram."""
