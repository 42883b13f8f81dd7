"""What calibration found for one set of models: how hard prompts are, what plans achieve and cost.

Pure values and pure maths; nothing here does input or output beyond one file.
"""
