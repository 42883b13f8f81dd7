"""Workers, their pools and what keeps them honest: balancing, health, retries, accounting."""
