"""What happened, for people: the terminal, a live progress display, one HTML file. No torch."""
