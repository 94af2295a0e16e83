"""TOML text to a checked configuration: every option described once, all errors at once."""
