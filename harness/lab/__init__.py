"""Share phones of many hosts: agents offer them, a scheduler connects, and clients run orders on them (docs/lab.md).

Only the modules that speak to the scheduler or to the store import what the extra ``lab`` installs.
"""
