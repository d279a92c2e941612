"""Estimates with intervals, tests, and distances between samples."""
