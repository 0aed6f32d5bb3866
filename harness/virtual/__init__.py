"""Provide devices made of software from the real protocols' own programs.

They test deployment without a phone.
"""
