"""Part of darkmatter; see docs/design.md for the map."""
