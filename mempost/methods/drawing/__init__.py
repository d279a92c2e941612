"""What figures share: style, panels, densities on grids."""
