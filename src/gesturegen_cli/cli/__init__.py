"""The command line: parse, configure, one call, report."""
