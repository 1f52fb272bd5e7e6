"""The core of the suite once more, with short cuts of the kernel switched off."""
