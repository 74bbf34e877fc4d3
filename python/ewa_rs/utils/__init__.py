"""What several parts of the package share; it imports none of them."""
