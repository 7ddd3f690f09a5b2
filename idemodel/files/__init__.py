"""Files other than banks: images, pairs folders, contact sheets, weights; and images as tensors."""
