"""plutino's own nftables table: made as a whole, read back, taken away."""
