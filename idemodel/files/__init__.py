"""What stands on disk beside banks and models: images, folders of pairs, contact sheets; and tensors as images."""
