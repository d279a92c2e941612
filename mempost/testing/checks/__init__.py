"""The checks, one module for each family; importing a module puts its checks into a catalogue."""
