"""The suites that come with the harness: pytest suites --device host.

:mod:`harness.pytest_plugin.collecting` collects them from their place of installation.
"""
