"""Devices made of software: the real protocols' own programs, so that deployment is tested without a phone."""
