"""The schedules of functions that no template was made for: vectors, register tiles, arithmetic without libm."""
