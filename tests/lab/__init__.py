"""The lab: its selectors, its store, its agents and its clients, with processes that are really killed."""
