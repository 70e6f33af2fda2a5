"""Command line: one module per command; parsing, wiring of shell parts and exit codes only."""
