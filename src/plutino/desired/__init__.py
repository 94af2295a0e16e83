"""Configuration and SAs in, the state that should exist out. Pure."""
