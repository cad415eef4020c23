"""Deadheat: build, prove, measure and report the same job in several languages."""

__version__ = "0.1.0"
