"""plutino: route-based IPsec for Linux in one tool."""

__version__ = "0.1.0"
