"""Run in the environments of the other engines: nothing here may import the harness or its dependencies."""
