"""The checks of the verify workload."""
