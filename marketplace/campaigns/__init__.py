"""Jobs and campaigns over the air: the same commands to one card or to a hundred thousand, each with its proof."""
