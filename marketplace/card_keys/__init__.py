"""OTA key sets of cards: taken from provisioning batches, and rotated over the air."""
