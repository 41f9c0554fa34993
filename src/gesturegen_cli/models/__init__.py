"""Built-in plugins, reached by entry point only."""
