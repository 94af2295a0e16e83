"""The daemon: passes, timers, events and the control socket wired together."""
