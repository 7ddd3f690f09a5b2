"""The parts of a training run: its pairs, its networks in motion, its folder, its processes; joined in train.py."""
