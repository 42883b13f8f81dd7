"""`/v1/responses`: OpenAI's second way to ask, led through the same walk."""
