"""What every room stands on: errors, text, files, folders, the machine."""
