"""Published weights of other projects, as parts of a bundle: one file per origin, reached by entry point only."""
