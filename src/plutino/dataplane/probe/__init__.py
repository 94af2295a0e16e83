"""What this machine's kernel can do as a data plane, found by trying."""
