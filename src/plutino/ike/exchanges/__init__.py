"""One file per exchange of IKEv2, each for both its roles."""
