"""Evidence for the choice of load generators: each drives the same servers; docs/load-generators.md has the numbers."""
