"""Mathematics that several plugins share: it imports the ideas of `core` and no plugin."""
