"""The chart's values as models: its schema, its defaults and its table are made from them."""
