"""A page that fails, for the browser tests."""

raise RuntimeError("a secret")
