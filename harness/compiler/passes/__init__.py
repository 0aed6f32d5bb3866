"""Contain the passes of the compile path over TVM's IRModule, one file each.

``ls`` shows the order in which :mod:`harness.compiler.passes.pipeline` runs them. The first digit of a name is the
stage: 1 constants and layouts, 2 kernels of our own, 3 functions without a template, 4 the archive's contents, 5 the
virtual machine's work. TVM's own passes, which run between them, are named in ``pipeline.py``.
"""
