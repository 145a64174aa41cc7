"""What the networks cost: counted without computing, and measured."""
