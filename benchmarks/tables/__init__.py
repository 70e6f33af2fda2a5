"""What is claimed of the quoter, measured: `make tables` writes it to `docs/results/`."""
