"""How a Redis is reached: one link an address, every call within a budget, faults told apart."""
