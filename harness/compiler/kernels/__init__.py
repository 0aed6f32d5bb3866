"""Contain kernel templates: TIR written by hand for the shapes that decide the time, parameterised by profile."""
