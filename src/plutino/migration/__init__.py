"""From other set-ups to plutino's configuration, and side by side until traffic has moved."""
