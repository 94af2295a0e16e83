"""A gateway in the words of the programs beside plutino: routing daemons and network managers."""
