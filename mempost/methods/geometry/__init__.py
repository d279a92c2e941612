"""Distances to points and the coordinates in which they are measured."""
