"""Relax passes of the compile path, in the order of :func:`harness.compiler.passes.pipeline.pipeline`."""
