"""What operations found, in words: for the terminal and for Prefect's artifacts. Ids and counts only, no address."""
