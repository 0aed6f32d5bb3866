"""Make what an app's own build takes: the library with its models, packages around it, and what verifies them.

``library.py`` builds the library, ``package.py`` and ``swift.py`` write the packages, and ``manifest.py`` describes and
compares them by the parts of an archive that ``contents.py`` finds in a binary.
"""
