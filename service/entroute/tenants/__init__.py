"""Who may ask, and how much: API keys, their limits, and what each has used."""
