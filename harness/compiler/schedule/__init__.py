"""Schedule functions without a template: vectors and register tiles by rule, or searched by MetaSchedule."""
