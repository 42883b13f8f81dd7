"""The HTTP edge: OpenAI's wire format on one side, the walk on the other."""
