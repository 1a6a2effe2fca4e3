"""How the settings of each kind of row are stored, and what they are in a configuration."""
